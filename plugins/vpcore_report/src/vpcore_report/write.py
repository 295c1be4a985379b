"""The sections of a report, in the order in which a desk reads: the answer, the doubt, the detail, the origin."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from vpcore.errors import ConfigError, VpError
from vpcore.experiment.row_facts import Facts, NothingToReport, gather, varied
from vpcore.experiment.tables import LEGEND, for_people, people_columns, ranked
from vpcore.experiment.trades import Leader, Trades
from vpcore.inference.blocks import datasets_of
from vpcore.inference.evidence import overfitting
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore.units import NS_PER_S
from vpcore_report import figures, held
from vpcore_report.charts import busiest_window, frame_chart, zone_of
from vpcore_report.page import Page

if TYPE_CHECKING:
    from vpcore.config import ExperimentConfig
    from vpcore.workspace import Workspace

SHOWN_ROWS = 15
_MOST_MAPS, _MOST_SIGNALS = 3, 5
_STRETCHES_S = (300, 600, 900, 1800, 3600)
_MOST_STRETCHES = 14
_CHART_S = 240

_QUALITY = {
    "records": "records",
    "events": "events",
    "trade_events": "trade events",
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


def write_report(workspace: Workspace, target: str | ExperimentConfig, out: Path | None = None) -> Path:
    """Write the report of an experiment or a run as one HTML file and return its path.

    Parameters
    ----------
    workspace : Workspace
        Where everything is; nothing in it is changed.
    target : str or ExperimentConfig
        Name or path of an experiment, or the beginning of a run's id.
    out : Path, optional
        The file; by default ``report-<name>.html`` in the current directory.

    Raises
    ------
    ResultsError
        If nothing of it is stored, or no row has enough trades.
    ConfigError
        If matplotlib is not installed, `out` is a folder, or its folder is not there.
    """
    if out is not None and out.is_dir():
        raise ConfigError(f"--out names a folder: {out}. Name the file, as {out / 'report.html'}.")
    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigError(f"--out names a folder that is not there: {out.absolute().parent}.")
    facts = gather(workspace, target)
    path = out if out is not None else Path(f"report-{facts.title.replace(' ', '-')}.html")
    html = make_page(workspace, facts).html().encode()
    with storage_errors(path, "write the report"):
        write_atomic(path.absolute(), html, durable=False)
    return path


def make_page(workspace: Workspace, facts: Facts) -> Page:
    """Return the page of a report. What cannot be computed anew (other code, a lost dataset) is said in its place."""
    row = facts.leader
    page = Page(facts.title, f"{row['dataset_id']}, computed until {facts.until:%Y-%m-%d %H:%M:%S} UTC by vpcore")
    _summary(page, facts)
    _question(page, facts)
    _quality(page, facts)
    _ranking(page, facts)
    held.out_of_sample(page, facts)
    held.sessions(page, facts)
    _maps(page, facts)
    try:
        leader = Leader(workspace, row)
    except VpError as error:
        page.section("The leader's trades")
        page.text(f"They cannot be shown: {error}")
    else:
        _trades(page, facts, leader)
    _provenance(page, facts)
    return page


def _summary(page: Page, facts: Facts) -> None:
    row, about = facts.leader, facts.evidence
    page.section("Summary")
    page.add('<div class="verdict">')
    page.text(f"The best row, {row['signal_name']} at threshold {row['threshold']:g}, {facts.verdict}.")
    page.add("</div>")
    page.tiles(
        [
            ("net PnL per trade, ticks", f"{row['net_pnl_ticks']:+.2f}"),
            ("95 % interval, ticks", _interval(row["net_pnl_lo"], row["net_pnl_hi"])),
            ("trades (worth independent)", f"{row['trades']:,} ({row['n_eff']:.0f})"),
            ("p against random entry", _p(row["p_random"])),
            (f"p adjusted for {about.n_adjusted:,} trials", _p(row["p_adj"])),
            ("deflated Sharpe ratio", "–" if row["dsr"] is None else f"{row['dsr']:.2f}"),
        ]
    )
    overfit = overfitting(about, facts.rows)
    page.text(
        f"{about.n_trials:,} combinations were tried on this market so far, in this and other experiments: the best of "
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
    labels = [f"{row['signal_name']}  {row['row']}" for row in rows]
    page.figure(figures.ranking(rows, labels), "Net PnL per trade after costs, in ticks, with its bootstrap interval.")
    columns = people_columns(facts.select, pooled="sessions" in facts.rows.columns, split=facts.splits is not None)
    shown = for_people(ranked(facts.rows.head(SHOWN_ROWS), facts.rows), facts.select)
    page.table(columns, [[row.get(name) for name in columns] for row in shown], lead=0)
    page.text(LEGEND, note=True)


def _maps(page: Page, facts: Facts) -> None:
    """Add heat maps of the leader's signal, and fewer of each other one that has settings to compare."""
    begun = False
    signals = facts.rows["signal_name"].unique(maintain_order=True).to_list()
    for place, name in enumerate(signals[:_MOST_SIGNALS]):
        table, names = varied(facts.rows.filter(facts.rows["signal_name"] == name))
        made = []
        for x, y in itertools.combinations(names, 2):
            image = figures.heat_map(table, x, y)
            if image is not None:
                made.append((x, y, image))
            if len(made) == (1 if place else _MOST_MAPS):
                break
        if made and not begun:
            begun = True
            page.section("Parameters")
            page.text(
                "Settings of a signal, two at a time, those of the leader's signal first. A cell is the median over "
                "everything else that was tried, so that one lucky row does not colour it: look for broad areas, not "
                "for the best cell."
            )
        for x, y, image in made:
            across = f"{figures.named(y)} against {figures.named(x)}"
            page.figure(image, f"{name}: {across}; rows with enough trades.")
    if len(signals) > _MOST_SIGNALS and begun:
        page.text(f"Of the {len(signals)} signals, the {_MOST_SIGNALS} with the best rows are shown.", note=True)


def _trades(page: Page, facts: Facts, leader: Leader) -> None:
    row, data = facts.leader, leader.dataset
    trades = leader.trades()
    zone = ZoneInfo(zone_of(facts.manifest))
    times = [datetime.fromtimestamp(int(ns) / NS_PER_S, zone) for ns in data.bin("bin_end_ns")]
    page.section("The leader's trades")
    page.facts(_leader_lines(row))
    page.figure(figures.equity(times, trades, zone), f"Sum of the net PnL of {len(trades):,} trades, in ticks.")
    page.figure(figures.distributions(trades), "What trades paid, and how long they were held, by what ended them.")
    labels, means, errors, counts = by_stretch(leader, trades, times)
    page.figure(figures.by_time(labels, means, errors, counts), f"Outcomes by time of the session ({zone.key}).")

    page.section("Entries on the market")
    found = leader.detections()
    start, stop = busiest_window(found, data.n_bins, round(_CHART_S * NS_PER_S / data.cell_width_ns))
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "chart.png"
        frame_chart(
            picture, data, leader.values, found, threshold=row["threshold"], start=start, stop=stop,
            zone=zone.key, title=f"{row['signal_name']} on {data.symbol}: where it trades most",
        )  # fmt: skip
        page.figure(
            picture.read_bytes(),
            "Net flow around the mid, the mid with entries, and the signal with its threshold.",
            kind="png",
        )

    page.section("Costs and delay")
    tried = leader.sensitivity()
    own = (leader.rules.latency_bins, leader.rules.fee_ticks)
    page.figure(figures.sensitivity(tried, own), "The same signal with another delay and another fee, evaluated anew.")
    fees = sorted({item.fee_ticks for item in tried})
    latencies = sorted({item.latency_bins for item in tried})
    by_key = {(item.latency_bins, item.fee_ticks): item for item in tried}
    page.table(
        ("delay, bins", "trades", *(f"net at fee {fee:g}, ticks" for fee in fees)),
        [
            (
                latency,
                by_key[latency, fees[0]].n_trades,
                *(f"{by_key[latency, fee].net:+.2f} ({_interval(by_key[latency, fee].lo, by_key[latency, fee].hi)})"
                  for fee in fees),
            )
            for latency in latencies
        ],
        lead=latencies.index(own[0]),
    )  # fmt: skip


def by_stretch(leader: Leader, trades: Trades, times: list[datetime]) -> tuple[list[str], Any, Any, list[int]]:
    """Return the stretches of the session: labels, mean net PnL of the trades entered, its standard error, counts."""
    start, end = times[0], times[-1]
    length = (end - start).total_seconds()
    width = next((s for s in _STRETCHES_S if length / s <= _MOST_STRETCHES), _STRETCHES_S[-1])
    seconds = np.array([(times[i] - start).total_seconds() for i in trades.entered])
    of = (seconds // width).astype(np.int64)
    n = int(length // width) + 1
    labels = [datetime.fromtimestamp(start.timestamp() + i * width, start.tzinfo).strftime("%H:%M") for i in range(n)]
    groups = [trades.net[of == i] for i in range(n)]
    means = np.array([float(group.mean()) if group.size else np.nan for group in groups])
    errors = np.array(
        [float(group.std(ddof=1) / np.sqrt(group.size)) if group.size > 1 else np.nan for group in groups]
    )
    return labels, means, errors, [int(group.size) for group in groups]


def _leader_lines(row: dict[str, Any]) -> dict[str, str]:
    lines = {
        "Row": f"{row['row']} of run {row['run_id']}",
        "Trades when": f"{row['signal_name']} crosses {row['threshold']:g}, at most every {row['cooldown_bins']} bins",
        "Closed at": f"{row['tp_ticks']} ticks of profit, {row['sl_ticks']} ticks of loss, or by time",
    }
    for title, column in (("Parameters", "signal_params_json"), ("Scoring", "scoring_json")):
        values = json.loads(row[column] or "{}")
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


def _interval(lo: float | None, hi: float | None) -> str:
    return "–" if lo is None or hi is None or not np.isfinite([lo, hi]).all() else f"{lo:+.2f} to {hi:+.2f}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
