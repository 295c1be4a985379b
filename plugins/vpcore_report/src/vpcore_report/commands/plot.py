"""``vp plot``: a picture of one row of the results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.cli.common import RootOption

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


def plot(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A stored run, by its id or the beginning of it.")],
    row: Annotated[
        str | None, typer.Option("--row", help="A row of the run. [default: the best by net_pnl_ticks]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The PNG file. [default: RUN-ROW.png]")] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="How much to show.")] = 4.0,
    start_minute: Annotated[
        float | None, typer.Option("--from-minute", min=0.0, help="From where. [default: where it trades most]")
    ] = None,
    root: RootOption = None,
) -> None:
    """Draw net flow around the mid, the mid with entries, and the signal, as a PNG."""
    from vpcore.cli.common import open_workspace

    print(draw(open_workspace(root), run_id, row, out, minutes, start_minute))


def draw(
    workspace: Workspace, run_id: str, row: str | None, out: Path | None, minutes: float, start_minute: float | None
) -> Path:
    """Draw a row of a run and return the file."""
    from vpcore.backtest.entries import detect
    from vpcore.errors import ConfigError
    from vpcore.units import NS_PER_S
    from vpcore_report.charts import busiest_window, frame_chart, zone_of

    png_path(out)
    meta = workspace.results.find_run(run_id)
    best = _row(workspace, meta, row)
    path = png_path(out, f"{meta['run_id']}-{best['row']}.png")
    dataset, values, mode, warmup = _values(workspace, meta)
    found = detect(
        values,
        dataset.valid,
        dataset.bin("bin_seq"),
        best["threshold"],
        cooldown_bins=best["cooldown_bins"],
        warmup_bins=warmup,
        mode=mode,
    )
    width = max(2, round(minutes * 60 * NS_PER_S / dataset.cell_width_ns))
    if start_minute is None:
        start, stop = busiest_window(found, dataset.n_bins, width)
    else:
        start = round(start_minute * 60 * NS_PER_S / dataset.cell_width_ns)
        if start >= dataset.n_bins:
            length = dataset.n_bins * dataset.cell_width_ns / (60 * NS_PER_S)
            raise ConfigError(f"--from-minute must lie in the {length:g} minutes of the dataset, was {start_minute:g}.")
        stop = min(start + width, dataset.n_bins)
    title = (
        f"{meta['signal_name']} on {dataset.symbol}, {dataset.dataset_id}\n"
        f"threshold {best['threshold']:g}, cooldown {best['cooldown_bins']} bins, TP {best['tp_ticks']} / "
        f"SL {best['sl_ticks']} ticks: {best['n_signals'] - best['n_dropped']} trades, "
        f"{best['net_pnl_ticks']:+.2f} ticks net each"
    )
    threshold, zone = best["threshold"], zone_of(dataset.manifest)
    frame_chart(path, dataset, values, found, threshold=threshold, start=start, stop=stop, title=title, zone=zone)
    return path


def png_path(out: Path | None, default: str = "row.png") -> Path:
    """Return the path of a picture.

    Raises
    ------
    ConfigError
        If `out` has another ending than ``.png``, or its folder does not exist.
    """
    from vpcore.errors import ConfigError

    path = out if out is not None else Path(default)
    if path.suffix.lower() != ".png":
        raise ConfigError("--out", was=str(path), required="a file that ends in .png")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--out names a folder that does not exist: {path.absolute().parent}.")
    return path


def _row(workspace: Workspace, meta: dict[str, Any], row: str | None) -> dict[str, Any]:
    from vpcore.errors import ResultsError, listed

    rows = workspace.results.query_runs(run_ids=[meta["run_id"]], sort="net_pnl_ticks")
    traded = rows.filter(rows["net_pnl_ticks"].is_not_null())
    if row is None:
        if not len(traded):
            raise ResultsError(f"No row of run {meta['run_id']} has a trade: there is nothing to draw.")
        return traded.row(0, named=True)
    chosen = rows.filter(rows["row"].str.starts_with(row))
    if len(chosen) != 1:
        raise ResultsError(
            f"Run {meta['run_id']} has {len(chosen)} rows that begin with '{row}'. Rows: {listed(rows['row'][:20])}."
        )
    return chosen.row(0, named=True)


def _values(workspace: Workspace, meta: dict[str, Any]) -> tuple[Any, Any, Any, int]:
    """Return dataset, values, prediction mode and warm-up of a run, computed anew."""
    import json

    from vpcore.errors import SignalError
    from vpcore.scoring import ScoringConfig, score_arrays
    from vpcore.signal import MLSignal, batch, code_digest

    cls = workspace.plugins.load("signal", meta["signal_name"])
    if code_digest(cls) != meta["code_digest"]:
        raise SignalError(
            f"Run {meta['run_id']} was made by other code of '{meta['signal_name']}' than what is installed, so its "
            "values are gone. Run the experiment again: its runs get new ids."
        )
    signal = cls(**json.loads(meta["signal_params_json"]))
    if isinstance(signal, MLSignal):
        raise SignalError(f"'{meta['signal_name']}' learns from labels: its values cannot be drawn from the run alone.")
    dataset = workspace.datasets.open(meta["dataset_id"])
    if meta["scoring_json"]:
        scoring = ScoringConfig.model_validate(json.loads(meta["scoring_json"]))
        d1, d2, d3 = (dataset.grid(f"composite_d{i}") for i in (1, 2, 3))
        score, state = score_arrays(d1, d2, d3, dataset.valid, scoring)
        dataset = dataset.with_grid({"flow_score": score, "flow_state_code": state})
    warmup = int(json.loads(meta["eval_json"])["warmup_bins"])
    return dataset, batch(signal, dataset).values, signal.prediction_mode, warmup
