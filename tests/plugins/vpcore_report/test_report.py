"""``vp report``: that its figures are the stored ones, and that the file needs nothing else."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from vpcore import Workspace
from vpcore.backtest.trial import Trial
from vpcore.canonical import sealed
from vpcore.errors import ConfigError, ResultsError, VpError
from vpcore.experiment.trades import Leader
from vpcore.signal import DIAGNOSTICS
from vpcore_cli.grouping import varied
from vpcore_cli.tables import people_columns
from vpcore_report import chart_data
from vpcore_report.facts import gather
from vpcore_report.page import Page
from vpcore_report.write import _learning, heat_maps, make_page, write_report

SECTIONS = [
    "Summary", "The question", "Data quality", "Ranking", "Parameters", "All rows", "The leader's trades",
    "Entries on the market", "Costs and delay", "Two rows compared", "Provenance",
]  # fmt: skip


class _Reader(HTMLParser):
    """Collects headings, links, and everything that a browser would fetch; complains about what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.targets: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        values = dict(attrs)
        self.fetched += [values[name] or "" for name in ("src", "srcset", "data", "action") if name in values]
        if "href" in values:
            self.targets.append(values["href"] or "")
        if "id" in values:
            self.ids.append(values["id"] or "")
        assert tag not in ("link", "iframe", "object")
        assert not any(name.startswith("on") for name in values)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            return
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture
def done(swept: Workspace) -> Workspace:
    return swept


def _read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.slow
def test_the_report_of_an_experiment(done: Workspace, tmp_path: Path) -> None:
    path = write_report(done, "sweep", tmp_path / "report.html")
    page = _read(path)
    assert page.headings == SECTIONS
    assert page.targets == [f"#{name}" for name in page.ids if name not in ("trades", "data")]
    assert len(page.fetched) == 4
    assert all(source.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,")) for source in page.fetched)
    text = path.read_text()
    assert "url(" not in text
    assert not re.search(r"https?:|import |fetch\(|eval\(|innerHTML", text.partition('<script type="module">')[2])
    assert len(text) < 2_000_000
    best = done.results.query_best(min_signals=5, limit=1).row(0, named=True)
    facts = gather(done, "sweep")
    assert facts.leader["row"] == best["row"]
    assert best["run_id"] in page.text
    assert best["code_digest"] in page.text
    assert "ab" * 32 in page.text  # the digest of the source
    assert f"{best['net_pnl_ticks']:+.2f}" in page.text
    assert facts.evidence.n_trials == 36  # of 40 rows; those with the same trades are one trial
    assert facts.rows["net_pnl_ticks"].is_sorted(descending=True)


@pytest.mark.slow
def test_the_ranking_has_the_columns_of_compare(done: Workspace, tmp_path: Path) -> None:
    text = write_report(done, "sweep", tmp_path / "report.html").read_text()
    section = text.partition("<h2>Ranking</h2>")[2].partition("</section>")[0]
    first, second = (re.findall(r"<th[^>]*>([^<]*)</th>", table) for table in section.split("</table>")[:2])
    assert first[:3] == ["row", "signal", "varied"]  # the settings that tell rows apart come first
    assert second[:2] == ["row", "signal"]
    assert {*first, *second} == set(people_columns("net_pnl_ticks"))
    assert {"resolved", "breakeven"} <= set(second)
    maps = text.partition("<h2>Parameters</h2>")[2].partition("</section>")[0]
    shown = {caption.partition(":")[0] for caption in re.findall(r"<figcaption>([^<]*)</figcaption>", maps)}
    assert shown == {"plain", "scored"}  # every signal that has settings to compare


@pytest.mark.slow
def test_trades_and_comparison_are_those_of_the_commands(
    done: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vpcore_cli import app as cli

    monkeypatch.setattr(cli, "Plugins", lambda: done.plugins)
    monkeypatch.setenv("VP_ROOT", str(done.root))
    facts = gather(done, "sweep")
    assert facts.rival is not None
    assert facts.rival.figures["net_pnl_ticks"] <= facts.leader["net_pnl_ticks"]
    names = facts.rows["row"].to_list()
    text = write_report(done, names[0], tmp_path / "row.html", against=names[-1]).read_text()

    def cells(table: str) -> list[list[str]]:
        lines = (re.findall(r"<td[^>]*>(.*?)</td>", line) for line in table.split("<tr")[2:])
        return [[html.unescape(re.sub(r"<.*?>", "", cell)) for cell in line] for line in lines]

    listed = cells(text.partition('id="trades">')[2].partition("</table>")[0])
    assert cli.run(["trades", names[0], "--json"]) == 0
    trades = json.loads(capsys.readouterr().out)["trades"]
    assert len(listed) == len(trades)
    for i, (line, trade) in enumerate(zip(listed, trades, strict=True), 1):
        assert line[0] == str(i)
        assert line[2:4] == ["long" if trade["side"] > 0 else "short", f"{round(trade['value'], 3):g}"]
        assert float(line[4].replace(",", "")) == trade["entry_price"]
        assert trade["reason"] in line

    section = text.partition("<h2>Two rows compared</h2>")[2].partition("</section>")[0]
    assert cli.run(["compare", names[0], names[-1], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [line[0] for line in cells(section.partition("</table>")[0])] == [one["name"] for one in found["settings"]]
    assert f"{found['n_shared']} trades enter at the same time on the same side" in section
    assert f"{found['difference']:+.2f} ticks per hour" in section


@pytest.mark.slow
def test_the_report_of_a_run(done: Workspace, tmp_path: Path) -> None:
    run = done.results.query_runs()["run_id"][0]
    page = _read(write_report(done, run[:8], tmp_path / "run.html"))
    assert page.headings[0] == "Summary"
    assert run in page.text
    assert set(gather(done, run[:8]).rows["run_id"]) == {run}


def test_the_trades_are_those_of_the_stored_row(done: Workspace) -> None:
    rows = done.results.query_runs().filter(pl.col("n_signals") > 0)
    for name in ("plain", "scored"):
        for row in rows.filter(pl.col("signal_name") == name).head(3).iter_rows(named=True):
            leader = Leader(done, row)
            trades = leader.trades()
            assert len(trades) == row["n_signals"] - row["n_dropped"]
            assert trades["net_pnl_ticks"].mean() == pytest.approx(row["net_pnl_ticks"], abs=1e-12)
            assert (trades["reason"] == "take-profit").mean() == pytest.approx(row["tp_rate"])
            assert (trades["reason"] == "timeout").mean() == pytest.approx(row["timeout_rate"])
            assert trades["bins_held"].median() * leader.dataset.cell_width_ns / 1e6 == pytest.approx(
                row["median_time_to_outcome_ms"]
            )
            assert (trades["side"] > 0).sum() <= row["n_up"]


def test_sensitivity_holds_the_row_itself_and_a_fee_costs_what_it_is(done: Workspace) -> None:
    row = done.results.query_best(min_signals=5, limit=1).row(0, named=True)
    leader = Leader(done, row)
    found = {(item.latency_bins, item.fee_ticks): item for item in leader.sensitivity()}
    assert set(found) == {(latency, fee) for latency in (0, 1, 10, 50) for fee in (0.0, 0.5, 1.0)}
    own = found[1, 0.0]
    assert (own.net, own.lo, own.hi) == (row["net_pnl_ticks"], row["net_pnl_lo"], row["net_pnl_hi"])
    for latency in (0, 1, 10, 50):
        assert found[latency, 1.0].net == pytest.approx(found[latency, 0.0].net - 1.0)
    leader.rules = leader.rules.model_copy(update={"fee_ticks": 0.25})
    assert {item.fee_ticks for item in leader.sensitivity()} == {0.0, 0.25, 0.5}
    # Against another way: the same bins looked up so many bins later.
    detections = leader.detections()
    table = leader.session.table(leader.rules)
    for latency in (0, 50):
        entered = detections.bins + latency
        side = np.where(detections.sides > 0, 0, 1)[entered < leader.dataset.n_bins]
        entered = entered[entered < leader.dataset.n_bins]
        traded = table.outcome[side, entered] != 2
        assert found[latency, 0.0].net == pytest.approx((table.net[side, entered][traded] / 2).mean())


def test_outcomes_by_time_add_up(done: Workspace) -> None:
    from datetime import UTC, datetime

    leader = Leader(done, done.results.query_best(min_signals=5, limit=1).row(0, named=True))
    trades = chart_data.Trades.of(leader)
    times = [datetime.fromtimestamp(int(ns) / 1e9, UTC) for ns in leader.dataset.bin("bin_end_ns")]
    found = chart_data.stretches(trades, times)
    assert found.count.sum() == len(trades)
    assert np.nansum(found.mean * found.count) == pytest.approx(trades.net.sum())


def test_what_varies(done: Workspace) -> None:
    rows = done.results.query_runs()
    _, names = varied(rows.filter(pl.col("signal_name") == "plain"))
    assert names[0] == "signal.gain"
    assert set(names) == {"signal.gain", "threshold", "cooldown_bins", "tp_ticks"}
    table, names = varied(rows.filter(pl.col("signal_name") == "scored"))
    assert names[0] == "scoring.tanh_scale"
    assert sorted(set(table["scoring.tanh_scale"])) == [2.0, 3.0]


def test_a_setting_with_too_many_values_has_no_heat_map(done: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = done.results.query_runs().filter(pl.col("signal_name") == "plain")
    pairs = [(data.across, data.down) for data in heat_maps(rows, 10)]
    assert pairs[0] == ("signal.gain", "threshold")
    assert len(pairs) == 6
    assert len(heat_maps(rows, 2)) == 2
    monkeypatch.setattr("vpcore_report.write._MOST_CELLS", 2)  # gain has three
    assert all("gain" not in (data.across, data.down) for data in heat_maps(rows, 10))


def test_other_code_is_said_and_the_rest_is_written(
    done: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = gather(done, "sweep")
    monkeypatch.setattr("vpcore.experiment.trades.code_digest", lambda cls: "other")
    text = make_page(done, facts).html()
    assert "They cannot be shown: Run" in text
    assert "was made by other code of" in text
    assert "Provenance" in text


def test_text_is_escaped() -> None:
    page = Page("<b>&", '"quoted"')
    page.section("a<b")
    page.text("1 < 2 & 3")
    page.table(("x<",), [("<script>",)])
    page.facts({"<k>": "<v>"})
    page.figure(b"<svg/>", 'say "<this>"', (1, 1))
    page.verdict("<i>")
    page.tiles([("<u>", "<s>")])
    text = page.html()
    assert not re.search(r"<(script|k|v|this|i|u|s)>", text)
    assert "1 &lt; 2 &amp; 3" in text


def test_wrong_targets(done: Workspace, edit: Any, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="No run is called 'swep'"):
        gather(done, "swep")
    with pytest.raises(ConfigError, match="--out names a folder that is not there: .*nowhere"):
        write_report(done, "swep", tmp_path / "nowhere" / "r.html")  # said before anything is looked up
    with pytest.raises(ConfigError, match=rf"--out names a folder: {tmp_path}\. Name the file, as .*report\.html"):
        write_report(done, "swep", tmp_path)
    edit(("[5, 20]", "[7]"), name="other")
    with pytest.raises(ResultsError, match="Nothing of experiment 'other' is stored. Run: vp run other"):
        gather(done, "other")
    edit(("sweep:\n", "select: {min_signals: 100000}\nsweep:\n"))
    with pytest.raises(
        ResultsError, match=r"nothing to report of 'sweep'\. No row has 100000 trades: the most is \d+\."
    ):
        gather(done, "sweep")


@pytest.mark.slow
def test_the_command(
    done: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from vpcore_cli import app as cli

    monkeypatch.setattr(cli, "Plugins", lambda: done.plugins)
    monkeypatch.setenv("VP_ROOT", str(done.root))
    monkeypatch.chdir(tmp_path)
    assert cli.run(["report", "sweep"]) == 0
    assert capsys.readouterr().out == "report-sweep.html\n"
    assert (tmp_path / "report-sweep.html").stat().st_size > 50_000
    assert issubclass(ResultsError, VpError)
    assert cli.run(["report", "swep"]) == 2


def test_a_trial_is_what_the_row_says(done: Workspace) -> None:
    row = done.results.query_best(min_signals=5, limit=1).row(0, named=True)
    assert Leader(done, row).trial == Trial(row["threshold"], row["cooldown_bins"], row["tp_ticks"], row["sl_ticks"])


def test_fits_classes_and_features_of_a_learning_signal(done: Workspace) -> None:
    row = done.results.query_best(min_signals=5, limit=1).row(0, named=True)
    look = {
        "n": 10, "auc": [0.6, 0.5, 0.7], "calibration": [{"from": 0.4, "n": 7, "mean": 0.45, "up": 3 / 7}, {"from": 0.6, "n": 3, "mean": 0.65, "up": 1.0}],
        "retrains": [{"bin_seq": 900, "n_train": 400, "n_valid": 100, "used": ["flow", "skew"], "n_up": 210, "n_down": 190}],
        "unfit": [{"bin_seq": 600, "n_up": 19, "n_down": 31}],
        "importance": [{"feature": "flow", "weight": 1.5, "auc_lost": 0.04}, {"feature": "skew", "weight": -0.2, "auc_lost": 0.001}],
        "drift": [{"feature": "skew", "distance": 0.31, "shift": -0.4}],
    }  # fmt: skip
    barriers = {"tp_ticks": row["tp_ticks"], "sl_ticks": row["sl_ticks"]}
    folder = done.results_dir / DIAGNOSTICS / row["run_id"]
    folder.mkdir(parents=True)
    (folder / f"tp{row['tp_ticks']}_sl{row['sl_ticks']}.json").write_text(json.dumps(sealed(look | barriers)))
    page = Page("t", "s")
    _learning(page, done, row)
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<.*?>", " ", page.html().partition("<main>")[2])))
    for said in (
        "AUC 0.600 0.500 to 0.700", "10 predictions have a resolved label: 6 up (the long paid), 4 down.", "The signal was fitted once.",
        "fit at bin training examples validation examples up down features used most 900 400 100 210 190 flow, skew",
        "1 fits were left out for too few examples of a class. due at bin examples up examples down 600 19 31",
        "feature weight auc_lost flow +1.5 +0.04 skew -0.2 +0.001", "skew 0.31 -0.40",
    ):  # fmt: skip
        assert said in text
