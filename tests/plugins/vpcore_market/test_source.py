"""The calibrated market: a sound order book, a walk that nothing predicts unless `alpha` says so, the same bytes always."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from naive_replay import replay

from vpcore.errors import SourceError
from vpcore.kernels.random import below, bits32, seeded, uniform
from vpcore.source import Source, SourceRequest
from vpcore.storage import Folder
from vpcore_cli.app import run
from vpcore_dbn.header import read_header
from vpcore_dbn.inspect import inspect_file
from vpcore_dbn.source import DbnSource
from vpcore_market import params as calibration
from vpcore_market.kernels.draws import exponential
from vpcore_market.source import (
    DEMO_ALPHA,
    Simulation,
    SyntheticParams,
    SyntheticSource,
    parse_params,
    write_synthetic,
)

NS = 10**9


def records_of(**values):
    params = SyntheticParams(**values)
    return np.concatenate([records.copy() for records in Simulation(params)])


MODES = ("exogenous", "natural")


@pytest.fixture(scope="module", params=MODES)
def quarter(request):
    return records_of(duration_s=900, seed=5, iceberg_share=0.1, own_share=0.2, mode=request.param)


# -- random numbers ----------------------------------------------------------------------------------------------------


def test_generator_is_xoshiro128starstar():
    state = np.array([1, 2, 3, 4], np.int64)
    s = [1, 2, 3, 4]

    def rotl(x, k):
        return ((x << k) | (x >> (32 - k))) & 0xFFFFFFFF

    for _ in range(1000):
        expected = (rotl((s[1] * 5) & 0xFFFFFFFF, 7) * 9) & 0xFFFFFFFF
        t = (s[1] << 9) & 0xFFFFFFFF
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 11)
        assert bits32(state) == expected
    assert state.tolist() == s


def test_first_output_of_the_published_generator():
    # The reference implementation started from the words 1, 2, 3, 4.
    state = np.array([1, 2, 3, 4], np.int64)
    assert [bits32(state) for _ in range(3)] == [11520, 0, 5927040]


def test_distributions():
    state = seeded(3, 0)
    n = 40_000
    u = np.array([uniform(state) for _ in range(n)])
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 * 0.2887 / n**0.5
    e = np.array([exponential(state) for _ in range(n)])
    assert abs(e.mean() - 1) < 4 / n**0.5
    assert abs((e > 2).mean() - np.exp(-2)) < 4 * 0.342 / n**0.5
    assert abs((e**2).mean() - 2) < 4 * 20**0.5 / n**0.5
    b = np.bincount([below(state, 5) for _ in range(n)], minlength=5)
    assert len(b) == 5
    assert np.abs(b - n / 5).max() < 4 * (n * 0.16) ** 0.5


def test_streams_differ():
    first = {seeded(seed, stream).tobytes() for seed in range(50) for stream in (0, 1)}
    assert len(first) == 100


# -- the book ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_record_makes_sense_to_an_independent_book(quarter):
    seen = replay(quarter)
    assert (seen.unknown, seen.clipped, seen.duplicates, seen.wrong_order) == (0, 0, 0, 0)
    assert (seen.crossed, seen.one_sided, seen.unequal_fills, seen.open_at_end) == (0, 0, 0, False)
    assert seen.trade_events == seen.actions["T"] > 500
    assert seen.own > 20
    assert seen.hidden > 100
    assert min(seen.actions[action] for action in "ACMF") > 1000
    depth = sum(seen.bids.values()) + sum(seen.asks.values())
    snapshot = quarter[(quarter["flags"] & 32 != 0) & (quarter["action"] == ord("A"))]["size"].sum()
    assert snapshot + seen.adds - seen.pulls - seen.fills == depth


def test_times_sequences_and_flags(quarter):
    snapshot = quarter["flags"] & 32 != 0
    live = quarter[~snapshot]
    assert quarter["action"][0] == ord("R")
    assert quarter["flags"][0] == 40
    head = quarter[snapshot]
    assert (head["ts_recv"] == head["ts_recv"][0]).all()
    assert (head["ts_event"] < head["ts_recv"]).all()
    assert head["flags"][-1] == 168
    assert set(head["flags"][:-1].tolist()) == {40}
    assert set(live["flags"].tolist()) == {0, 130}
    assert (np.diff(live["ts_recv"].astype(np.int64)) >= 0).all()
    assert (np.diff(live["ts_event"].astype(np.int64)) >= 0).all()
    assert (np.diff(live["sequence"].astype(np.int64)) >= 0).all()
    delay = live["ts_recv"].astype(np.int64) - live["ts_event"].astype(np.int64)
    assert delay.min() >= 90_000
    assert delay.max() < 5_000_000
    ends = np.flatnonzero(live["flags"] == 130)
    starts = np.concatenate(([0], ends[:-1] + 1))
    span = live["ts_recv"][ends].astype(np.int64) - live["ts_recv"][starts].astype(np.int64)
    assert 0 < (span > 0).mean() < 0.3
    assert span.max() < 950_000
    assert len(set(live["order_id"][live["action"] == ord("A")].tolist())) == (live["action"] == ord("A")).sum()


def test_an_event_of_a_trade_is_trade_fills_then_changes(quarter):
    live = quarter[quarter["flags"] & 32 == 0]
    actions = live["action"].tobytes().decode()
    ends = np.flatnonzero(live["flags"] == 130).tolist()
    trades = [actions[a + 1 : b + 1] for a, b in zip([-1, *ends[:-1]], ends, strict=True)]
    trades = [text for text in trades if "T" in text]
    for text in trades:
        changes = text.lstrip("T").lstrip("F")
        assert text.startswith("TF")
        assert set(changes) <= set("CMA")
        assert changes
        assert len(changes.rstrip("AM")) or "M" in changes


@pytest.mark.slow
def test_looks_like_es():
    seen = replay(records_of(duration_s=3600, seed=11))
    touches = np.array(seen.touches)
    spread = touches[:, 1] - touches[:, 0]
    assert 0.8 < (spread == 1).mean() < 0.95
    assert (spread <= 2).all()
    mid = touches.sum(axis=1)
    assert 1450 < np.count_nonzero(np.diff(mid)) < 1950
    assert 15 < (mid.max() - mid.min()) / 2 < 140
    best = touches[-1]
    levels = [(seen.bids.get(best[0] - k, 0), seen.asks.get(best[1] + k, 0)) for k in range(60)]
    assert np.min(levels) > 0
    assert np.mean(levels[:5]) < np.mean(levels[30:])


def test_ordinary_flow_leaves_the_touch():
    """Whatever moves the touch is a step of the walk, and there are as many as the simulator says."""
    simulation = Simulation(SyntheticParams(duration_s=900, seed=5, iceberg_share=0.1, own_share=0.2))
    records = np.concatenate([part.copy() for part in simulation])
    touches = np.array(replay(records).touches)
    moved = np.count_nonzero((np.diff(touches, axis=0) != 0).any(axis=1))
    assert abs(moved - simulation.counts()["steps"]) <= 1  # the first may come with the first event


# -- the walk ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hours():
    """Three hours of exogenous markets without alpha."""
    return [replay(records_of(duration_s=3600, seed=seed)) for seed in range(20, 23)]


def _prediction(seen):
    """Return (n, correlation) of the next step's direction with the imbalance of flow that anyone can see in the file.

    Measured from the records by the replay, not by the simulator: all flow near the touch, that of re-centring too.
    """
    times = (np.array(seen.times) / NS).tolist()
    decayed = [0.0] * 4
    signs, imbalances = [], []
    last = times[0]
    for now, (moved, *sizes) in zip(times, np.array(seen.near_flow).tolist(), strict=True):
        fade = math.exp(-(now - last) / 5.0)
        decayed = [size * fade for size in decayed]
        last = now
        if moved:
            signs.append(math.copysign(1.0, moved))
            imbalances.append((decayed[0] - decayed[1] - decayed[2] + decayed[3]) / (sum(decayed) + 1))
        else:
            decayed = [old + new for old, new in zip(decayed, sizes, strict=True)]
    return len(signs), float(np.corrcoef(signs[20:], imbalances[20:])[0, 1])


@pytest.mark.slow
def test_without_alpha_nothing_in_the_book_predicts_the_walk(hours):
    found = [_prediction(seen) for seen in hours]
    z = np.array([n**0.5 * r for n, r in found])
    assert np.abs(z).max() < 4
    assert abs(z.sum() / len(z) ** 0.5) < 3.5


@pytest.mark.slow
def test_with_the_demo_alpha_the_flow_predicts_the_walk():
    for seed in (30, 31):
        n, r = _prediction(replay(records_of(duration_s=3600, seed=seed, alpha=DEMO_ALPHA)))
        assert n**0.5 * r > 6


def test_the_walk_is_the_same_whatever_the_flow():
    """At alpha 0 the two random streams never meet: another flow, the same prices at the same times."""
    paths = []
    for options in ({}, {"events_per_second": 3.0, "trade_share": 0.2, "touch_depth": 30.0}):
        seen = replay(records_of(duration_s=600, seed=8, **options))
        touches = np.array(seen.touches)
        moves = np.flatnonzero((np.diff(touches, axis=0) != 0).any(axis=1)) + 1
        paths.append(touches[moves][3:])  # the first events of a thinner flow may come after a step
    n = min(map(len, paths))
    assert n > 150
    assert np.array_equal(paths[0][-n:], paths[1][-n:])


def test_alpha_is_symmetric_and_reported():
    up, down = (Simulation(SyntheticParams(duration_s=3600, seed=2, alpha=alpha)) for alpha in (0.8, -0.8))
    for simulation in (up, down):
        for _ in simulation:
            pass
    assert up.imbalance()[1] > 0.2
    assert down.imbalance()[1] < -0.2


# -- the natural market ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def natural_hours():
    return [replay(records_of(duration_s=3600, seed=seed, mode="natural")) for seed in (1, 2, 3)]


@pytest.mark.slow
def test_the_natural_market_looks_like_es(natural_hours):
    for seen in natural_hours:
        touches = np.array(seen.touches)
        spread = touches[:, 1] - touches[:, 0]
        assert 0.85 < (spread == 1).mean() < 0.97
        assert spread.max() <= 12
        mid = touches.sum(axis=1)
        assert 1000 < np.count_nonzero(np.diff(mid)) < 3500
        assert 10 < (mid.max() - mid.min()) / 2 < 140
        best = touches[-1]
        levels = [(seen.bids.get(best[0] - k, 0), seen.asks.get(best[1] + k, 0)) for k in range(60)]
        assert np.mean(levels[:5]) < np.mean(levels[30:])
    assert 30_000 < np.mean([seen.events for seen in natural_hours]) < 60_000


@pytest.mark.slow
def test_arrivals_excite_arrivals(natural_hours):
    """Many events in few seconds, as on ES; without followers and regimes they come as by a Poisson process."""

    def counts(seen):
        times = np.array(seen.times)
        return np.bincount((times - times[0]) // NS)

    for seen in natural_hours:
        count = counts(seen)
        assert count.var() / count.mean() > 10
        assert np.median(np.diff(seen.times)) < 0.01 * NS < 0.3 * np.mean(np.diff(seen.times))
    plain = {"branching": 0.0, "busy_ratio": 1.0, "touch_depth": 40.0}
    count = counts(replay(records_of(duration_s=1800, seed=1, mode="natural", **plain)))
    assert 0.7 < count.var() / count.mean() < 1.5  # cancels still follow the queues
    assert 0.8 * 15 < count.mean() < 1.2 * 15


def test_busy_times_are_busier():
    busy = records_of(duration_s=900, seed=1, mode="natural", busy_ratio=20.0, calm_s=120.0, busy_s=120.0)
    even = records_of(duration_s=900, seed=1, mode="natural", busy_ratio=1.0)
    spread = []
    for records in (busy, even):
        times = np.array(replay(records).times)
        per_30s = np.bincount((times - times[0]) // (30 * NS))
        spread.append(per_30s.std() / per_30s.mean())
    assert spread[0] > 1.5 * spread[1]


@pytest.mark.slow
def test_cancels_follow_the_size_of_the_queues():
    """A book with three times its usual orders loses them, and one with a third of them fills up."""
    depths = []
    for usual in (10.0, 90.0):
        values = {"duration_s": 600, "seed": 4, "events_per_second": 120.0, "trade_share": 0.0}
        simulation = Simulation(
            SyntheticParams(mode="natural", reach_ticks=10, touch_depth=30.0, deep_depth=30.0, **values)
        )
        parts = iter(simulation)
        records = [next(parts).copy()]
        simulation._market.target[:] = usual  # the snapshot was made for 30
        records += [part.copy() for part in parts]
        seen = replay(np.concatenate(records))
        bid, ask = seen.touches[-1]
        depths.append(np.mean([seen.bids.get(bid - k, 0) + seen.asks.get(ask + k, 0) for k in range(10)]) / 2)
    assert depths[0] < 20
    assert depths[1] > 50


@pytest.mark.slow
def test_the_queue_that_is_smaller_runs_empty_first(natural_hours, hours):
    """Nothing is planted, and yet the imbalance at the touch predicts the next move; in the exogenous market it cannot."""

    def auc(seen):
        """How well the lean of the queues, looked at once a second, tells the direction of the next move of the mid."""
        touches, sizes = np.array(seen.touches), np.array(seen.sizes_at_touch, dtype=float)
        times, mid = np.array(seen.times), touches.sum(axis=1)
        at = np.searchsorted(times, np.arange(times[0] + NS, times[-1], NS)) - 1
        moves = np.flatnonzero(np.diff(mid))
        following = np.searchsorted(moves, at)
        at, following = at[following < len(moves)], following[following < len(moves)]
        up = np.diff(mid)[moves[following]] > 0
        lean = (sizes[at, 0] - sizes[at, 1]) / sizes[at].sum(axis=1)
        above = (lean[up][:, np.newaxis] > lean[~up]).mean() + (lean[up][:, np.newaxis] == lean[~up]).mean() / 2
        return above

    assert np.mean([auc(seen) for seen in natural_hours]) > 0.54
    assert 0.46 < np.mean([auc(seen) for seen in hours]) < 0.54


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{"alpha": 0.5}, {"mode": "natural"}])
def test_same_parameters_same_bytes(tmp_path, values):
    params = SyntheticParams(duration_s=60, seed=4, **values)
    paths = [tmp_path / name for name in ("a.dbn.zst", "b.dbn.zst")]
    for path in paths:
        write_synthetic(path, params)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    write_synthetic(paths[1], params.model_copy(update={"seed": 5}))
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_the_exogenous_market_is_what_it_was_before_there_was_another():
    """Files that were made and named by earlier versions stay what they are."""
    params = SyntheticParams(duration_s=600, seed=7, alpha=0.6, iceberg_share=0.2, own_share=0.3)
    found = hashlib.sha256(b"".join(records.tobytes() for records in Simulation(params))).hexdigest()
    assert (params.digest(), found[:16]) == ("45e9a31d5cc2", "753214ac05a817db")


@pytest.mark.slow
@pytest.mark.parametrize("values", [{"alpha": 0.5}, {"mode": "natural"}])
def test_bits_without_the_compiler(tmp_path, values):
    """The same lines, interpreted: no bit depends on how numba compiles them."""
    values = {"duration_s": 30, "seed": 4, "snapshot_levels": 75, **values}
    script = (
        "import sys, pathlib; from vpcore_market.source import SyntheticParams, write_synthetic\n"
        f"write_synthetic(pathlib.Path(sys.argv[1]), SyntheticParams(**{values}))"
    )
    path = tmp_path / "interpreted.dbn"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(path)],
        check=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    compiled = tmp_path / "compiled.dbn"
    write_synthetic(compiled, SyntheticParams(**values))
    assert path.read_bytes() == compiled.read_bytes()


def test_the_file_says_what_it_is(tmp_path):
    path = tmp_path / "a.dbn.zst"
    report = write_synthetic(
        path, SyntheticParams(duration_s=120, symbol="CLX5", tick_size=0.01, start_price=70.0, instrument_id=12)
    )
    file = read_header(path)
    assert (file.names, file.version, file.schema) == (("CLX5",), 3, "mbo")
    assert (file.start_ns, file.end_ns) == (report.start_ns, report.end_ns)
    found = inspect_file(path)
    assert (found.records, found.snapshot, found.unfinished, found.beyond_end) == (
        report.records,
        "clear and snapshot",
        False,
        0,
    )
    assert found.instruments[12].price_unit_int == 10_000_000
    assert found.buy_volume + found.sell_volume == report.volume
    with DbnSource().open(SourceRequest("CLX5", report.start_ns, report.end_ns, files=(path,))) as stream:
        got = np.concatenate([chunk.records.copy() for chunk in stream])
    assert len(got) == report.records
    assert stream.covered_end_ns == report.end_ns
    assert got.tobytes() == np.concatenate([r.copy() for r in Simulation(report.params)]).tobytes()


@pytest.mark.parametrize("mode", [{"restoring": 0.05}, {"mode": "natural"}])
def test_tables_that_grow_change_nothing(monkeypatch, mode):
    values = {"duration_s": 900, "seed": 6, "snapshot_levels": 8, "events_per_second": 60, **mode}
    roomy = records_of(**values)
    monkeypatch.setattr(calibration, "_ORDERS", 100)
    monkeypatch.setattr(calibration, "_ROWS", 0)
    simulation = Simulation(SyntheticParams(**values))
    room = len(simulation._market.orders)
    assert np.concatenate([records.copy() for records in simulation]).tobytes() == roomy.tobytes()
    assert len(simulation._market.orders) > room


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"touch_depth": 1, "deep_depth": 1},
        {"touch_depth": 800, "deep_depth": 800, "snapshot_levels": 300, "duration_s": 20},
        {"reach_ticks": 8, "snapshot_levels": 8},
        {"moves_per_hour": 1e5, "start_price": 50_000, "alpha": 1},
        {"trade_share": 0.5, "modify_share": 0.8, "iceberg_share": 0.5, "own_share": 0.5},
        {"events_per_second": 0.05, "moves_per_hour": 1},
        {"alpha": -1, "mood_gain": 0, "restoring": 1},
        {"mode": "natural", "touch_depth": 1, "deep_depth": 1},
        {"mode": "natural", "touch_depth": 300, "deep_depth": 20, "events_per_second": 300, "duration_s": 20},
        {"mode": "natural", "reach_ticks": 8, "snapshot_levels": 8, "branching": 0.95, "trade_share": 0.3},
        {"mode": "natural", "trade_share": 0.5, "modify_share": 0.8, "iceberg_share": 0.5, "own_share": 0.5},
        {"mode": "natural", "branching": 0, "gap_share": 0, "busy_ratio": 1, "events_per_second": 100},
        {"mode": "natural", "busy_s": 0.5, "calm_s": 0.5, "busy_ratio": 50, "fast_share": 1, "same_share": 1},
    ],
)
def test_books_of_other_calibrations_are_sound(values):
    seen = replay(records_of(**{"duration_s": 120, "seed": 3, **values}))
    assert (seen.unknown, seen.clipped, seen.duplicates, seen.wrong_order) == (0, 0, 0, 0)
    assert (seen.crossed, seen.one_sided, seen.unequal_fills, seen.open_at_end) == (0, 0, 0, False)
    assert seen.events > 0


def test_until_so_many_records(tmp_path):
    report = write_synthetic(tmp_path / "a.dbn", SyntheticParams(records=20_000, events_per_second=50))
    assert 20_000 <= report.records < 21_000
    assert (report.end_ns - report.start_ns) % NS == 0


def test_databento_reads_it(tmp_path):
    databento = pytest.importorskip("databento", reason="needs the package databento, a development dependency")
    path = tmp_path / "a.dbn.zst"
    report = write_synthetic(path, SyntheticParams(duration_s=20))
    store = databento.DBNStore.from_bytes(path.read_bytes())
    got = store.to_ndarray()
    ours = np.concatenate([r.copy() for r in Simulation(report.params)])
    assert store.symbols == ["ESU5"]
    for field in ("ts_recv", "ts_event", "order_id", "price", "size", "flags", "sequence"):
        assert np.array_equal(got[field], ours[field]), field


def test_a_price_that_comes_too_near_to_zero(tmp_path):
    with pytest.raises(SourceError, match=r"start_price 10\.0 leaves no room for 120 levels of 0\.25 above 0"):
        write_synthetic(tmp_path / "a.dbn", SyntheticParams(start_price=10.0))
    with pytest.raises(SourceError, match="The simulated price came too near to 0"):
        write_synthetic(tmp_path / "a.dbn", SyntheticParams(start_price=31.0, moves_per_hour=1e5, duration_s=7200))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpa": 1}, r"no parameter 'alpa' \(here\)\. Did you mean 'alpha'\?"),
        ({"alpha": 2}, r"alpha: Input should be less than or equal to 1, was 2"),
        ({"start_price": 1.1}, r"start_price must be a multiple of tick_size 0\.25, was 1\.1"),
        ({"near_ticks": 20, "reach_ticks": 10}, r"near_ticks must not exceed reach_ticks 10, was 20"),
        ({"deep_depth": 9000}, r"must be at most 250000, was 1\.08e\+06"),
        ({"start_ns": 2**62 - 5}, r"must end before the year 2116"),
        ({"mode": "natura"}, r"mode: Input should be 'exogenous', 'bursty' or 'natural', was 'natura'"),
        ({"mode": "natural", "alpha": 0.5}, r"alpha belongs to mode exogenous, the mode is natural\. Leave it out"),
        ({"branching": 0.5}, r"branching belongs to mode natural, the mode is exogenous"),
        ({"mode": "natural", "branching": 1.0}, r"branching: Input should be less than or equal to 0\.95, was 1"),
    ],
)
def test_wrong_parameters(values, message):
    with pytest.raises(SourceError, match=message):
        parse_params(values, "here")


# -- as a source -------------------------------------------------------------------------------------------------------


def test_source(tmp_path):
    source = SyntheticSource()
    assert isinstance(source, Source)
    start = 1_751_376_600 * NS
    request = SourceRequest("ESU5", start, start + 60 * NS, raw=Folder.of(tmp_path), options={"seed": 9})
    with source.open(request) as stream:
        first = np.concatenate([chunk.records.copy() for chunk in stream])
        (info,) = stream.files
    before = info.path.stat().st_mtime_ns
    with source.open(request) as stream:
        assert np.concatenate([chunk.records.copy() for chunk in stream]).tobytes() == first.tobytes()
    assert info.path.stat().st_mtime_ns == before  # kept, not made again
    assert info.path.is_relative_to(tmp_path)
    for options, message in (({"sed": 1}, "Did you mean 'seed'"), ({"duration_s": 3}, "the window says it")):
        with pytest.raises(SourceError, match=message):
            source.open(SourceRequest("ESU5", start, start + NS, raw=Folder.of(tmp_path), options=options))
    with pytest.raises(SourceError, match=r"leave out capture\.files"):
        source.open(SourceRequest("ESU5", start, start + NS, files=(info.path,), raw=Folder.of(tmp_path)))
    with pytest.raises(SourceError, match="needs a folder to keep its file in"):
        source.open(SourceRequest("ESU5", start, start + NS))


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.delenv("VP_ROOT", raising=False)
    assert run(["init", str(tmp_path / "ws")]) == 0
    monkeypatch.chdir(tmp_path / "ws")
    return tmp_path / "ws"


def test_command(workspace, capsys):
    assert run(["synth", "--minutes", "1", "--seed", "7", "--alpha", "0.5", "--pipeline", "demo"]) == 0
    capsys.readouterr()
    (path,) = (workspace / "lake/raw/synthetic").glob("*.dbn.zst")
    text = (workspace / "configs/pipelines/demo.yaml").read_text()
    assert f"synthetic/{path.name}" in text
    assert 'end_time: "09:31:00"' in text
    assert run(["synth", "--minutes", "2", "--start-time", "23:59", "--pipeline", "late"]) == 0
    assert "overnight: true" in (workspace / "configs/pipelines/late.yaml").read_text()
    assert run(["validate", "late"]) == 0
    next(found for found in (workspace / "lake/raw/synthetic").glob("*.dbn.zst") if found != path).unlink()
    capsys.readouterr()
    assert run(["validate", "demo"]) == 0
    before = path.read_bytes()
    capsys.readouterr()
    assert run(["synth", "--minutes", "1", "--seed", "7", "--alpha", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"] is False
    assert found["params"]["alpha"] == 0.5
    assert run(["synth", "--minutes", "1", "--seed", "8", "--out", str(path)]) == 2
    assert "exists and holds something else" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert run(["synth", "--minutes", "1", "--seed", "8", "--pipeline", "demo"]) == 2
    assert "exists and says something else" in capsys.readouterr().err
    assert run(["synth", "--minutes", "1", "--seed", "8", "--out", str(path), "--force"]) == 0
    assert path.read_bytes() != before


def test_command_other_instrument_and_settings(workspace, capsys):
    assert (
        run(["synth", "--minutes", "0.5", "--symbol", "CLX5", "--set", "touch_depth=20", "--out", "cl.dbn", "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["params"]["tick_size"] == 0.01
    assert found["params"]["touch_depth"] == 20
    assert inspect_file(workspace / "cl.dbn").instruments[90001].price_unit_int == 10_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "1", "--records", "5"], "--minutes and --records both say"),
        (["--minutes", "-1"], "--minutes must be greater than 0, was -1."),
        (["--date", "tomorrow"], "--date must be a date such as 2025-07-01, was 'tomorrow'"),
        (["--start-time", "25:00"], "--start-time: must be a time of day"),
        (["--timezone", "Mars"], "--timezone: must be an IANA time zone"),
        (["--set", "seed"], "--set takes NAME=VALUE, was 'seed'"),
        (["--set", "seed=3"], "--set seed: this parameter has an option of its own"),
        (["--set", "near_ticks=a"], "--set near_ticks takes a number, was 'a'"),
        (["--set", "tick_size=-1"], "--set tick_size: A tick size must be a positive multiple"),
        (["--set", "near_tick=3"], "Did you mean 'near_ticks'"),
        (["--out", "a.csv"], "--out must end in .dbn or .dbn.zst, was a.csv"),
    ],
)
def test_command_refusals(workspace, capsys, arguments, message):
    assert run(["synth", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_pipeline_name_that_no_spec_may_have(workspace, capsys):
    assert run(["synth", "--minutes", "0.2", "--pipeline", "No Name!"]) == 2
    assert not list((workspace / "configs/pipelines").glob("No*"))


def test_command_without_a_workspace(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("VP_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["synth", "--minutes", "0.2", "--out", "a.dbn.zst"]) == 0
    assert "timezone: UTC" in capsys.readouterr().err
    assert run(["synth", "--minutes", "0.2"]) == 2
