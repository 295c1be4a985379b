"""The data of every picture against slow and obvious answers."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from detections import detect

from vpcore import Dataset
from vpcore.backtest.entries import Detections
from vpcore.experiment.trades import Sensitivity
from vpcore.testing import synthetic_dataset
from vpcore_report import chart_data
from vpcore_report.chart_data import SignalOnMarket, Trades, busiest_window, market_window

START = datetime(2024, 3, 1, 14, 30, tzinfo=UTC)


def make_trades(entered: list[int], held: list[int], net: list[float], outcome: list[int] | None = None) -> Trades:
    n = len(entered)
    at = np.array(entered, np.int64)
    return Trades(
        decided=at - 1,
        entered=at,
        left=at + np.array(held, np.int64),
        sides=np.array([1, -1] * n, np.int8)[:n],
        outcome=np.array(outcome or [0] * n, np.int8),
        net=np.array(net, np.float64),
        seconds=np.array(held, np.float64) * 0.1,
    )


# -- ranking -----------------------------------------------------------------------------------------------------------


def test_intervals_are_those_of_the_rows() -> None:
    rows = [
        {"signal_name": "a", "row": "1", "net_pnl_ticks": 0.5, "net_pnl_lo": -0.25, "net_pnl_hi": 1.5},
        {"signal_name": "b", "row": "2", "net_pnl_ticks": -1.0, "net_pnl_lo": None, "net_pnl_hi": None},
    ]
    found = chart_data.intervals(rows)
    assert found.labels == ("a  1", "b  2")
    assert found.net.tolist() == [0.5, -1.0]
    assert (found.lo[0], found.hi[0]) == (-0.25, 1.5)
    assert np.isnan([found.lo[1], found.hi[1]]).all()


# -- stretches of the session ------------------------------------------------------------------------------------------


def test_stretches_against_one_trade_at_a_time() -> None:
    rng = np.random.default_rng(5)
    times = [START + timedelta(seconds=i) for i in range(3600)]
    entered = sorted(int(i) for i in rng.choice(3500, 60, replace=False))
    trades = make_trades(entered, [1] * 60, list(rng.normal(size=60)))
    found = chart_data.stretches(trades, times)
    assert len(found.mean) == 12  # an hour in stretches of five minutes
    assert found.labels[0] == "14:30"
    assert found.labels[3] == "14:45"
    for i, label in enumerate(found.labels):
        begin = START + timedelta(minutes=5 * i)
        assert label == begin.strftime("%H:%M")
        inside = [
            n for e, n in zip(entered, trades.net, strict=True) if begin <= times[e] < begin + timedelta(minutes=5)
        ]
        assert found.count[i] == len(inside)
        if inside:
            assert found.mean[i] == pytest.approx(statistics.fmean(inside))
        if len(inside) > 1:
            assert found.error[i] == pytest.approx(statistics.stdev(inside) / math.sqrt(len(inside)))


def test_a_stretch_with_one_trade_has_no_error_and_one_without_has_no_mean() -> None:
    times = [START + timedelta(seconds=i) for i in range(1200)]
    found = chart_data.stretches(make_trades([10, 400, 500], [1, 1, 1], [3.0, 1.0, 2.0]), times)
    assert found.count.tolist() == [1, 2, 0, 0]
    assert found.mean[:2].tolist() == [3.0, 1.5]
    assert math.isnan(found.error[0])
    assert found.error[1] == pytest.approx(0.5)
    assert np.isnan(found.mean[2:]).all()
    assert np.isnan(found.error[2:]).all()


def test_a_long_session_has_at_most_24_hours_of_stretches() -> None:
    times = [START + timedelta(minutes=i) for i in range(23 * 60)]
    found = chart_data.stretches(make_trades([5, 1379], [1, 1], [1.0, 2.0]), times)
    assert len(found.mean) == 23
    assert found.count[[0, 22]].tolist() == [1, 1]


# -- equity and distributions ------------------------------------------------------------------------------------------


def test_equity_adds_up_in_the_order_of_exits() -> None:
    times = [START + timedelta(seconds=i) for i in range(100)]
    found = chart_data.equity((make_trades([0, 5, 10], [50, 5, 10], [4.0, -1.0, 2.0]), times))
    assert found.times == (times[10], times[20], times[50])
    assert found.total.tolist() == [-1.0, 1.0, 5.0]
    assert found.peak.tolist() == [0.0, 1.0, 5.0]


def test_equity_goes_on_over_all_sessions() -> None:
    """The curve of a losing pair of sessions is not that of the winning one alone."""
    first, second = ([START + timedelta(days=day, seconds=i) for i in range(100)] for day in (0, 1))
    losing, winning = make_trades([0, 5], [9, 5], [-4.0, -3.0]), make_trades([1, 2], [7, 8], [1.0, 2.0])
    found = chart_data.equity((losing, first), (make_trades([], [], []), first), (winning, second))
    assert found.times == (first[9], first[10], second[8], second[10])
    assert found.total.tolist() == [-4.0, -7.0, -6.0, -4.0]
    assert found.begins == (0, 2, 2)


def test_distributions_count_every_trade_once() -> None:
    rng = np.random.default_rng(1)
    net = np.round(rng.normal(scale=3, size=200) * 2) / 2
    outcome = rng.integers(-1, 2, size=200)
    trades = make_trades(list(range(1, 201)), list(rng.integers(1, 90, size=200)), list(net), list(outcome))
    found = chart_data.distributions(trades)
    for (code, _), pnl, hold in zip(chart_data.OUTCOMES, found.pnl_counts, found.hold_counts, strict=True):
        assert pnl.sum() == hold.sum() == np.count_nonzero(outcome == code)
        for low, high, count in zip(found.pnl_edges[:-1], found.pnl_edges[1:], pnl, strict=True):
            assert count == sum(low <= value < high for value, o in zip(net, outcome, strict=True) if o == code)
    assert found.pnl_mean == pytest.approx(statistics.fmean(net))
    assert found.hold_median == pytest.approx(statistics.median(trades.seconds))


# -- costs -------------------------------------------------------------------------------------------------------------


def test_costs_stand_at_their_fee_and_delay() -> None:
    found = [
        Sensitivity(latency, fee, 10 - latency, latency - fee, latency - fee - 1, latency - fee + 2)
        for latency in (5, 1, 0)
        for fee in (1.5, 0.5, 0.0)
    ]
    data = chart_data.costs(found, 1, 0.5, 100_000_000)
    assert data.latency_bins == (0, 1, 5)
    assert data.latency_labels == ("0 (0 ms)", "1 (100 ms)", "5 (500 ms)")
    assert data.fee_labels == ("fee 0", "fee 0.5 as evaluated", "fee 1.5")
    assert data.n_trades == (10, 9, 5)
    assert data.net[2].tolist() == [-1.5, -0.5, 3.5]
    assert (data.net - data.lo == 1).all()
    assert (data.hi - data.net == 2).all()
    assert data.own == (1, 1)


# -- pivot and calibration ---------------------------------------------------------------------------------------------


def test_a_pivot_has_the_median_of_the_rows() -> None:
    rows = pl.DataFrame(
        {
            "run_id": ["r"] * 5, "signal_name": "s", "signal_params_json": "{}", "scoring_json": None, "dataset_id": "d",
            "row": list("abcde"), "threshold": [1.0, 1.0, 1.0, 2.0, 2.0], "cooldown_bins": [5, 5, 5, 5, 20], "tp_ticks": 4,
            "sl_ticks": 4, "net_pnl_ticks": [1.0, 2.0, 9.0, -1.0, 0.5],
        }
    )  # fmt: skip
    found = chart_data.pivot(rows, "cooldown_bins", "threshold", "net_pnl_ticks")
    assert (found.values_down, found.values_across) == (("5", "20"), ("1", "2"))
    assert found.median[0].tolist() == [2.0, -1.0]
    assert math.isnan(found.median[1, 0])
    assert found.median[1, 1] == 0.5


def test_calibration_is_that_of_the_diagnostics() -> None:
    found = chart_data.calibration({"calibration": [{"from": 0.4, "n": 7, "mean": 0.45, "up": 0.3}]})
    assert found is not None
    assert (found.predicted.tolist(), found.observed.tolist(), found.count.tolist()) == ([0.45], [0.3], [7])
    assert found.ups == 2
    assert chart_data.calibration({"n": 0}) is None


# -- a part of the session ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic_dataset(seed=4, n_bins=600, radius=5)


def on_market(dataset: Dataset, mode: str = "value", threshold: float = 0.8) -> SignalOnMarket:
    rng = np.random.default_rng(2)
    values = rng.random(dataset.n_bins) if mode == "probability" else rng.normal(size=dataset.n_bins)
    found = detect(values, dataset.valid, dataset.bin("bin_seq"), threshold, cooldown_bins=3, warmup_bins=0, mode=mode)
    inside = found.bins < dataset.n_bins - 30
    at, n = found.bins[inside], int(inside.sum())
    trades = Trades(
        at, at + 1, at + 12, found.sides[inside], np.array([1, -1, 0] * n, np.int8)[:n], np.zeros(n), np.ones(n)
    )
    return SignalOnMarket(dataset, values, found, trades, threshold, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (250, 400), (500, 600)])
def test_entries_and_exits_are_those_of_this_part_of_the_session(dataset: Dataset, start: int, stop: int) -> None:
    signal = on_market(dataset)
    found = market_window(signal, start, stop)
    expected = [
        (int(b), int(s))
        for b, s in zip(signal.detections.bins, signal.detections.sides, strict=True)
        if start <= b < stop
    ]
    assert expected
    assert [(int(b) + start, int(s)) for b, s in zip(found.decisions, found.decision_sides, strict=True)] == expected
    trades = signal.trades
    entered = [i for i in range(len(trades)) if start <= trades.entered[i] < stop]
    assert (found.entries + start).tolist() == [int(trades.entered[i]) for i in entered]
    assert (found.exits + start).tolist() == [int(trades.left[i]) for i in entered]
    assert found.sides.tolist() == [int(trades.sides[i]) for i in entered]
    assert found.outcomes.tolist() == [int(trades.outcome[i]) for i in entered]
    for i, b in enumerate(found.decisions):  # the value at a decision is beyond its level
        value = found.values[b]
        assert value >= found.long_level if found.decision_sides[i] > 0 else value <= found.short_level


def test_the_frame_of_a_part_of_the_session(dataset: Dataset) -> None:
    start, stop = 100, 220
    found = market_window(on_market(dataset), start, stop, "America/Chicago")
    pressure, vacuum = dataset.grid("pressure"), dataset.grid("vacuum")
    for i in range(stop - start):
        if dataset.valid[start + i]:
            assert found.net_flow[i] == pytest.approx(pressure[start + i].astype(float) - vacuum[start + i])
            assert found.mid[i] == dataset.bin("mid_price")[start + i]
        else:
            assert np.isnan(found.net_flow[i]).all()
            assert math.isnan(found.mid[i])
    assert found.minutes[0] == 0
    assert found.minutes[-1] * 60 * 1e9 == pytest.approx((stop - start - 1) * dataset.cell_width_ns)
    assert found.first.timestamp() == pytest.approx(dataset.bin("bin_end_ns")[start] / 1e9)
    assert str(found.first.tzinfo) == "America/Chicago"
    assert found.limit == pytest.approx(np.nanpercentile(np.abs(found.net_flow), 99.5))


@pytest.mark.parametrize(
    ("mode", "threshold", "levels"),
    [("value", 0.8, (0.8, -0.8)), ("confidence", 0.3, (0.3, -0.3)), ("probability", 0.7, (0.7, 0.3))],
)
def test_the_levels_are_those_at_which_the_signal_trades(
    dataset: Dataset, mode: str, threshold: float, levels: tuple[float, float]
) -> None:
    found = market_window(on_market(dataset, mode, threshold), 0, 600)
    assert (found.long_level, found.short_level) == pytest.approx(levels)


def test_net_flow_by_price_is_that_of_the_cells(dataset: Dataset) -> None:
    start, stop = 100, 160
    found = market_window(on_market(dataset), start, stop)
    image, prices = chart_data.by_price(found)
    grid = dataset.grid(columns=["pressure", "vacuum"]).filter(pl.col("price").is_not_null())
    seqs = dataset.bin("bin_seq")[start:stop]
    inside = grid.filter(pl.col("bin_seq").is_in(seqs.tolist()), pl.col("price").is_between(prices[0], prices[-1]))
    assert inside.height > 100
    place = {round(price * 4): i for i, price in enumerate(prices)}
    for seq, price, pressure, vacuum in inside.select("bin_seq", "price", "pressure", "vacuum").iter_rows():
        assert image[seq - seqs[0], place[round(price * 4)]] == pytest.approx(float(pressure) - float(vacuum))
    assert np.isfinite(image).sum() == inside.height


def test_barriers_are_shown_of_a_trade_or_of_few(dataset: Dataset) -> None:
    signal = on_market(dataset)
    paid = np.arange(len(signal.trades)) * 1.0
    few = replace(signal, distances=(4, 2), trades=replace(signal.trades, paid=paid))
    start = int(signal.trades.entered[3])
    found = market_window(few, start, start + 2)
    side = int(signal.trades.sides[3])
    assert found.barriers == ((0, paid[3] + side, paid[3] - side * 0.5),)
    assert market_window(few, 0, 600).barriers == ()  # a crowd
    ((place, taken, stopped),) = market_window(few, 0, 600, trade=3).barriers
    assert (place, taken, stopped) == (3, *found.barriers[0][1:])
    assert market_window(signal, start, start + 2).barriers == ()  # distances are unknown


def test_the_busiest_window_has_the_most_entries() -> None:
    bins = np.array([3, 40, 41, 44, 90], np.int64)
    found = Detections(bins, np.ones(5, np.int8))
    start, stop = busiest_window(found, 100, 20)
    assert stop - start == 20
    most = max(sum(a <= b < a + 20 for b in bins) for a in range(81))
    assert sum(start <= b < stop for b in bins) == most == 3
    assert busiest_window(Detections(bins[:0], found.sides[:0]), 100, 20) == (0, 20)
    assert busiest_window(found, 10, 20) == (0, 10)


def test_ticks_of_the_colour_bar_lie_inside_and_apart() -> None:
    assert chart_data.signed_ticks(35.0) == [-10.0, -1.0, 0.0, 1.0, 10.0]
    for limit in (0.004, 0.1, 1.0, 9.99, 1234.0):
        ticks = chart_data.signed_ticks(limit)
        assert ticks == sorted(ticks)
        assert -limit <= ticks[0] < ticks[-1] <= limit
        assert ticks[-2] >= limit / 100.0001  # outside the linear part of the scale
