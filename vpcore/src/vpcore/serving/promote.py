"""Winner -> published serving version: from a row of the results to a snapshot that a server can run.

What decides what a server computes is the *runtime* part of the snapshot, and the id is its digest. What the row's
figures were, from which experiment it came and how likely it is to be luck stands beside it as evidence; a row whose
evidence does not pass the gate is only published with a reason.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vpcore.config import ExperimentConfig, ExperimentSpec
from vpcore.dataset import Dataset, verify_files
from vpcore.errors import ConfigError, DatasetError, RefusedError, ResultsError, listed
from vpcore.experiment.adaptive_search import with_proposals
from vpcore.experiment.tables import SEARCHED
from vpcore.inference.evidence import statement, wanting
from vpcore.inference.out_of_sample import SPLIT_FIGURES, OutOfSample, lacking, standing
from vpcore.inference.pooling import POOLED
from vpcore.inference.ranking import COMPUTED, Evidence
from vpcore.registry import Publication, serving_id_of
from vpcore.results import ROW_KEY, RUNS, VECTORS
from vpcore.serving.selection import choose, signal_of, weighed_rows
from vpcore.signal import MODELS, LabelSpec, MLSignal, Signal, distribution_of, model_folder, pack_model
from vpcore.signal.conformance.proof import prove

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

PROOFS = "proofs"
"""Folder of the proofs of causality, beside the results."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What `promote` did.

    Attributes
    ----------
    publication : Publication
        Id, alias, what the alias named before, the file.
    run_id, row : str
        The run, and the short name of its row.
    figures : dict
        The row.
    snapshot : dict
        What was published, or would have been if the version had not existed.
    overridden : tuple of str
        What ``--force`` overrode; empty if nothing stood in the way.
    gate : str
        What is to be said about the evidence: the verdict and the figures behind it.
    """

    publication: Publication
    run_id: str
    row: str
    figures: dict[str, Any]
    snapshot: dict[str, Any]
    overridden: tuple[str, ...]
    gate: str


def promote(
    workspace: Workspace,
    experiment: str | Path | ExperimentSpec,
    run_id: str,
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
        Where everything is.
    experiment : str, Path or ExperimentSpec
        The experiment. Its current spec must make the run.
    run_id : str
        A run, or an unambiguous beginning of its id. On several sessions, any run of the combination; what is published
        is the one on the latest session, with the evidence of all.
    alias : str
        Made, or moved here from what it names.
    row : str, optional
        Short name of a row, or its beginning, as `compare` prints it. By default the run's best one by the
        experiment's `select`.
    force : bool
        Promote in spite of the gate: too few trades, an interval of the net PnL that reaches down to 0, a `p_adj` above
        0.05, a cold start. Needs `why`. (Causality and streaming parity cannot be overridden.)
    why, who : str, optional
        For the audit.

    Raises
    ------
    ConfigError
        If `force` comes without `why`, or the experiment does not resolve.
    ResultsError
        If there is no such run or row, the run failed, the experiment would not make it, or the best row is tied.
    DatasetError
        If the dataset is missing or was changed.
    CausalityError
        If the signal looks ahead, or streaming and batch differ.
    RefusedError
        If something stands in the way that `force` would override.
    RegistryError, StorageError
        As the registry says.
    """
    if force and not why.strip():
        raise ConfigError("--force needs a reason: add --why TEXT. It is kept in the audit.")
    spec = experiment if isinstance(experiment, ExperimentSpec) else workspace.experiment(experiment)
    config = with_proposals(workspace, spec.to_harness_config())
    serving = workspace.serving(spec.serving).resolve()
    meta = workspace.results.find_run(run_id)
    if meta["status"] != "ok":
        raise ResultsError(f"Run {meta['run_id']} failed and cannot be promoted: {meta['error']}")
    datasets = {name: workspace.datasets.open(name) for name in config.dataset_ids}
    signal = signal_of(workspace, config, meta, datasets)
    family, about, splits = weighed_rows(workspace, config, list(datasets.values()))
    best = choose(family, config, meta["run_id"], row)
    if not (best["n_signals"] or 0) - (best["n_dropped"] or 0):
        raise ResultsError(f"Row {best['row']} of run {best['run_id']} did not trade: there is nothing to promote.")
    meta = workspace.results.find_run(best["run_id"])  # of several sessions, the run on the latest
    latest = datasets[meta["dataset_id"]]
    obstacles = _obstacles(config, list(datasets.values()), best, about, splits)
    if obstacles and not force:
        raise RefusedError(f"Not promoted: {' '.join(obstacles)} To promote all the same: --force --why TEXT.")
    files = {name: _check_dataset(dataset) for name, dataset in datasets.items()}
    prove(signal, workspace.results_dir / PROOFS, name=meta["signal_name"])
    scoring = json.loads(meta["scoring_json"]) if meta["scoring_json"] else serving.scoring.model_dump(mode="json")
    runtime = _plain(
        {
            "pipeline": {"name": config.pipeline.name, "resolved": config.pipeline.resolved_dict()},
            "dataset": _dataset_block(latest),
            **({"sessions": [_dataset_block(item) for item in datasets.values()]} if len(datasets) > 1 else {}),
            "scoring": scoring,
            "signal": _signal_block(meta, signal),
            "projection": config.projection.model_dump(mode="json"),
            "threshold": best["threshold"],
            "cooldown_bins": best["cooldown_bins"],
            "warmup_bins": config.eval.first_bin,
            "labels": _labels(config, signal, best),
            **_model(workspace, meta["run_id"], signal, best),
        }
    )
    gate = statement(best, about) + (f" {standing(splits)}" if splits is not None else "")
    gate += f" {SEARCHED}" if config.searched else ""
    unsaid = (*ROW_KEY, "row", "batch_id", *VECTORS)
    figures = {
        name: best[name] for name in (*RUNS, *COMPUTED, *POOLED, *SPLIT_FIGURES) if name in best and name not in unsaid
    }
    snapshot = {
        "serving_id": serving_id_of(serving.name, runtime),
        "published_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "runtime": runtime,
        "evidence": _plain(
            {
                "experiment": config.name,
                "run_id": meta["run_id"],
                "row": best["row"],
                "barriers": {"tp_ticks": best["tp_ticks"], "sl_ticks": best["sl_ticks"], **config.eval.run_settings()},
                "select": {"metric": config.select_metric, "min_signals": config.min_signals},
                "figures": figures,
                "among": about.plain(),
                **({"out_of_sample": splits.plain()} if splits is not None else {}),
                "dataset_files": files if len(files) > 1 else files[meta["dataset_id"]],
                "packages": json.loads(meta["packages_json"]),
                "gate": gate,
                "overridden": list(obstacles),
            }
        ),
    }
    data = yaml.safe_dump(snapshot, sort_keys=True, allow_unicode=True, width=120).encode()
    publication = workspace.registry.publish(
        snapshot["serving_id"],
        data,
        alias,
        why=why,
        forced=force,
        who=who,
        figures={
            "run_id": meta["run_id"],
            "row": best["row"],
            **_plain(figures),
            "among": about.plain(),
            "gate": gate,
            "overridden": obstacles,
        },
    )
    if publication.moved:
        workspace.plugins.hook.vp_promoted(
            workspace=workspace, serving_id=publication.serving_id, alias=alias, snapshot=snapshot
        )
    overridden = tuple(obstacles) if force else ()
    return Promotion(publication, meta["run_id"], best["row"], figures, snapshot, overridden, gate)


# -- what stands in the way? -------------------------------------------------------------------------------------------


def _obstacles(
    config: ExperimentConfig,
    datasets: Sequence[Dataset],
    best: Mapping[str, Any],
    about: Evidence,
    splits: OutOfSample | None,
) -> list[str]:
    """Return what the gate finds wanting, each with its figure and what is required."""
    found = []
    for dataset in datasets:
        if not dataset.cold_start:
            continue
        rate = dataset.manifest["data_quality"]["unknown_order_rate"]
        found.append(
            f"dataset '{dataset.dataset_id}' is a cold start: its book was built without a snapshot, and {rate:.2%} of "
            "the cancels and modifies were of orders it did not know."
        )
    required_by = f"select.min_signals of '{config.name}'"
    found += wanting(best, about, min_trades=config.min_signals, required_by=required_by)
    return found + (lacking(best, splits) if splits is not None else [])


def _dataset_block(dataset: Dataset) -> dict[str, Any]:
    return {"dataset_id": dataset.dataset_id, "sources": list(dataset.source_digests)}


def _check_dataset(dataset: Dataset) -> dict[str, str]:
    """Return the checksums of the dataset's files, after recomputing them."""
    assert dataset.path is not None
    report = verify_files(dataset.path)
    changed = [file.name for file in report.files if file.status in ("changed", "missing")]
    if changed:
        raise DatasetError(
            f"Dataset '{dataset.dataset_id}' is not as it was written: {listed(changed)}. What was evaluated on it "
            f"cannot be promoted; see: vp verify {dataset.dataset_id}"
        )
    return {file.name: str(file.expected) for file in report.files if file.expected}


# -- the snapshot ------------------------------------------------------------------------------------------------------


def _signal_block(meta: Mapping[str, Any], signal: Signal) -> dict[str, Any]:
    distribution, version = distribution_of(type(signal))
    return {
        "name": meta["signal_name"],
        "version": meta["signal_version"],
        "distribution": distribution,
        "distribution_version": version,
        "code_digest": meta["code_digest"],
        "params": json.loads(meta["signal_params_json"]),
    }


def _labels(config: ExperimentConfig, signal: Signal, best: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a learning signal labels its examples with: its values depend on it, so it is part of the runtime."""
    if not isinstance(signal, MLSignal):
        return None
    settings = config.eval.run_settings()
    names = ("tp_ticks", "sl_ticks")
    labels = {name: best[name] for name in names} | {
        name: settings[name] for name in ("max_hold_bins", "latency_bins", "price")
    }
    LabelSpec(**labels, tick_int=config.pipeline.tick_int)
    return {**labels, "tick_int": config.pipeline.tick_int}


def _model(workspace: Workspace, run_id: str, signal: Signal, best: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run fitted last, so that a server predicts without training first; nothing if none was kept."""
    folder = model_folder(workspace.results_dir / MODELS, run_id, best["tp_ticks"], best["sl_ticks"])
    if not isinstance(signal, MLSignal) or not folder.is_dir():
        return {}
    return {"model": pack_model(folder)}


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: lists for tuples, no types of other libraries."""
    return json.loads(json.dumps(value, allow_nan=False))
