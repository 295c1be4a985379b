"""The sections of a report, in the order in which a desk reads: the answer, the doubt, the detail, the origin."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

from vpcore.backtest.performance import table as performance
from vpcore.errors import ConfigError, VpError
from vpcore.experiment.compare_rows import compare_leaders
from vpcore.experiment.tables import session_of
from vpcore.experiment.trades import Leader, leaders_of, trades_of
from vpcore.inference.blocks import datasets_of
from vpcore.inference.evidence import adjusted_for, overfitting
from vpcore.signal import DIAGNOSTICS, SignalResult, read_diagnostics
from vpcore.storage.atomic import storage_errors
from vpcore_cli.compare import of_two
from vpcore_cli.grouping import plain, varied
from vpcore_cli.output import write_output
from vpcore_cli.tables import LEGEND, described, for_people, people_columns, ranked
from vpcore_cli.trades import for_people as trade_lines
from vpcore_report import chart_data, charts, execution_page, payload, robustness
from vpcore_report.facts import Facts, NothingToReport, gather
from vpcore_report.page import Page
from vpcore_report.style import WIDTH, Paint, render

if TYPE_CHECKING:
    from vpcore.config import ExperimentConfig
    from vpcore.workspace import Workspace

SHOWN_ROWS = 15
_SECOND_TABLE = (
    "run", "q_random", "n_trials", "resolved", "resolved 95 %", "breakeven", "driftless", "timeouts", "mean",
    "trades out", "worst",
)  # fmt: skip
"""Columns of the ranking's second table."""

_SCORES = (("AUC", "auc"), ("log loss", "log_loss"), ("Brier score", "brier"))
_FIT_COUNTS = (
    ("training examples", "n_train"), ("validation examples", "n_valid"), ("up", "n_up"), ("down", "n_down"),
)  # fmt: skip
_CALIBRATION_SIZE = (5.2, 4.2)
_MOST_FITS = 12
_MOST_MAPS, _MOST_SIGNALS = 3, 5
_MOST_CELLS = 30
"""Values of a setting on an axis of a heat map, at most."""

_QUALITY = {
    "records": "records",
    "events": "events",
    "trade_events": "trade events",
    "unbalanced_trade_events": "trade events whose fills differ from the trade",
    "add_contracts": "contracts added",
    "pull_contracts": "contracts pulled",
    "fill_contracts": "contracts filled",
    "hidden_contracts": "hidden contracts",
    "invalid_bins": "invalid bins",
    "bad_book_spans": "spans without a usable book",
    "crossed_events": "crossed events",
    "one_sided_events": "one-sided events",
    "dropped_events": "dropped events",
    "clock_clamps": "clock clamps",
    "unknown_cancels": "cancels of unknown orders",
    "clipped_cancels": "clipped cancels",
    "unattributed_fill_contracts": "unattributed fills, contracts",
    "bad_ts_recv_records": "records with a bad receive time",
}


def write_for_tracker(workspace: Workspace, config: ExperimentConfig, folder: Path) -> None:
    """Write ``report.html`` of an experiment into a folder; nothing where there is nothing to report."""
    with contextlib.suppress(NothingToReport):
        write_report(workspace, config, folder / "report.html")


def write_report(
    workspace: Workspace,
    target: str | ExperimentConfig,
    out: Path | None = None,
    *,
    tearsheet: bool = False,
    against: str | None = None,
) -> Path:
    """Write the report of an experiment or a run as one HTML file and return its path.

    Parameters
    ----------
    workspace : Workspace
        Where everything is; nothing in it is changed.
    target : str or ExperimentConfig
        Name or path of an experiment, or the beginning of the id of a run or a row.
    out : Path, optional
        The file; by default ``report-<name>.html`` in the current directory.
    tearsheet : bool
        Adds the tear sheet of the leader's signal, of a combination on its latest session.
    against : str, optional
        Row to compare the leader with; by default the best row with other trades.

    Raises
    ------
    ResultsError
        If nothing of it is stored, or no row has enough trades.
    ConfigError
        If `out` is a folder, or its folder does not exist.
    """
    if out is not None and out.is_dir():
        raise ConfigError(f"--out names a folder: {out}. Name the file, as {out / 'report.html'}.")
    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigError(f"--out names a folder that is not there: {out.absolute().parent}.")
    facts = gather(workspace, target, against)
    path = out if out is not None else Path(f"report-{facts.title.replace(' ', '-')}.html")
    html = make_page(workspace, facts, tearsheet=tearsheet).html().encode()
    with storage_errors(path, "write the report"):
        write_output(path, html)
    return path


def make_page(workspace: Workspace, facts: Facts, *, tearsheet: bool = False) -> Page:
    """Return the page of a report. What cannot be computed anew (other code, a lost dataset) is said in its place."""
    row = facts.leader
    page = Page(
        facts.title, f"{described(row['dataset_id'])}, computed until {facts.until:%Y-%m-%d %H:%M:%S} UTC by vpcore"
    )
    _summary(page, facts)
    _question(page, facts)
    _quality(page, facts)
    _ranking(page, facts)
    robustness.out_of_sample(page, facts)
    robustness.sessions(page, facts)
    packer, header = payload.Packer(), {}
    header["rows"] = payload.rows(packer, facts.rows, row["signal_name"])
    _maps(page, facts)
    _all_rows(page, header["rows"])
    try:
        leader = Leader(workspace, row)
    except VpError as error:
        page.section("The leader's trades")
        page.text(f"They cannot be shown: {error}")
    else:
        sessions = _session_leaders(workspace, row, leader)
        header |= _trades(page, workspace, facts, sessions, packer)
        _comparison(page, workspace, facts, sessions)
        if tearsheet:
            _tearsheet(page, leader)
    _learning(page, workspace, row)
    _provenance(page, facts)
    page.data = packer.text(header)
    return page


def _summary(page: Page, facts: Facts) -> None:
    row, about = facts.leader, facts.evidence
    page.section("Summary")
    first = "The best row" if row["row"] == facts.rows["row"][0] else "Row " + row["row"]
    page.verdict(f"{first}, {row['signal_name']} at threshold {row['threshold']:g}, {facts.verdict}.")
    page.tiles(
        [
            ("net PnL per trade, ticks", f"{row['net_pnl_ticks']:+.2f}"),
            ("95 % interval, ticks", _interval(row["net_pnl_lo"], row["net_pnl_hi"])),
            ("trades (worth independent)", f"{row['trades']:,} ({row['n_eff']:.0f})"),
            ("p against random entry", _p(row["p_random"])),
            (f"p adjusted for {adjusted_for(about)}", _p(row["p_adj"])),
            ("deflated Sharpe ratio", "–" if row["dsr"] is None else f"{row['dsr']:.2f}"),
        ]
    )
    overfit = overfitting(about, facts.rows)
    page.text(
        f"{about.n_trials:,} trials were made on this market so far, in this and other experiments: the best of "
        f"them is partly luck, and the adjusted figures take that into account. {overfit}".rstrip(),
        note=True,
    )


def _question(page: Page, facts: Facts) -> None:
    page.section("The question")
    page.facts(facts.question)


def _quality(page: Page, facts: Facts) -> None:
    manifest = facts.manifest
    page.section("Data quality")
    quality = manifest.get("data_quality", {})
    bins = manifest["shape"]["n_bins"]
    valid = manifest.get("valid_bins")
    share = "" if valid is None else f"{valid:,} of {bins:,} bins valid ({valid / bins:.2%}), "
    page.text(f"{share}{manifest['shape']['cell_width_ns'] / 1e6:g} ms each. Figures cover the warm-up too.")
    if facts.leader.get("sessions") is not None:
        page.text(f"Of the latest session, {datasets_of(facts.leader['dataset_id'])[-1]}.", note=True)
    known = [(label, quality[name]) for name, label in _QUALITY.items() if name in quality]
    half = (len(known) + 1) // 2
    lines = itertools.zip_longest(known[:half], known[half:], fillvalue=("", ""))
    page.table(("", "count", "", "count"), [(*left, *right) for left, right in lines])
    if manifest.get("cold_start"):
        page.text("Cold start: the capture began without a book, so early bins do not show the whole market.")
    for warning in manifest.get("warnings", ()):
        page.text(f"Warning: {warning}")


def _ranking(page: Page, facts: Facts) -> None:
    page.section("Ranking")
    rows = facts.rows.head(SHOWN_ROWS).to_dicts()
    few = f"; {facts.n_few:,} more have fewer" if facts.n_few else ""
    page.text(
        f"The first {len(rows)} of {facts.rows.height:,} rows with at least {facts.min_signals} "
        f"trade{'' if facts.min_signals == 1 else 's'}{few}, "
        f"by {facts.select}."
    )
    data = chart_data.intervals(rows)
    size = charts.intervals_size(data)
    caption = "Net PnL per trade after costs, in ticks, with its bootstrap interval."
    page.figure(render(partial(charts.intervals, data=data), size), caption, size)
    columns = people_columns(facts.select, pooled="sessions" in facts.rows.columns, split=facts.splits is not None)
    shown = for_people(ranked(facts.rows.head(SHOWN_ROWS), facts.rows))
    lead = next((i for i, row in enumerate(rows) if row["row"] == facts.leader["row"]), None)
    for part in table_parts(columns):
        page.table(part, [[row.get(name) for name in part] for row in shown], lead=lead)
    page.text(LEGEND, note=True)


def table_parts(columns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of the ranking as two tables that fit a page: settings with net PnL, then the other figures.

    Each begins with the row and its signal; the settings that vary stand beside them.
    """
    names = ("row", "signal")
    others = tuple(name for name in columns if name in _SECOND_TABLE)
    first = (name for name in columns if name not in (*names, "varied", *others))
    return (*names, "varied", *first), (*names, *others)


def _maps(page: Page, facts: Facts) -> None:
    """Add heat maps of the leader's signal, and one of each other signal with at least two varied settings."""
    begun = False
    signals = facts.rows["signal_name"].unique(maintain_order=True).to_list()
    for place, name in enumerate(signals[:_MOST_SIGNALS]):
        for data in heat_maps(facts.rows.filter(facts.rows["signal_name"] == name), 1 if place else _MOST_MAPS):
            if not begun:
                begun = True
                page.section("Parameters")
                page.text(
                    "Settings of a signal, two at a time, the leader's signal first. A cell is the median over all "
                    "other settings, so that one lucky row does not colour it: look for broad areas, not for the best "
                    "cell."
                )
            page.heat(data, f"{name}: median {charts.named(data.figure)}. Rows with enough trades.")
    if len(signals) > _MOST_SIGNALS and begun:
        page.text(f"Of the {len(signals)} signals, the {_MOST_SIGNALS} with the best rows are shown.", note=True)


def _all_rows(page: Page, rows: payload.Json) -> None:
    """Add the charts of all rows, where a setting varies."""
    if not rows["settings"]:
        return
    page.section("All rows")
    page.text(
        "Any two settings and any figure, and all settings at once. A cell is the median over all other settings."
    )
    page.chart("maps", "Median of a figure for every pair of values of two settings; the pointer names the best row.")
    page.chart("parallel", "A line per row over its settings, coloured by the figure; the pointer names the row.")


def heat_maps(rows: pl.DataFrame, most: int) -> list[chart_data.Pivot]:
    """Return net PnL over pairs of settings that vary among the rows of a signal, at most `most`.

    A setting with more than 30 values is left out: its axis could not be read.
    """
    table, names = varied(rows)
    names = [name for name in names if table[name].n_unique() <= _MOST_CELLS]
    pairs = itertools.islice(itertools.combinations(names, 2), most)
    return [chart_data.pivot(rows, down, across, "net_pnl_ticks") for across, down in pairs]


def _session_leaders(workspace: Workspace, row: Mapping[str, Any], leader: Leader) -> list[Leader]:
    """Return the rows that a combination is on its sessions, in order of time; `leader` is the last of them."""
    names = list(row.get("session_rows") or ())
    return [*(Leader(workspace, each) for each in workspace.results.find_rows(names[:-1])), leader]


def _trades(
    page: Page, workspace: Workspace, facts: Facts, sessions: Sequence[Leader], packer: payload.Packer
) -> payload.Json:
    """Add the leader's trades, and return the headers of their charts."""
    leader, frames = sessions[-1], [trades_of(each) for each in sessions]
    trades = chart_data.Trades.of(leader)
    zone = ZoneInfo(chart_data.zone_of(facts.manifest))
    curve = chart_data.equity_of(sessions)
    several = len(sessions) > 1
    of = f" of {len(sessions)} sessions" if several else ""
    page.section("The leader's trades")
    page.facts(_leader_lines(facts.leader))
    page.chart("equity", f"Equity and drawdown of {len(curve.total):,} trades{of}, net, in ticks.")
    if of:
        page.text("The next two pictures are of the last session.", note=True)
    pictures: list[tuple[Paint, float, str]] = [
        (
            partial(charts.distributions, data=chart_data.distributions(trades)),
            2.8,
            "Net PnL and holding time of the trades, by outcome.",
        ),
        (
            partial(charts.stretches, data=chart_data.stretches(trades, chart_data.ends_of(leader, zone))),
            2.9,
            f"Outcomes by time of the session ({zone.key}).",
        ),
    ]
    for paint, height, caption in pictures:
        page.figure(render(paint, (WIDTH, height)), caption, (WIDTH, height))
    _performance(page, sessions, frames)
    market = payload.market(packer, sessions, frames, zone.key)
    _market(page, market, pl.concat(frames, how="diagonal_relaxed"), several=several)
    execution_page.of_maker(page, workspace, sessions)
    _costs(page, leader)
    names = [session_of(each.dataset.dataset_id) for each in sessions]
    return {"equity": payload.equity(packer, curve, names), "market": market}


def _performance(page: Page, sessions: Sequence[Leader], frames: Sequence[pl.DataFrame]) -> None:
    """Add the figures that the mean of the trades does not show, a line per session."""
    pairs = zip(sessions, frames, strict=True)
    named = [(session_of(each.dataset.dataset_id), frame, each.open_bins) for each, frame in pairs]
    lines = performance(named).to_dicts()
    money = lines[-1]["net_currency"] is not None
    shown = [(title, show) for title, show, of_money in _PERFORMANCE if money or not of_money]
    page.table(
        ("session", "trades", *(title for title, _ in shown)),
        [(line["session"], line["trades"], *(show(line) for _, show in shown)) for line in lines],
    )
    page.text(
        "Sharpe and Sortino are per trade and not annualized: overlapping trades are not independent. Drawdown is of "
        "the cumulative net PnL at the exits. Exposure is the share of open bins with an open position. Every trade: "
        f"vp trades {sessions[-1].row['row']}",
        note=True,
    )


def _tearsheet(page: Page, leader: Leader) -> None:
    """Add what the leader's values say about later returns, before barriers and thresholds."""
    from vpcore_report import tearsheet_page
    from vpcore_report.tearsheet import tearsheet

    found = tearsheet(leader.dataset, SignalResult(leader.values, leader.mode), name=leader.row["signal_name"])
    tearsheet_page.add(page, found)


_PERFORMANCE: tuple[tuple[str, Callable[[Mapping[str, Any]], str], bool], ...] = (
    ("net, ticks", lambda line: f"{line['net_ticks']:+,.2f}", False),
    ("net, currency", lambda line: f"{line['net_currency']:+,.2f}", True),
    ("trades above 0", lambda line: _share(line["win_rate"]), False),
    ("Sharpe", lambda line: _figure(line["sharpe"]), False),
    ("Sortino", lambda line: _figure(line["sortino"]), False),
    ("profit factor", lambda line: _figure(line["profit_factor"]), False),
    ("drawdown, ticks", lambda line: f"{line['max_drawdown_ticks']:,.2f}", False),
    ("drawdown, currency", lambda line: f"{line['max_drawdown_currency']:,.2f}", True),
    ("exposure", lambda line: _share(line["exposure"]), False),
)
"""Columns of the figures per session: title, text of a line, and whether it needs a multiplier."""


def _share(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}"


def _figure(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _market(page: Page, market: payload.Json, trades: pl.DataFrame, *, several: bool) -> None:
    """Add the market around the trades, and their list as of ``vp trades``."""
    # Sessions whose trades have no room are cut at their end; the list has the same trades as the chart.
    counts = [len(session["trades"]) for session in market["sessions"]]
    names = [session["name"] for session in market["sessions"]]
    parts = [trades.filter(pl.col("session") == name).head(n) for name, n in zip(names, counts, strict=True)]
    shown = pl.concat(parts)
    page.section("Entries on the market")
    page.text(
        "Choose a trade in the list. Drag the picture to move it; zoom with the buttons, with + and -, or with ctrl "
        "and the wheel. The pointer shows a cell in numbers."
    )
    page.chart(
        "market",
        "Net flow by price (or another layer), bid and ask, traded volumes, entries (triangles), exits (crosses) and "
        f"the barriers of the chosen trade (dashed), {market['radius']} cells on each side of the mid; below, the "
        "signal with its thresholds. Amounts are in steps of one byte.",
    )
    columns, rows = trade_lines(shown, market["zone"], several=several)
    page.table(("trade", *columns), [(i, *(row[c] for c in columns)) for i, row in enumerate(rows, 1)], name="trades")
    left_out = trades.height - shown.height
    page.text(
        f"time: end of the bin of the decision, {market['zone']}. net: ticks after spread and fee."
        + (f" {left_out:,} more trades: vp trades ROW, vp plot ROW --at TRADE." if left_out else ""),
        note=True,
    )


def _comparison(page: Page, workspace: Workspace, facts: Facts, sessions: list[Leader]) -> None:
    """Add the leader beside another row, as of ``vp compare ROW ROW``."""
    rival = facts.rival
    if rival is None:
        return
    page.section("Two rows compared")
    try:
        found = compare_leaders((facts.ranked, rival), [sessions, leaders_of(workspace, rival)])
    except VpError as error:
        page.text(f"Row {rival.row} cannot be compared: {error}")
        return
    page.text("The leader, a, beside row b: the settings that differ, shared trades, and the paired difference.")
    page.table(("setting", "a", "b"), [(one.name, plain(one.a), plain(one.b)) for one in found.settings])
    for text in of_two(found):
        page.text(text)
    page.text(
        f"Another row: vp compare {facts.ranked.row} ROW, or vp report {facts.ranked.row} --against ROW", note=True
    )


def _costs(page: Page, leader: Leader) -> None:
    """Add the row's net PnL with other delays and fees."""
    latency, fee = leader.rules.latency_bins, leader.rules.fee_ticks
    data = chart_data.costs(leader.sensitivity(), latency, fee, leader.dataset.cell_width_ns)
    page.section("Costs and delay")
    caption = "The same signal with other delays and fees, evaluated anew."
    page.figure(render(partial(charts.costs, data=data), (WIDTH, 3.0)), caption, (WIDTH, 3.0))
    rows = []
    for j, label in enumerate(data.latency_labels):
        bounds = (data.net[:, j], data.lo[:, j], data.hi[:, j])
        nets = [f"{net:+.2f} ({_interval(lo, hi)})" for net, lo, hi in zip(*bounds, strict=True)]
        rows.append((label, data.n_trades[j], *nets))
    columns = ("delay, bins", "trades", *(f"net at {label}, ticks" for label in data.fee_labels))
    page.table(columns, rows, lead=data.own[1])


def _learning(page: Page, workspace: Workspace, row: dict[str, Any]) -> None:
    """Add the diagnostics of a learning signal: AUC, losses, classes, calibration, fits, features and drift."""
    found = read_diagnostics(workspace.results.folder / DIAGNOSTICS / row["run_id"])
    barriers = (row["tp_ticks"], row["sl_ticks"])
    look = next((item for item in found if (item["tp_ticks"], item["sl_ticks"]) == barriers), None)
    if look is None:
        return
    page.section("Predictions")
    if "error" in look:
        page.text(f"The diagnostics of this run failed: {look['error']}")
        return
    if look.get("note"):
        page.text(look["note"])
    page.text("Predictions out of sample: each bin is predicted by a model that saw resolved labels only.")
    figures = [(title, look[name]) for title, name in _SCORES if name in look]
    page.table(
        ("figure", "value", "95 % interval"),
        [(title, _p(value), _interval(lo, hi, "")) for title, (value, lo, hi) in figures],
    )
    data = chart_data.calibration(look)
    if data is not None:
        ups = data.ups
        page.text(
            f"{look['n']:,} predictions have a resolved label: {ups:,} up (the long paid), {look['n'] - ups:,} down."
        )
        caption = "Calibration: observed share of ups by predicted probability."
        page.figure(render(partial(charts.calibration, data=data), _CALIBRATION_SIZE), caption, _CALIBRATION_SIZE)
    _fits(page, look)
    _features(page, look)


def _fits(page: Page, look: Mapping[str, Any]) -> None:
    """Add the fits of a learning signal, and those left out, with the examples of each class where they are known."""
    fits, unfit = look.get("retrains") or [], look.get("unfit") or []
    page.text(f"The signal was fitted {len(fits)} times." if len(fits) != 1 else "The signal was fitted once.")
    known = [(title, name) for title, name in _FIT_COUNTS if any(name in fit for fit in fits)]
    if fits:
        page.table(
            ("fit at bin", *(title for title, _ in known), "features used most"),
            [
                (fit["bin_seq"], *(fit.get(name) for _, name in known), ", ".join(fit.get("used", ())))
                for fit in fits[:_MOST_FITS]
            ],
        )
    if len(fits) > _MOST_FITS:
        page.text(f"The first {_MOST_FITS} of {len(fits)} fits.", note=True)
    if unfit:
        page.text(f"{len(unfit)} fits were left out for too few examples of a class.")
        shown = [(one["bin_seq"], one["n_up"], one["n_down"]) for one in unfit[-_MOST_FITS:]]
        page.table(("due at bin", "examples up", "examples down"), shown)


def _features(page: Page, look: Mapping[str, Any]) -> None:
    """Add the importance and the drift of the features of a learning signal, the most important ones first."""
    important = (look.get("importance") or ())[:_MOST_FITS]
    if important:
        page.text(
            "Importance of the features in the last fit. auc_lost: loss in AUC after shuffling the feature, in sample."
        )
        names = [name for name in important[0] if name != "feature"]
        page.table(
            ("feature", *names), [(item["feature"], *(f"{item[name]:+.4g}" for name in names)) for item in important]
        )
    moved = [item for item in look.get("drift", ()) if "distance" in item][:_MOST_FITS]
    if moved:
        page.text("Drift of the features between the bins of a fit and the bins that it predicts.")
        rows = [(item["feature"], f"{item['distance']:.2f}", f"{item['shift']:+.2f}") for item in moved]
        page.table(("feature", "Kolmogorov-Smirnov distance", "shift of the median, interquartile ranges"), rows)


def _leader_lines(row: dict[str, Any]) -> dict[str, str]:
    lines = {
        "Row": f"{row['row']} of run {row['run_id']}",
        "Trades when": f"{row['signal_name']} crosses {row['threshold']:g}, at most every {row['cooldown_bins']} bins",
        "Closed at": f"{row['tp_ticks']} ticks of profit, {row['sl_ticks']} ticks of loss, or by time",
    }
    columns = {"Parameters": "signal_params_json", "Scoring": "scoring_json", "Engine": "pipeline_json"}
    for title, column in columns.items():
        values = json.loads(row.get(column) or "{}")
        if values:
            lines[title] = ", ".join(f"{name} {json.dumps(value)}" for name, value in values.items())
    return lines


def _provenance(page: Page, facts: Facts) -> None:
    meta, manifest = facts.meta, facts.manifest
    page.section("Provenance")
    page.text("What decides every number above. The same inputs and versions give the same bytes.")
    packages = json.loads(meta["packages_json"])
    page.facts(
        {
            "Dataset": meta["dataset_id"],
            "Source files": "; ".join(f"{item['path']}, sha256 {item['sha256']}" for item in manifest["sources"]),
            "Code of the engine": manifest.get("engine_code"),
            "Signal": f"{meta['signal_name']} version {meta['signal_version']}, of {meta['signal_distribution']}",
            "Code of the signal": meta["code_digest"],
            "Experiment's digest": meta["config_hash"],
            "Evaluation": ", ".join(f"{name} {value}" for name, value in json.loads(meta["eval_json"]).items()),
            "Versions": ", ".join(f"{name} {version}" for name, version in packages.items()),
            "Computed": f"{meta['finished_utc']:%Y-%m-%d %H:%M:%S} UTC on {meta['host']}",
        }
    )


def _interval(lo: float | None, hi: float | None, sign: str = "+") -> str:
    known = lo is not None and hi is not None and math.isfinite(lo) and math.isfinite(hi)
    digits = 2 if sign else 3
    return f"{lo:{sign}.{digits}f} to {hi:{sign}.{digits}f}" if known else "–"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
