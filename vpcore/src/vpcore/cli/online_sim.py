"""``vp online-sim``: one bin at a time, as a live server would see it, every bin timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.cli.common import EXIT_REFUSED, JsonOption, RootOption

if TYPE_CHECKING:
    from vpcore.live import Simulation
    from vpcore.scoring import ScoringConfig
    from vpcore.signal import LabelSpec, Signal
    from vpcore.workspace import Workspace


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
        float, typer.Option("--bin-budget-ms", help="What a bin may take; exit 1 if p99 takes more.")
    ] = 100.0,
    from_raw: Annotated[
        bool, typer.Option("--from-raw", help="Replay the records through the engine too, on their own schedule.")
    ] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Stream a dataset through scorer and signal bin by bin, time every bin, and compare with the batch values.

    Exits 1 if the 99th percentile exceeds the budget, 2 if a streamed value differs from its batch value.
    """
    from vpcore.cli.common import emit_json, open_workspace, say
    from vpcore.errors import ConfigError
    from vpcore.generate import find_dataset

    if bin_budget_ms <= 0:
        raise ConfigError(f"--bin-budget-ms must be greater than 0, was {bin_budget_ms:g}.")
    if sum(choice is not None for choice in (signal, run_id, serving)) != 1:
        raise ConfigError("Say what to simulate: exactly one of --signal NAME, --run-id RUN, --serving NAME.")
    if params_json is not None and signal is None:
        raise ConfigError("--params-json belongs to --signal: a run or a serving version has its own parameters.")
    workspace = open_workspace(root)
    chosen = _choose(workspace, signal, params_json, run_id, serving)
    if dataset_id is not None:
        dataset_id = find_dataset(workspace, dataset_id)
    dataset_id = dataset_id or chosen["dataset_id"]
    if dataset_id is None:
        raise ConfigError("--signal needs --dataset-id. List them: vp list-datasets.")
    result = _simulate(workspace, dataset_id, chosen, bin_budget_ms, from_raw)
    if json:
        emit_json(_as_json(dataset_id, chosen["name"], result))
    else:
        _print(dataset_id, chosen["name"], result)
    if not result.within_budget:
        say(f"Over the budget: p99 was {result.judged.p99 / 1000:,.4g} ms of {bin_budget_ms:g} ms.")
        raise typer.Exit(EXIT_REFUSED)


def _choose(
    workspace: Workspace, signal: str | None, params_json: str | None, run_id: str | None, serving: str | None
) -> dict[str, Any]:
    """Return name, signal, scoring, labels and the default dataset of what is to be simulated."""
    from json import loads

    from vpcore.cli.check import parameters
    from vpcore.scoring import ScoringConfig

    load = workspace.plugins.load
    if signal is not None:
        built: Signal = load("signal", signal)(**parameters(params_json))
        return {"name": signal, "signal": built, "scoring": ScoringConfig(), "labels": None, "dataset_id": None}
    if run_id is not None:
        meta = workspace.results.find_run(run_id)
        scoring = loads(meta["scoring_json"]) if meta["scoring_json"] else {}
        return {
            "name": f"{meta['signal_name']} of run {meta['run_id']}",
            "signal": load("signal", meta["signal_name"])(**loads(meta["signal_params_json"])),
            "scoring": ScoringConfig.model_validate(scoring or {}),
            "labels": None,
            "dataset_id": meta["dataset_id"],
        }
    assert serving is not None
    from vpcore.live import LivePipeline
    from vpcore.signal import LabelSpec

    version = workspace.registry.resolve(serving)
    LivePipeline.from_runtime(version.runtime, load)  # the signal and its code must be the published ones
    runtime = version.runtime
    return {
        "name": f"{runtime['signal']['name']} of {version.serving_id}",
        "signal": load("signal", runtime["signal"]["name"])(**runtime["signal"]["params"]),
        "scoring": ScoringConfig.model_validate(runtime["scoring"]),
        "labels": LabelSpec(**runtime["labels"]) if runtime["labels"] else None,
        "dataset_id": runtime["dataset"]["dataset_id"],
    }


def _simulate(
    workspace: Workspace, dataset_id: str, chosen: dict[str, Any], budget_ms: float, from_raw: bool
) -> Simulation:
    from vpcore.cli.common import progress
    from vpcore.config.block import pipeline_of
    from vpcore.generate import make_engine
    from vpcore.live import simulate, simulate_from_raw
    from vpcore.provenance import open_source

    signal: Signal = chosen["signal"]
    scoring: ScoringConfig = chosen["scoring"]
    labels: LabelSpec | None = chosen["labels"]
    dataset = workspace.datasets.open(dataset_id)
    with progress("Simulating", total=dataset.n_bins) as update:
        if not from_raw:
            return simulate(dataset, signal, scoring, budget_ms=budget_ms, labels=labels, on_progress=update)
        pipeline = pipeline_of(dataset.manifest["pipeline"], workspace.raw)
        with open_source(workspace, pipeline) as records:
            return simulate_from_raw(
                dataset,
                records,
                make_engine(pipeline),
                signal,
                scoring,
                budget_ms=budget_ms,
                labels=labels,
                on_progress=update,
            )


def _as_json(dataset_id: str, name: str, result: Simulation) -> dict[str, Any]:
    from dataclasses import asdict

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
        "retrains": len(result.retrain_us),
        "retrain_us": list(result.retrain_us),
        "gc_collections": len(result.gc_us),
        "gc_us": sum(result.gc_us),
        "startup_ms": result.startup_us / 1000.0,
        "peak_memory_mb": result.peak_memory_mb,
        "stream_equals_batch": True,
    }


def _print(dataset_id: str, name: str, result: Simulation) -> None:
    from dataclasses import asdict

    from vpcore.cli.common import emit_table

    rows = [{"stage": stage, **asdict(timing)} for stage, timing in result.stages.items()]
    units = [{key if key == "stage" else f"{key}_us": value for key, value in row.items()} for row in rows]
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
    print(f", {sum(result.retrain_us) / 1000:.1f} ms in all" if result.retrain_us else "")
    print(f"garbage collections: {len(result.gc_us)}, {sum(result.gc_us) / 1000:.1f} ms in all, part of their bins")
    print(f"kernels were loaded in {result.startup_us / 1000:.0f} ms before the first bin")
    print(f"peak memory: {result.peak_memory_mb:.0f} MB")
    print("streamed values equal the batch values, byte for byte")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("online-sim")(online_sim)
