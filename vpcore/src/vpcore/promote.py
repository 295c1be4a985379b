"""Winner -> published serving version: from a row of the results to a snapshot that a server can run.

What decides what a server computes is the *runtime* part of the snapshot, and the id is its digest. What the row's
figures were, from which experiment it came and how likely it is to be luck stands beside it as evidence; a row whose
evidence does not pass the gate is only published with a reason.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml

from vpcore.canonical import canonical_json
from vpcore.config import ExperimentConfig, ExperimentSpec
from vpcore.dataset import Dataset, verify_files
from vpcore.errors import ConfigError, DatasetError, RefusedError, ResultsError, did_you_mean, listed
from vpcore.evidence import COMPUTED, Evidence, statement, wanting, weigh
from vpcore.registry import Publication, serving_id_of
from vpcore.results import LOWER_IS_BETTER, ROW_KEY, RUNS
from vpcore.signal import MODELS, LabelSpec, MLSignal, Signal, code_digest, distribution_of, model_folder, pack_model
from vpcore.sweep import expand
from vpcore.testing import prove

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
        A run, or an unambiguous beginning of its id.
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
    config = spec.to_harness_config()
    serving = workspace.serving(spec.serving).resolve()
    meta = workspace.results.find_run(run_id)
    if meta["status"] != "ok":
        raise ResultsError(f"Run {meta['run_id']} failed and cannot be promoted: {meta['error']}")
    dataset = workspace.datasets.open(config.dataset_id)
    signal = _signal_of(workspace, config, meta, dataset)
    family, about = _weighed(workspace, config, dataset)
    best = _choose(family, config, meta["run_id"], row)
    obstacles = _obstacles(config, dataset, best, about)
    if obstacles and not force:
        raise RefusedError(f"Not promoted: {' '.join(obstacles)} To promote all the same: --force --why TEXT.")
    files = _check_dataset(dataset)
    prove(signal, workspace.results_dir / PROOFS, name=meta["signal_name"])
    scoring = json.loads(meta["scoring_json"]) if meta["scoring_json"] else serving.scoring.model_dump(mode="json")
    runtime = _plain(
        {
            "pipeline": {"name": config.pipeline.name, "resolved": config.pipeline.resolved_dict()},
            "dataset": {"dataset_id": config.dataset_id, "sources": list(dataset.source_digests)},
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
    gate = statement(best, about)
    unsaid = (*ROW_KEY, "row", "batch_id", "block_pnl_ticks")
    figures = {name: best[name] for name in (*RUNS, *COMPUTED) if name not in unsaid}
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
                "dataset_files": files,
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
    workspace.plugins.hook.vp_promoted(
        workspace=workspace, serving_id=publication.serving_id, alias=alias, snapshot=snapshot
    )
    overridden = tuple(obstacles) if force else ()
    return Promotion(publication, meta["run_id"], best["row"], figures, snapshot, overridden, gate)


# -- does the run belong to the experiment? ----------------------------------------------------------------------------


def _signal_of(workspace: Workspace, config: ExperimentConfig, meta: Mapping[str, Any], dataset: Dataset) -> Signal:
    """Return the run's signal, after checking that the experiment, as it is now, would make this very run."""
    name = meta["signal_name"]
    names = [plan.name for plan in config.signals]

    def differs(what: str, was: Any, now: Any) -> ResultsError:
        return ResultsError(
            f"Run {meta['run_id']} is not one that experiment '{config.name}' would make now: {what} was {was}, and is "
            f"{now} now. Run the experiment again (vp run {config.name}) and promote one of its runs."
        )

    if meta["dataset_id"] != config.dataset_id:
        raise differs("its dataset", meta["dataset_id"], config.dataset_id)
    if name not in names:
        raise differs("its signal", f"'{name}'", listed(names))
    cls: type[Signal] = workspace.plugins.load("signal", name)
    distribution, _ = distribution_of(cls)
    checks = (
        ("the digest of its source files", json.loads(meta["sources_json"]), list(dataset.source_digests)),
        ("the distribution of its signal", meta["signal_distribution"], distribution),
        ("the version of its signal", meta["signal_version"], cls.version),
        ("the digest of its signal's code", meta["code_digest"], code_digest(cls)),
        ("its evaluation", json.loads(meta["eval_json"]), config.eval.run_settings()),
    )
    for what, was, now in checks:
        if canonical_json(was) != canonical_json(now):
            raise differs(what, _short(was), _short(now))
    (plan,) = (plan for plan in config.signals if plan.name == name)
    params = json.loads(meta["signal_params_json"])
    possible = [cls.Params.parse(values, name).plain() for values in plan.params]
    if canonical_json(params) not in map(canonical_json, possible):
        raise differs("its parameters", _short(params), _some(possible))
    scorings = [None if item is None else item.model_dump(mode="json") for item in config.scorings_of(plan)]
    scoring = None if meta["scoring_json"] is None else json.loads(meta["scoring_json"])
    if canonical_json(scoring) not in map(canonical_json, scorings):
        raise differs("its scoring", _short(scoring), _some(scorings))
    if plan.sampled is not None:
        pairs = [
            [cls.Params.parse(values, name).plain(), None if item is None else item.model_dump(mode="json")]
            for values, item in config.points_of(plan)
        ]
        if canonical_json([params, scoring]) not in map(canonical_json, pairs):
            raise differs("its combination of scoring and parameters", "in the sample", f"not among its {len(pairs)}")
    return cls(cls.Params.parse(params, name))


def _short(value: Any) -> str:
    text = canonical_json(value).decode()
    return text if len(text) <= 300 else text[:300] + "..."


def _some(values: list[Any]) -> str:
    return _short(values[0]) if len(values) == 1 else f"one of {len(values)} others"


# -- which row? --------------------------------------------------------------------------------------------------------


def _weighed(workspace: Workspace, config: ExperimentConfig, dataset: Dataset) -> tuple[pl.DataFrame, Evidence]:
    """Return the rows that the experiment asks for and that are stored, weighed against each other."""
    runs = expand(config, workspace.plugins, dataset.source_digests, dataset)
    keys = [(run.run_id, trial) for run in runs for trial in run.trials]
    rows = workspace.results.query_runs(keys=keys, blocks=True)
    weighed, evidence = weigh(workspace.results, workspace.datasets, rows, min_trades=config.min_signals)
    return weighed, evidence.get(config.dataset_id) or Evidence(config.dataset_id, 0, 0, None, None)


def _choose(family: pl.DataFrame, config: ExperimentConfig, run_id: str, row: str | None) -> dict[str, Any]:
    rows = family.filter(pl.col("run_id") == run_id)
    return _named(rows, row, run_id, config) if row is not None else _best(rows, run_id, config)


def _named(rows: pl.DataFrame, row: str, run_id: str, config: ExperimentConfig) -> dict[str, Any]:
    found = rows.filter(pl.col("row").str.starts_with(row))
    if len(found) == 1:
        return found.row(0, named=True)
    known = rows["row"].to_list()
    if len(found) > 1:
        raise ResultsError(
            f"'{row}' begins {len(found)} rows of run {run_id}: {listed(found['row'])}. Write more digits."
        )
    raise ResultsError(
        f"Run {run_id} has no row '{row}' that experiment '{config.name}' would make now.{did_you_mean(row, known)} It "
        f"has {len(known)}: {listed(known[:10])}{', ...' if len(known) > 10 else ''}."
    )


def _best(rows: pl.DataFrame, run_id: str, config: ExperimentConfig) -> dict[str, Any]:
    metric = config.select_metric
    descending = metric not in LOWER_IS_BETTER
    traded = pl.col("n_signals") - pl.col("n_dropped")
    ranked = rows.filter((traded >= config.min_signals) & pl.col(metric).is_not_null()).sort(
        metric, *ROW_KEY, descending=[descending] + [False] * len(ROW_KEY)
    )
    if ranked.is_empty():
        raise ResultsError(
            f"No row of run {run_id} has {config.min_signals} signals that traded and a {metric} (select.min_signals "
            f"of '{config.name}'): the largest number among its {len(rows)} rows is "
            f"{rows.select(traded.max()).item() if len(rows) else 0}. Name one with --row to promote it all the same."
        )
    tied = ranked.filter(pl.col(metric) == ranked[metric][0])
    if len(tied) > 1:
        raise ResultsError(
            f"{len(tied)} rows of run {run_id} share the best {metric}, {ranked[metric][0]:g}: {listed(tied['row'])}. "
            "Choose one with --row."
        )
    return ranked.row(0, named=True)


# -- what stands in the way? -------------------------------------------------------------------------------------------


def _obstacles(config: ExperimentConfig, dataset: Dataset, best: Mapping[str, Any], about: Evidence) -> list[str]:
    """Return what the gate finds wanting, each with its figure and what is required."""
    found = []
    if dataset.cold_start:
        rate = dataset.manifest["data_quality"]["unknown_order_rate"]
        found.append(
            f"dataset '{dataset.dataset_id}' is a cold start: its book was built without a snapshot, and {rate:.2%} of "
            "the cancels and modifies were of orders it did not know."
        )
    required_by = f"select.min_signals of '{config.name}'"
    return found + wanting(best, about, min_trades=config.min_signals, required_by=required_by)


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
