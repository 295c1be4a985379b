"""Planted markets: for every signal one in which it must be positive, its mirror image, and one in which it is silent."""

from __future__ import annotations

import numpy as np
import pytest
from real_data import ES_TICK_INT

from vpcore import Dataset
from vpcore.schema import BIN_COLUMNS, GRID_VALUES
from vpcore.testing import SessionData
from vpcore_signals_stat.ads import Ads
from vpcore_signals_stat.composite import Composite
from vpcore_signals_stat.derivative import Derivative
from vpcore_signals_stat.erd import Erd
from vpcore_signals_stat.iirc import Iirc
from vpcore_signals_stat.jad import Jad
from vpcore_signals_stat.microprice import Microprice
from vpcore_signals_stat.msd import Msd
from vpcore_signals_stat.ofi import Ofi
from vpcore_signals_stat.pfp import Pfp
from vpcore_signals_stat.spg import Spg

RADIUS = 25
BID, ASK = slice(0, RADIUS), slice(RADIUS + 1, 2 * RADIUS + 1)


def market(n_bins=700, radius=RADIUS, **columns):
    """Return a still market of one-tick spread in which only the given columns are not 0."""
    bid = np.full(n_bins, 20_000, dtype=np.int64)
    bins = {
        "bin_seq": np.arange(n_bins),
        "book_valid": np.ones(n_bins, bool),
        "best_bid_price_int": bid * ES_TICK_INT,
        "best_ask_price_int": (bid + 1) * ES_TICK_INT,
        "best_bid_size": np.full(n_bins, 20),
        "best_ask_size": np.full(n_bins, 20),
        "state_above": np.zeros(n_bins),
        "state_below": np.zeros(n_bins),
        **{name: values for name, values in columns.items() if values.ndim == 1},
    }
    bins = {name: np.asarray(values).astype(BIN_COLUMNS[name]) for name, values in bins.items()}
    zeros = np.zeros((n_bins, 2 * radius + 1), np.float32)
    grid = {name: columns.get(name, zeros) for name in (*GRID_VALUES, "flow_score", "flow_state_code")}
    return Dataset.from_arrays(bins, grid, dataset_id="planted", cell_width_ns=10**8, tick_int=ES_TICK_INT)


def both(signal, **columns):
    """Return the values in a market and in its mirror image."""
    data = SessionData.collect(market(**columns), signal.columns)
    return signal.compute(data).values, signal.compute(data.mirrored()).values


def flow(level=1.0, n_bins=700):
    """Return a quiet, even flow in every cell, float32[n_bins, n_cells]."""
    return np.full((n_bins, 2 * RADIUS + 1), level, np.float32)


def test_ads_rises_when_the_bid_fills_up_and_the_ask_empties():
    rng = np.random.default_rng(0)
    for column, side in (("v_add", slice(0, 25)), ("v_pull", slice(26, 51))):
        flow = rng.random((700, 51)).astype(np.float32)
        flow[600:, side] += np.linspace(0, 20, 100)[:, None]
        bull = Ads().compute(market(**{column: flow})).values
        bear = Ads().compute(market(**{column: np.ascontiguousarray(flow[:, ::-1])})).values
        assert bull[620:].mean() > 0.5
        assert np.allclose(bull, -bear, equal_nan=True)
    assert (Ads().compute(market()).values[300:] == 0).all()


@pytest.mark.slow
def test_derivative_rises_with_bull_labels():
    labels = np.zeros(700)
    labels[650] = 2
    bull = Derivative(rms_window=100).compute(market(state_above=labels, state_below=labels / 2)).values
    bear = Derivative(rms_window=100).compute(market(state_above=-labels / 2, state_below=-labels)).values
    assert bull[650] > 0.5
    assert (bull[99:650] == 0).all()
    assert np.array_equal(bull, -bear, equal_nan=True)


def test_derivative_remembers_levels_and_not_cells():
    labels = np.zeros(700)
    labels[650] = 1
    still = market(state_above=labels)
    up = np.full(700, 20_000, dtype=np.int64)
    up[655:] += 3  # the labelled levels come to lie around and below the mid; no label says so
    moved = market(state_above=labels, best_bid_price_int=up * ES_TICK_INT, best_ask_price_int=(up + 1) * ES_TICK_INT)
    signal = Derivative(rms_window=100, spatial_decay=0.5)
    a, b = signal.compute(still).values, signal.compute(moved).values
    assert np.array_equal(a[:655], b[:655], equal_nan=True)
    assert b[655] > a[655]  # more of the bull levels near the touch, on both sides of it


def test_derivative_forgets_with_its_memory():
    labels = np.zeros(700)
    labels[650] = 2
    short, long = (
        np.abs(Derivative(rms_window=100, memory_ms=ms).compute(market(state_above=labels)).values[690])
        for ms in (200, 2000)
    )
    assert short < 1e-3 < long


def test_derivative_takes_no_difference_across_invalid_bins():
    labels = np.zeros(700)
    labels[655] = 2
    valid = np.ones(700, bool)
    valid[650:655] = False
    values = Derivative(rms_window=100).compute(market(state_above=labels, book_valid=valid)).values
    assert values[655] == 0.0
    assert values[656] != 0.0


def test_erd_speaks_on_a_spike_of_disorder_only():
    rng = np.random.default_rng(1)
    code = (rng.random((700, 51)) < 0.04) * rng.choice([-1, 1], (700, 51))
    code[600, :] = rng.choice([-1, 0, 1], 51)
    score = np.zeros((700, 51))
    score[:, :25], score[:, 26:] = 0.4, -0.4
    planted = market(flow_score=score, flow_state_code=code.astype(np.int8))
    values = Erd(spike_z=3.0).compute(planted).values
    assert values[600] > 0.3
    assert (values[99:600] >= 0).all()
    assert np.mean(values[99:] == 0) > 0.9
    assert (Erd().compute(market()).values[99:] == 0).all()


def test_erd_b_goes_against_the_disordered_side():
    rng = np.random.default_rng(2)
    code = (rng.random((700, 51)) < 0.04).astype(np.int8)
    code[600, 26:] = rng.choice([-1, 0, 1], 25)  # the ask breaks up
    assert Erd(variant="b", spike_z=1.0).compute(market(flow_state_code=code)).values[600] > 0.2


def test_msd_is_bullish_where_the_ask_side_empties():
    for weighting in ("inverse", "plain"):
        vacuum = flow()
        vacuum[600:, RADIUS + 1 : RADIUS + 4] = 20.0  # above the mid
        bull, bear = both(Msd(weighting=weighting), vacuum=vacuum)
        assert (bull[:600] == 0).all()
        assert (bull[600:] > 0.3).all()
        assert np.array_equal(bull, -bear)
    assert (Msd().compute(market()).values == 0).all()


def test_msd_counts_near_cells_more_unless_plain():
    near, far = flow(), flow()
    near[:, RADIUS + 1] += 5.0
    far[:, RADIUS + 9] += 5.0
    inverse, plain = Msd(), Msd(weighting="plain")
    assert inverse.compute(market(vacuum=near)).values[0] > 2 * inverse.compute(market(vacuum=far)).values[0] > 0
    assert np.isclose(plain.compute(market(vacuum=near)).values[0], plain.compute(market(vacuum=far)).values[0])


def test_spg_rises_with_pressure_at_the_bid_and_with_vacuum_at_the_ask():
    signal = Spg(rms_window=100)
    for column, cells in (("pressure", slice(RADIUS - 3, RADIUS)), ("vacuum", slice(RADIUS + 1, RADIUS + 4))):
        planted = flow()
        planted[600:, cells] += np.array([1.0, 2.0, 3.0] if column == "pressure" else [3.0, 2.0, 1.0], np.float32)
        bull, bear = both(signal, **{column: planted})
        assert np.nanmax(np.abs(bull[:600])) < 1e-12
        assert (bull[605:] > 0.2).all()
        assert np.array_equal(bull, -bear, equal_nan=True)
    assert np.nanmax(np.abs(signal.compute(market(pressure=flow(3.0), vacuum=flow(2.0))).values)) < 1e-12


def test_spg_hears_a_curvature_that_has_no_slope():
    pressure = flow(5.0)
    d = np.arange(1, 9)
    bump = (d - 4.5) ** 2 - 5.25  # symmetric about the middle of the band: its least squares slope is 0
    pressure[600:, RADIUS - d] += bump.astype(np.float32)
    gradient = Spg(rms_window=100, blend_weights=(1, 1, 0)).compute(market(pressure=pressure)).values
    curvature = Spg(rms_window=100, blend_weights=(0, 0, 1)).compute(market(pressure=pressure)).values
    assert np.nanmax(np.abs(gradient)) < 1e-6
    assert (curvature[600:] > 0.2).all()


def fronts(lead, column, n_bins=6000, every=0):
    """Return activity with a memory of 2 s in which the bid side's outer cells follow the inner ones by `lead` bins.

    The ask side's outer cells do what its inner ones do, at the same time. A negative `lead`: the outer cells lead.
    Impulses come at random, or one every so many bins.
    """
    rng = np.random.default_rng(3)
    impulses = rng.exponential(size=(2, n_bins)) * (rng.random((2, n_bins)) < 0.02)
    if every:
        impulses[:] = np.arange(n_bins) % every == every // 2
    activity = np.zeros((2, n_bins))
    for i in range(1, n_bins):
        activity[:, i] = activity[:, i - 1] * np.exp(-0.05) + impulses[:, i]
    late = np.concatenate([np.zeros(abs(lead)), activity[0, : n_bins - abs(lead)]])
    inner, outer = (activity[0], late) if lead >= 0 else (late, activity[0])
    planted = np.zeros((n_bins, 2 * RADIUS + 1), np.float32)
    planted[:, RADIUS - 3 : RADIUS] = inner[:, np.newaxis]
    planted[:, RADIUS - 12 : RADIUS - 4] = outer[:, np.newaxis]
    planted[:, RADIUS + 1 : RADIUS + 4] = activity[1][:, np.newaxis]
    planted[:, RADIUS + 5 : RADIUS + 13] = activity[1][:, np.newaxis]
    return {"n_bins": n_bins, column: planted}


@pytest.mark.slow
@pytest.mark.parametrize(("column", "sign"), [("v_add", 1), ("v_fill", 1), ("v_pull", -1)])
def test_pfp_hears_the_inner_cells_lead_and_not_the_outer_ones(column, sign):
    signal = Pfp(average_ms=60_000.0, pull_weight=0.5, floor=1e-6)
    for lead, direction in ((10, 1), (-10, -1)):
        values, mirrored = both(signal, **fronts(lead, column))
        settled = values[2000:]
        assert (np.sign(settled) == sign * direction).mean() > 0.95
        assert np.array_equal(values, -mirrored, equal_nan=True)
    still, _ = both(signal, **fronts(0, column))
    assert np.abs(still[2000:]).max() < 1e-6


def test_pfp_has_the_size_of_the_planted_lead():
    # Impulses far apart, fading with a memory of 2 s: a lead of 1 s at a lag of 1 s gives ahead / behind = e, so that
    # lead = tanh(1/2); the ask side, whose bands move together, has none.
    signal = Pfp(average_ms=3_600_000.0, pull_weight=0.0, floor=1e-12)
    for lead, size in ((10, np.tanh(0.5)), (0, 0.0), (-10, -np.tanh(0.5))):
        values = signal.compute(market(**fronts(lead, "v_add", n_bins=40_000, every=800))).values
        assert np.isclose(values[-1], size / 2, atol=1e-3)


def test_pfp_is_silent_without_activity():
    values, _ = both(Pfp())
    assert (values[110:] == 0).all()


def test_pfp_forms_no_product_across_invalid_bins():
    valid = np.ones(700, bool)
    valid[300:303] = False
    inner = flow(0.0)
    inner[:300, RADIUS - 3 : RADIUS] = 5.0  # the bid's inner cells, before the gap only
    inner[303:, RADIUS - 12 : RADIUS - 4] = 5.0  # its outer cells, after the gap only
    values, _ = both(Pfp(), v_add=inner, book_valid=valid)
    assert (values[303:] == 0).all()
    whole, _ = both(Pfp(), v_add=inner)
    assert whole[305] > 0


@pytest.mark.slow
def test_iirc_rises_while_arrivals_gain_on_departures():
    ramp = np.exp(np.clip(np.arange(700) - 600, 0, 60) * 0.05)  # e-fold in 2 s, for 6 s
    for column, side in (("v_add", BID), ("v_pull", ASK), ("v_fill", ASK)):
        columns = {name: flow() for name in ("v_add", "v_pull", "v_fill")}
        columns[column][:, side] *= ramp[:, np.newaxis].astype(np.float32)
        bull, bear = both(Iirc(), **columns)
        assert np.nanmax(np.abs(bull[:600])) == 0
        assert bull[659] > 0.2
        assert np.nanmax(np.abs(bull[660 + 50 :]), initial=0) == 0
        assert np.array_equal(bull, -bear, equal_nan=True)


def test_iirc_does_not_hear_what_is_within_the_noise():
    drift = flow()
    drift[:, BID] *= np.exp(np.arange(700) * 0.001)[:, np.newaxis].astype(np.float32)  # 0.01 per second
    assert np.nanmax(np.abs(Iirc(noise_floor=0.02).compute(market(v_add=drift)).values)) == 0
    assert np.nanmin(Iirc(noise_floor=0.001).compute(market(v_add=drift)).values) > 0


@pytest.mark.slow
def test_jad_rises_when_adds_speed_up_on_the_bid():
    rng = np.random.default_rng(5)
    for column, side in (("a_add", BID), ("a_pull", ASK)):
        a, j = (rng.normal(size=(700, 2 * RADIUS + 1)).astype(np.float32) for _ in range(2))
        a[650:655, side] += 20.0
        columns = {name: np.zeros_like(a) for name in Jad.columns} | {column: a, "j" + column[1:]: j * 0.01}
        bull, bear = both(Jad(zscore_window=100), **columns)
        assert (bull[650:655] > 0.9).all()
        assert np.allclose(bull, -bear, equal_nan=True)
    assert (Jad(zscore_window=100).compute(market()).values[99:] == 0).all()


def test_jad_listens_to_the_jerk_where_signs_part():
    rng = np.random.default_rng(6)
    a, j = (rng.normal(size=(700, 2 * RADIUS + 1)).astype(np.float32) for _ in range(2))
    a[650, BID], j[650, BID] = 5.0, -5.0
    parted = {"a_add": a, "j_add": j * np.float32(0.1)}
    turn = Jad(zscore_window=100).compute(market(**parted)).values[650]
    past = Jad(zscore_window=100, diverge_weight=0.1).compute(market(**parted)).values[650]
    assert turn < -0.3
    assert past > 0.3


def test_microprice_leans_to_the_side_with_the_smaller_queue():
    sizes = np.full(700, 60)
    bull, bear = both(Microprice(), best_bid_size=sizes)
    assert np.allclose(bull, 0.25)  # (60 - 20) / 80 of half a tick
    assert np.array_equal(bull, -bear)
    assert (Microprice().compute(market()).values == 0).all()
    empty = market(best_bid_size=np.zeros(700), best_ask_size=np.zeros(700))
    assert (Microprice().compute(empty).values == 0).all()


def test_microprice_reads_the_levels_behind_the_touch():
    depth = np.zeros((700, 2 * RADIUS + 1), np.float32)
    depth[:, RADIUS - 2] = 40.0  # one tick behind a best bid in the cell -1
    values = Microprice(levels=2).compute(market(bid_depth=depth)).values
    assert np.allclose(values, 20.0 / 60.0 / 2.0)
    assert (Microprice(levels=1).compute(market(bid_depth=depth)).values == 0).all()


def test_ofi_is_the_papers_example():
    bids, asks = (np.full(700, price, dtype=np.int64) for price in (20_000, 20_001))
    bid_size, ask_size = np.full(700, 20), np.full(700, 20)
    bid_size[300:] = 35  # 15 arrive at the bid
    ask_size[310:] = 10  # 10 leave the ask
    bids[320:], asks[330:] = 20_001, 20_002  # a new best bid of 35, then the ask of 10 goes: the new one is 10
    moves = {
        "best_bid_price_int": bids * ES_TICK_INT,
        "best_ask_price_int": asks * ES_TICK_INT,
        "best_bid_size": bid_size,
        "best_ask_size": ask_size,
    }
    bull, bear = both(Ofi(window_bins=1), **moves)
    e = {300: 15.0, 310: 10.0, 320: 35.0, 330: 10.0}
    expected = np.zeros(700)
    for at, flow_at in e.items():
        expected[at] = flow_at / (2 * (bid_size[at] + ask_size[at]) / 2)
    assert np.allclose(bull, expected)
    assert np.array_equal(bull, -bear)
    summed, _ = both(Ofi(window_bins=100), **moves)
    assert summed[330] > summed[310] > summed[299] == 0
    assert (Ofi().compute(market()).values[99:] == 0).all()


def test_ofi_takes_no_difference_across_invalid_bins():
    valid = np.ones(700, bool)
    valid[300:303] = False
    sizes = np.full(700, 20)
    sizes[303:] = 50
    values, _ = both(Ofi(window_bins=1), best_bid_size=sizes, book_valid=valid)
    assert (values[valid] == 0).all()


def test_ofi_of_several_levels_hears_flow_behind_the_touch():
    depth = np.full((700, 2 * RADIUS + 1), 20, np.float32)
    depth[300:, RADIUS - 2] = 60.0
    bull, bear = both(Ofi(levels=3), bid_depth=depth, ask_depth=np.full_like(depth, 20))
    assert bull[300] > 0
    assert np.array_equal(bull, -bear, equal_nan=True)
    assert (Ofi().compute(market(bid_depth=depth)).values[99:] == 0).all()


def bullish_flows():
    rng = np.random.default_rng(8)
    columns = {name: rng.random((1500, 2 * RADIUS + 1)).astype(np.float32) for name in Composite.columns}
    columns["v_add"][1300:, BID] += np.linspace(0, 40, 200)[:, np.newaxis].astype(np.float32)
    columns["vacuum"][1300:, ASK] += 5.0
    return columns


@pytest.mark.slow
def test_composite_rises_when_its_parts_do():
    signal = Composite(magnitude_ms=20_000.0)
    bull, bear = both(signal, n_bins=1500, **bullish_flows())
    assert bull[1330:].mean() > 0.3
    assert np.allclose(bull, -bear, equal_nan=True)
    silent, _ = both(signal)
    assert (silent[199:] == 0).all()


@pytest.mark.slow
def test_composite_gives_the_weights_of_cold_parts_to_warm_ones():
    flows = bullish_flows()
    signal = Composite(magnitude_ms=5000.0, zscore_ms=60_000.0, average_ms=30_000.0, weights=(1, 1, 1))
    alone = Composite(signal.params, weights=(0, 0, 1))
    two = Composite(signal.params, weights=(0, 1, 1))
    whole, first, both_warm = (s.compute(market(n_bins=1500, **flows)).values for s in (signal, alone, two))
    assert np.flatnonzero(~np.isnan(whole))[0] == 49  # msd, at once, and its magnitude
    assert np.array_equal(whole[:359], first[:359], equal_nan=True)
    assert np.array_equal(whole[359:690], both_warm[359:690])  # pfp: 10 + 300 bins, and 49 more
    assert (whole[700:] != both_warm[700:]).all()  # ads: 50 + 600 - 2 bins, and 49 more
