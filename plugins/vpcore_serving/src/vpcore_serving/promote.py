"""Publication of a row: checks, evidence, and the `PublishedServingSpec` that a server runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.config import ExperimentConfig, ExperimentSpec
from vpcore.dataset import Dataset, verify_files
from vpcore.errors import ConfigError, DatasetError, RefusedError, ResultsError, listed
from vpcore.experiment.causality import PROOFS
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.reserve import open_session
from vpcore.experiment.tables import SEARCHED
from vpcore.experiment.trades import Leader
from vpcore.inference.evidence import LEVEL, MIN_TRADES
from vpcore.inference.out_of_sample import SPLIT_FIGURES, split_summary
from vpcore.inference.pooling import POOLED
from vpcore.inference.ranking import COMPUTED
from vpcore.inference.summaries import Evidence, OutOfSample
from vpcore.results import ROW_KEY, RUNS, VECTORS
from vpcore.scoring import ScoringConfig
from vpcore.signal import MODELS, MLSignal, Signal, distribution_of, model_folder
from vpcore.signal.conformance.evaluated import require_causal, require_streamed
from vpcore.signal.conformance.proof import prove
from vpcore_serving.confirm import Confirmation, confirmation_of, plain
from vpcore_serving.models import PackedModel, pack_model
from vpcore_serving.registry import Publication, registry_of
from vpcore_serving.selection import asked_for, choose, signal_of
from vpcore_serving.spec import (
    PublishedDataset,
    PublishedPipeline,
    PublishedServingSpec,
    PublishedSignal,
    Selection,
    ServingEvidence,
    ServingRuntime,
)
from vpcore_serving.weaknesses import screen_failures, split_failures, statement

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

IN_AUDIT = {"run_id", "row", "figures", "among", "summary", "verdict", "reasons", "weaknesses"}
"""Parts of the evidence that the audit keeps."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """Result of `promote`.

    Attributes
    ----------
    publication : Publication
        Id, alias, the version that the alias named before, the file.
    spec : PublishedServingSpec
        The version, with today's evidence. A version that existed keeps the evidence of its first publication.
    overridden : tuple of str
        Reasons of an unproven verdict that ``--force`` has overridden.
    tied : tuple of str
        Other rows with the same best figure.
    """

    publication: Publication
    spec: PublishedServingSpec
    overridden: tuple[str, ...]
    tied: tuple[str, ...] = ()


def promote(
    workspace: Workspace,
    experiment: str | Path | ExperimentSpec,
    run_id: str | None = None,
    *,
    alias: str,
    row: str | None = None,
    force: bool = False,
    why: str = "",
    who: str | None = None,
) -> Promotion:
    """Publish a row of an experiment's results as a serving version and let an alias name it.

    Parameters
    ----------
    workspace : Workspace
        Holds specs, results, datasets and the registry.
    experiment : str, Path or ExperimentSpec
        The experiment. Its current spec must make the run. The short name of a row stands for its experiment and `row`.
    run_id : str, optional
        A run, or an unambiguous beginning of its id. On several sessions, any run of the combination; the run on the
        latest session is published, with the evidence of all sessions.
    alias : str
        Name for servers. A new alias is made; an existing alias moves.
    row : str, optional
        Short name of a row, or a prefix, as `compare` prints it; `run_id` is then optional. By default the best row of
        the run, or of the experiment, by the experiment's `select`; of tied rows the first by key.
    force : bool
        Publish an unproven row in a workspace with ``promotion: {require: proven}``. Requires `why`. Causality and
        streaming parity always hold.
    why, who : str, optional
        For the audit.

    Raises
    ------
    ConfigError
        If `force` lacks `why`, or the experiment fails to resolve.
    ResultsError
        If the run or row is unknown, the run failed, or the experiment would make another run.
    DatasetError
        If the dataset is missing or was changed.
    CausalityError
        If the signal looks ahead, or streaming and batch differ.
    RefusedError
        If the workspace requires proven rows, the row is unproven, and `force` is False.
    RegistryError, StorageError
        If reading or writing the registry fails.
    """
    if force and not why.strip():
        raise ConfigError("--force needs a reason", fix="Add --why TEXT; the audit keeps it.")
    spec, config, row = asked_for(workspace, experiment, row)
    serving = workspace.serving(spec.serving)
    datasets = {
        dataset.dataset_id: dataset for dataset in map(partial(open_session, workspace, config), config.sessions)
    }
    if run_id is not None:
        run_id = _checked_run(workspace, config, run_id, datasets)["run_id"]
    board = leaderboard(workspace, config)
    chosen, tied = choose(board, config.name, run_id, row)
    best, about, splits = chosen.figures, board.evidence_of(chosen.figures), board.splits
    if not best["trades"]:
        raise ResultsError(
            f"Row {best['row']} of run {best['run_id']} did not trade: there is nothing to promote",
            fix="Choose a row with trades: --row",
        )
    meta = workspace.results.find_run(best["run_id"])  # of several sessions, the run on the latest
    signal = signal_of(workspace, config, meta, datasets)
    confirmed = confirmation_of(workspace, config, best)
    config = config.on_engine_of(meta["dataset_id"])
    datasets = {name: datasets[name] for name in config.dataset_ids}
    reasons = _doubts(config, list(datasets.values()), best, confirmed)
    weak = _screen(config, best, about, splits) if reasons else ()
    overridden = reasons if reasons and workspace.specs.workspace().promotion.require == "proven" else ()
    if overridden and not force:
        raise RefusedError(
            f"Not promoted: {' '.join(reasons)}{' Weak besides: ' if weak else ''}{' '.join(weak)}",
            where="promotion.require of configs/workspace.yaml",
            fix="To promote all the same: --force --why TEXT.",
        )
    files = {name: _check_dataset(workspace, dataset) for name, dataset in datasets.items()}
    prove(signal, workspace.results.folder / PROOFS, name=meta["signal_name"])
    _prove_row(workspace, best | {"run_id": meta["run_id"], "dataset_id": meta["dataset_id"]})
    version = PublishedServingSpec.of(
        serving.name,
        ServingRuntime(
            pipeline=PublishedPipeline.of(config.pipeline),
            dataset=_dataset(datasets[meta["dataset_id"]]),
            sessions=tuple(map(_dataset, datasets.values())) if len(datasets) > 1 else (),
            scoring=ScoringConfig.model_validate_json(meta["scoring_json"])
            if meta["scoring_json"]
            else serving.scoring,
            signal=_signal(meta, signal),
            core_digest=meta["core_digest"],
            projection=config.projection,
            threshold=best["threshold"],
            cooldown_bins=best["cooldown_bins"],
            rules=config.eval.rules(best["tp_ticks"], best["sl_ticks"]),
            model=_model(workspace, meta["run_id"], signal, best),
        ),
        ServingEvidence(
            experiment=config.name,
            run_id=meta["run_id"],
            row=best["row"],
            select=Selection(metric=config.select_metric, min_signals=config.min_signals),
            figures=_figures(best),
            among=about,
            out_of_sample=splits,
            dataset_files=files,
            packages=json.loads(meta["packages_json"]),
            summary=_summary(config, best, about, splits),
            confirmation=None if confirmed is None else plain(confirmed),
            verdict="unproven" if reasons else "proven",
            reasons=reasons,
            weaknesses=weak,
            **config.eval.model_dump(include={"null_draws", "bootstrap_draws", "seed", "splits"}),
        ),
        serving.description,
    )
    publication = registry_of(workspace).publish(
        version.serving_id,
        version.to_yaml(),
        alias,
        why=why,
        forced=bool(overridden),
        who=who,
        evidence=version.evidence.model_dump(mode="json", include=IN_AUDIT),
    )
    if publication.moved:
        workspace.plugins.notify(
            "vp_promoted", workspace=workspace, serving_id=publication.serving_id, alias=alias, spec=version
        )
    return Promotion(publication, version, overridden, tied)


def _checked_run(
    workspace: Workspace, config: ExperimentConfig, run_id: str, datasets: Mapping[str, Dataset]
) -> dict[str, Any]:
    """Return the row of `runs_meta` of a run that succeeded and that the experiment would make now."""
    meta = workspace.results.find_run(run_id)
    if meta["status"] != "ok":
        raise ResultsError(
            f"Run {meta['run_id']} failed and cannot be promoted: {meta['error']}",
            fix=f"Compute it again: vp run {config.name}",
        )
    signal_of(workspace, config, meta, datasets)
    return meta


def _prove_row(workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Prove the values of the row on its dataset: ended early, with another future, and bin by bin."""
    leader = Leader(workspace, row)
    signal, values, name = leader.signal, leader.values, row["signal_name"]
    require_causal(signal, leader.data, values, leader.labels, name=name, key=row["run_id"], future=True)
    require_streamed(signal, leader.data, values, leader.labels, name=name)


# -- the verdict -------------------------------------------------------------------------------------------------------


def _doubts(
    config: ExperimentConfig, datasets: Sequence[Dataset], best: Mapping[str, Any], confirmed: Confirmation | None
) -> tuple[str, ...]:
    """Return the reasons against a proven row, each with its figure and the required value."""
    found = []
    name = f"row {best['row']}"
    if config.kept_back is None:
        found.append(f"'{config.name}' kept no data back (reserve), so {name} could not be confirmed.")
    elif confirmed is None:
        found.append(f"{name} was not confirmed on the reserve: vp confirm {config.name} --row {best['row']}.")
    else:
        if confirmed.p_confirm > LEVEL:
            found.append(f"p_confirm of {name} is {confirmed.p_confirm:.3g} and must be at most {LEVEL}.")
        net = confirmed.net_pnl_ticks
        if net is None or net <= 0.0:
            earned = "nothing, without a trade" if net is None else f"{net:.3f} ticks a trade"
            found.append(f"on the reserve {name} earned {earned}; it must earn money.")
        n_eff = float(best["n_eff"] or 0.0) + confirmed.n_eff
        if n_eff < MIN_TRADES:
            found.append(f"{name} has {n_eff:.1f} effective trades in all; {MIN_TRADES} are required.")
        if confirmed.cold_start:
            found.append("a dataset of the reserve is a cold start.")
        found += _cost_doubts(config, name)
    for dataset in datasets:
        if not dataset.cold_start:
            continue
        rate = dataset.manifest["data_quality"]["unknown_order_rate"]
        found.append(
            f"dataset '{dataset.dataset_id}' is a cold start: its book was built without a snapshot, and {rate:.2%} of "
            "the cancels and modifies were of orders it did not know."
        )
    return tuple(found)


def _cost_doubts(config: ExperimentConfig, name: str) -> list[str]:
    instrument, rules = config.pipeline.instrument, config.eval
    if rules.price == "mid":
        return [f"{name} trades on the mid, where nobody trades; eval.price must be touch."]
    least = instrument.fee_ticks
    if least is None:
        return [f"instrument {instrument.root} has no fee_per_side, against which eval.fee_ticks could be held."]
    if rules.fee_ticks < least:
        return [f"{name} pays {rules.fee_ticks:g} ticks a round trip; eval.fee_ticks must be at least {least:g}."]
    return []


def _screen(
    config: ExperimentConfig, best: Mapping[str, Any], about: Evidence, splits: OutOfSample | None
) -> tuple[str, ...]:
    """Return what the evidence of the row itself lacks: it decides no verdict."""
    required_by = f"select.min_signals of '{config.name}'"
    found = screen_failures(best, about, min_trades=config.min_signals, required_by=required_by)
    return tuple(found + (split_failures(best, splits) if splits is not None else []))


def _check_dataset(workspace: Workspace, dataset: Dataset) -> dict[str, str]:
    """Return the checksums of the dataset's files, after recomputing them."""
    report = verify_files(workspace.datasets.path(dataset.dataset_id))
    changed = [file.name for file in report.files if file.status in ("changed", "missing")]
    if changed:
        raise DatasetError(
            f"Dataset '{dataset.dataset_id}' is not as it was written: {listed(changed)}",
            fix=f"Its rows cannot be promoted. See: vp verify {dataset.dataset_id}",
        )
    return {file.name: str(file.expected) for file in report.files if file.expected}


# -- the published version ---------------------------------------------------------------------------------------------


def _dataset(dataset: Dataset) -> PublishedDataset:
    return PublishedDataset(dataset_id=dataset.dataset_id, sources=dataset.source_digests)


def _signal(meta: Mapping[str, Any], signal: Signal) -> PublishedSignal:
    distribution, version = distribution_of(type(signal))
    return PublishedSignal(
        name=meta["signal_name"],
        version=meta["signal_version"],
        distribution=distribution,
        distribution_version=version,
        code_digest=meta["code_digest"],
        params=json.loads(meta["signal_params_json"]),
    )


def _model(workspace: Workspace, run_id: str, signal: Signal, best: Mapping[str, Any]) -> PackedModel | None:
    """Return the last fitted model of the run, so that a server predicts at once; None for a statistical signal."""
    if not isinstance(signal, MLSignal):
        return None
    folder = model_folder(workspace.results.folder / MODELS, run_id, best["tp_ticks"], best["sl_ticks"]).here(anew=True)
    if not folder.is_dir():
        return None
    return pack_model(folder)


def _figures(best: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row's figures, less its key, its vectors, and its place in the store."""
    apart = {*ROW_KEY, "row", "batch_id", *VECTORS}
    names = (*RUNS, *COMPUTED, *POOLED, *SPLIT_FIGURES)
    return {name: best[name] for name in names if name in best and name not in apart}


def _summary(config: ExperimentConfig, best: Mapping[str, Any], about: Evidence, splits: OutOfSample | None) -> str:
    parts = [statement(best, about)]
    parts += [split_summary(splits)] if splits is not None else []
    parts += [SEARCHED] if config.searched else []
    return " ".join(parts)
