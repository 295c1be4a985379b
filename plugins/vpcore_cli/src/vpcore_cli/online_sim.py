"""``vp online-sim``: stream a dataset bin by bin like a live server, and time every bin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from json import loads
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, did_you_mean
from vpcore_cli.common import EXIT_REFUSED, JsonOption, RootOption, emit_json, emit_table, open_workspace, progress, say

if TYPE_CHECKING:
    from vpcore.backtest.config import EvalConfig
    from vpcore.rules import TradeRules
    from vpcore.scoring import ScoringConfig
    from vpcore.signal import Signal
    from vpcore.workspace import Workspace
    from vpcore_serving.parity import LateFit
    from vpcore_serving.timing import Simulation

MODES = ("inline", "background")

LATE_ROWS = 20
"""Late fits that are shown to a person."""


def online_sim(
    signal: Annotated[str | None, typer.Option("--signal", help="A signal, with its default parameters.")] = None,
    dataset_id: Annotated[
        str | None, typer.Option("--dataset-id", help="The dataset. [default: the run's or the serving version's]")
    ] = None,
    params_json: Annotated[
        str | None, typer.Option("--params-json", help="Parameters of --signal, as JSON.", show_default=False)
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="A stored run: its signal, parameters, scoring.")
    ] = None,
    serving: Annotated[str | None, typer.Option("--serving", help="A published version, by alias or id.")] = None,
    bin_budget_ms: Annotated[
        float, typer.Option("--bin-budget-ms", help="Time limit of a bin; exit 1 if p99 exceeds it.")
    ] = 100.0,
    from_raw: Annotated[
        bool, typer.Option("--from-raw", help="Replay the records through the engine too, on their own schedule.")
    ] = False,
    retrain: Annotated[
        str, typer.Option("--retrain", help="inline: a fit delays its bin; background: the old model serves meanwhile.")
    ] = "inline",
    tp_ticks: Annotated[
        int | None,
        typer.Option("--tp-ticks", help="Take-profit of the labels of a learning signal; with --signal or --run-id."),
    ] = None,
    sl_ticks: Annotated[int | None, typer.Option("--sl-ticks", help="Stop of the labels.")] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Stream a dataset through scorer and signal bin by bin, time every bin, and compare with the batch values.

    A learning signal refits on the way. With --retrain background the fits run beside the bins, as on a live server:
    values then differ from the batch values until a model is ready, and a table lists these bins with the reason.

    Exits 1 if the 99th percentile exceeds the budget, 2 if a streamed value differs from its batch value for another
    reason.
    """
    if bin_budget_ms <= 0:
        raise ConfigError("--bin-budget-ms", required="greater than 0 ms", was=f"{bin_budget_ms:g}")
    if sum(choice is not None for choice in (signal, run_id, serving)) != 1:
        raise ConfigError(
            "online-sim needs a signal", fix="Give exactly one of --signal NAME, --run-id RUN, --serving NAME."
        )
    if params_json is not None and signal is None:
        raise ConfigError("--params-json belongs to --signal: a run or a serving version has its own parameters.")
    if retrain not in MODES:
        fix = did_you_mean(retrain, MODES)
        raise ConfigError("--retrain", required=" or ".join(MODES), was=f"'{retrain}'", fix=fix)
    barriers = (tp_ticks, sl_ticks)
    if barriers != (None, None) and serving is not None:
        raise ConfigError("--tp-ticks and --sl-ticks belong to --signal and --run-id: a serving version has its own.")
    workspace = open_workspace(root)
    chosen = _choose(workspace, signal, params_json, run_id, serving, barriers)
    if dataset_id is not None:
        dataset_id = workspace.datasets.find(dataset_id)
    dataset_id = dataset_id or chosen.dataset_id
    if dataset_id is None:
        raise ConfigError("--signal needs --dataset-id", fix="List the ids: vp list-datasets.")
    result = _simulate(workspace, dataset_id, chosen, bin_budget_ms, from_raw, retrain)
    if json:
        emit_json(_as_json(dataset_id, chosen.name, result, retrain))
    else:
        _print(dataset_id, chosen.name, result, retrain)
    if not result.within_budget:
        say(f"Over the budget: p99 was {result.judged.p99 / 1000:,.4g} ms of {bin_budget_ms:g} ms.")
        raise typer.Exit(EXIT_REFUSED)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Subject of a simulation. `rules` make the labels of a learning signal; None for other signals."""

    name: str
    signal: Signal
    scoring: ScoringConfig
    rules: TradeRules | None
    dataset_id: str | None


def _choose(
    workspace: Workspace,
    signal: str | None,
    params_json: str | None,
    run_id: str | None,
    serving: str | None,
    barriers: tuple[int | None, int | None],
) -> _Chosen:
    from vpcore.backtest.config import EvalConfig
    from vpcore.scoring import ScoringConfig
    from vpcore.signal import MLSignal
    from vpcore_cli.check import parameters
    from vpcore_serving.registry import registry_of

    load = workspace.plugins.load
    built: Signal
    if signal is not None:
        built = load("signal", signal)(**parameters(params_json))
        rules = _rules_of(signal, built, EvalConfig(), None, barriers)
        return _Chosen(signal, built, ScoringConfig(), rules, None)
    if run_id is not None:
        meta = workspace.results.find_run(run_id)
        scoring = ScoringConfig.model_validate_json(meta["scoring_json"] or "{}")
        name = meta["signal_name"]
        built = load("signal", name)(**loads(meta["signal_params_json"]))
        rows = workspace.results.query_runs(run_id=[meta["run_id"]], status=None)
        pairs = rows.select("tp_ticks", "sl_ticks").unique().sort("tp_ticks", "sl_ticks").rows()
        rules = _rules_of(name, built, EvalConfig.of_row(meta["eval_json"]), pairs, barriers)
        return _Chosen(f"{name} of run {meta['run_id']}", built, scoring, rules, meta["dataset_id"])
    assert serving is not None
    from vpcore_serving.live_pipeline import build_signal
    from vpcore_serving.spec import published

    version = published(registry_of(workspace), serving)
    runtime = version.spec.runtime
    built = build_signal(runtime, load)
    rules = runtime.rules if isinstance(built, MLSignal) else None
    return _Chosen(
        f"{version.signal} of {version.serving_id}", built, runtime.scoring, rules, runtime.dataset.dataset_id
    )


def _rules_of(
    name: str,
    signal: Signal,
    config: EvalConfig,
    known: list[tuple[int, int]] | None,
    wanted: tuple[int | None, int | None],
) -> TradeRules | None:
    """Return the trade rules that make the labels of a learning signal; None for other signals.

    Parameters
    ----------
    name, signal
        Name and object of the signal.
    config : EvalConfig
        Evaluation of the run, or the defaults.
    known : list of (take-profit, stop) or None
        Pairs of the run. None allows any pair; `config` then fills in a missing value.
    wanted : (take-profit or None, stop or None)
        Values of ``--tp-ticks`` and ``--sl-ticks``.
    """
    from vpcore.signal import MLSignal

    if not isinstance(signal, MLSignal):
        if wanted != (None, None):
            raise ConfigError(f"'{name}' does not learn from trades", fix="Leave out --tp-ticks and --sl-ticks.")
        return None
    tp, sl = wanted
    if known is None:
        tp, sl = tp if tp is not None else config.tp_ticks[0], sl if sl is not None else config.sl_ticks[0]
    else:
        meant = [pair for pair in known if tp in (None, pair[0]) and sl in (None, pair[1])]
        if len(meant) != 1:
            there = ", ".join(f"--tp-ticks {pair[0]} --sl-ticks {pair[1]}" for pair in known)
            what = f"'{name}' has a model for each take-profit and stop of its run"
            raise ConfigError(what, fix=f"Choose one: {there}.")
        tp, sl = meant[0]
    return config.rules(tp, sl)


def _simulate(
    workspace: Workspace, dataset_id: str, chosen: _Chosen, budget_ms: float, from_raw: bool, retrain: Any
) -> Simulation:
    from vpcore.config.serialize import pipeline_of
    from vpcore.generation.generate import make_engine
    from vpcore.generation.sources import open_source
    from vpcore_serving.bin_pipeline import BinStages
    from vpcore_serving.online_simulator import simulate, simulate_from_raw

    dataset = workspace.datasets.open(dataset_id)
    stages = BinStages.on(dataset, chosen.signal, chosen.scoring, chosen.rules)
    with progress("Simulating", total=dataset.n_bins) as update:
        settings: dict[str, Any] = {"budget_ms": budget_ms, "retrain": retrain, "on_progress": update}
        if not from_raw:
            return simulate(dataset, stages, **settings)
        pipeline = pipeline_of(dataset.manifest["pipeline"], workspace.raw)
        with open_source(workspace, pipeline) as records:
            return simulate_from_raw(dataset, records, make_engine(pipeline), stages, **settings)


def _as_json(dataset_id: str, name: str, result: Simulation, retrain: str) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "signal": name,
        "n_bins": result.n_bins,
        "records": result.records,
        "stages_us": {stage: asdict(timing) for stage, timing in result.stages.items()},
        "budget_us": result.budget_us,
        "share_of_budget_p99": result.judged.p99 / result.budget_us if result.budget_us else None,
        "over_budget_bins": result.over_budget_bins,
        "within_budget": result.within_budget,
        "retrain": retrain,
        "retrains": len(result.retrain_us),
        "retrain_us": list(result.retrain_us),
        "gc_collections": len(result.gc_us),
        "gc_us": sum(result.gc_us),
        "startup_ms": result.startup_us / 1000.0,
        "peak_memory_mb": result.peak_memory_mb,
        "stream_equals_batch": not any(fit.n_differ for fit in result.late_fits),
        "late_fits": [{**asdict(fit), "why": _why(fit)} for fit in result.late_fits],
    }


def _why(fit: LateFit) -> str:
    """Return the effect of a background fit on the values, in words."""
    served = "the model before it served" if fit.had_model else "there was no model"
    if fit.ready_bin is None:
        return f"not ready when the data ended; {served}"
    text = f"{served} until it was ready"
    if fit.settled_bin is None:
        return f"{text}; what it had missed by then was not made up for when the data ended"
    return text if fit.settled_bin == fit.ready_bin else f"{text}; it made up for what it had missed at its next update"


def _print(dataset_id: str, name: str, result: Simulation, retrain: str) -> None:
    rows = [{"stage": stage, **asdict(timing)} for stage, timing in result.stages.items()]
    units = [
        {k if k == "stage" else f"{k}_us": v if k == "stage" else round(v, 1) for k, v in row.items()} for row in rows
    ]
    emit_table(units, ("stage", "p50_us", "p95_us", "p99_us", "max_us"), title=f"{name} on {dataset_id}")
    judged = "latency" if "latency" in result.stages else "total"
    share = 100 * result.judged.p99 / result.budget_us if result.budget_us else float("inf")
    percent = f"{share:.3g}" if share < 1000 else f"{share:,.0f}"
    print(
        f"{result.n_bins:,} bins, each timed on its own"
        + (f"; {result.records:,} records replayed on their own schedule" if result.records else "")
    )
    print(f"p99 of {judged} is {percent} % of the budget of {result.budget_us / 1000:g} ms", end="; ")
    print(f"{result.over_budget_bins:,} bins over it")
    print(f"retrains: {len(result.retrain_us)}", end="")
    where = "part of their bins" if retrain == "inline" else "in the background"
    spent = f"{sum(result.retrain_us) / 1000:.1f} ms in all, {max(result.retrain_us, default=0) / 1000:.1f} at most"
    print(f", {spent}, {where}" if result.retrain_us else "")
    print(f"garbage collections: {len(result.gc_us)}, {sum(result.gc_us) / 1000:.1f} ms in all, part of their bins")
    print(f"kernels were loaded in {result.startup_us / 1000:.0f} ms before the first bin")
    print(f"peak memory: {result.peak_memory_mb:.0f} MB")
    _print_parity(result)


def _print_parity(result: Simulation) -> None:
    late = [fit for fit in result.late_fits if fit.n_differ]
    if not (result.values == result.values).any():  # every value is NaN
        print("the signal has no value in any bin: nothing was compared")
        return
    if not late:
        print("streamed values equal the batch values, byte for byte")
        return
    print("streamed values equal the batch values, byte for byte, but for fits that were not ready in their bins:")
    rows = [
        {
            "due": fit.due_bin,
            "ready": fit.ready_bin,
            "fit_ms": None if fit.fit_us is None else fit.fit_us / 1000,
            "bins": f"{fit.first_differs} to {fit.last_differs}",
            "differ": fit.n_differ,
            "why": _why(fit),
        }
        for fit in late
    ]
    emit_table(rows[:LATE_ROWS], ("due", "ready", "fit_ms", "bins", "differ", "why"))
    if len(rows) > LATE_ROWS:
        print(f"and {len(rows) - LATE_ROWS} more: --json lists them all")
