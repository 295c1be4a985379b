"""A live feed: delay, loss, late joins, other contracts, the client's own messages, and the exits of trades."""

from __future__ import annotations

import gc
import re
import weakref
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import databento_dbn
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from live_world import END_NS, N_BINS, PARAMS, SCORING, WIDTH_NS, Tilt, dataset_of, live, offline, runtime, tape
from markets import INSTRUMENT, START_NS, TICK_INT, random_tape

from vpcore.backtest.evaluate import evaluate
from vpcore.backtest.maker import FillTable
from vpcore.backtest.open_market import stale_bins
from vpcore.backtest.session import Session
from vpcore.engine import Engine
from vpcore.errors import ConfigError, EngineError
from vpcore.halts import in_halt
from vpcore.kernels.records import F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, MBO_DTYPE
from vpcore.rules import TradeRules
from vpcore_dbn.messages import as_records
from vpcore_serving.bin_pipeline import BinStages, EntryDetector, context_of
from vpcore_serving.live_pipeline import LivePipeline, LiveSession, session_start
from vpcore_serving.positions import PositionTracker

MS = 10**6


# -- delay -------------------------------------------------------------------------------------------------------------


def served(records: np.ndarray, *, delay_ns: int, grace_ns: int) -> tuple[LivePipeline, list[Any]]:
    """Feed records so long after their receive time, with a timer at the end of every bin."""
    pipeline = live(grace_ns=grace_ns)
    made, at = [], 0
    arrival = np.maximum.accumulate(records["ts_recv"].astype(np.int64)) + delay_ns
    for now in range(START_NS, END_NS + grace_ns + delay_ns + WIDTH_NS, 10 * MS):
        stop = int(np.searchsorted(arrival, now, side="right"))
        made += pipeline.push(records[at:stop])
        at = stop
        made += pipeline.advance(now)
    return pipeline, made[:N_BINS]


def test_a_delay_below_the_grace_changes_no_value() -> None:
    records = tape()
    _, values = offline(dataset_of(records))
    pipeline, made = served(records, delay_ns=20 * MS, grace_ns=250 * MS)
    assert np.array([b.value for b in made]).tobytes() == values.tobytes()
    assert pipeline.late_records == 0


def test_records_that_come_too_late_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    records = tape()
    _, values = offline(dataset_of(records))
    pipeline, made = served(records, delay_ns=20 * MS, grace_ns=0)
    assert pipeline.late_records > 10
    assert np.array([b.value for b in made]).tobytes() != values.tobytes()  # what the grace is for
    assert caplog.text.count("Records arrived after their bin was ended") == 1


# -- loss --------------------------------------------------------------------------------------------------------------


def test_after_a_loss_no_bin_is_valid_until_a_snapshot() -> None:
    records = tape()
    pipeline = live()
    assert pipeline.doubt == ""
    half = len(records) // 2
    before = pipeline.push(records[:half])
    assert before[-1].valid
    pipeline.lost()
    after = pipeline.push(records[half:])
    assert not any(b.valid for b in after)
    assert pipeline.lost_count == 1
    again = tape(12)
    again["ts_recv"] += np.uint64(N_BINS * WIDTH_NS)
    snapshot = again["flags"] & F_SNAPSHOT != 0
    assert snapshot.any()
    assert any(b.valid for b in pipeline.push(again))


def with_unknown_orders(records: np.ndarray, share: float) -> np.ndarray:
    """Return the records with cancels of unknown orders among them: so large a share of all cancels and modifies."""
    own = np.flatnonzero((records["instrument_id"] == INSTRUMENT) & (records["flags"] & F_SNAPSHOT == 0))
    asked = np.isin(records["action"][own], (ord("C"), ord("M")))
    last = own[(records["flags"][own] & F_LAST) != 0]
    count = int(np.ceil(share / (1.0 - share) * np.count_nonzero(asked)))
    places = np.sort(np.random.default_rng(0).choice(last, count))
    strange = records[places].copy()
    strange["action"], strange["order_id"] = ord("C"), np.arange(10**6, 10**6 + count)
    return np.insert(records, places + 1, strange)


def test_research_and_live_agree_on_data_with_unknown_orders(caplog: pytest.LogCaptureFixture) -> None:
    records = with_unknown_orders(random_tape(11, 6000, seconds=N_BINS * 0.1, oddities=False), 0.02)
    dataset = dataset_of(records)
    assert dataset.valid.sum() > N_BINS // 2
    score, values = offline(dataset)
    for size in (len(records), 700):
        pipeline = live()
        made = [b for i in range(0, len(records), size) for b in pipeline.push(records[i : i + size])]
        made += pipeline.advance(END_NS)
        assert pipeline.quality()["unknown_order_rate"] == pytest.approx(0.02, abs=0.005)
        assert [b.valid for b in made] == dataset.valid.tolist()
        assert np.stack([b.score for b in made]).tobytes() == score.tobytes()
        assert np.array([b.value for b in made]).tobytes() == values.tobytes()
        assert pipeline.lost_count == 0
        assert re.fullmatch(r"2\.\d% of the latest cancels and modifies are of unknown orders", pipeline.doubt)
    assert caplog.text.count("cancels and modifies were of unknown orders: records may be missing") == 2


# -- joining -----------------------------------------------------------------------------------------------------------

NEW_YORK = ZoneInfo("America/New_York")


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("window", "at", "start"),
    [
        (("2025-07-01T09:30", "2025-07-01T16:00"), "2025-07-08T12:00", "2025-07-08T09:30"),  # inside
        (("2025-07-01T09:30", "2025-07-01T16:00"), "2025-07-07T20:00", "2025-07-08T09:30"),  # a snapshot of the evening
        (("2025-07-01T09:30", "2025-07-01T16:00"), "2025-07-08T16:00", "2025-07-09T09:30"),  # after the close
        (("2025-07-01T18:00", "2025-07-02T02:00"), "2025-07-09T01:00", "2025-07-08T18:00"),  # over midnight
        (("2025-07-01T09:30", "2025-07-01T16:00"), "2025-12-08T12:00", "2025-12-08T09:30"),  # in winter
    ],
)
def test_a_session_starts_with_the_published_window(window: tuple[str, str], at: str, start: str) -> None:
    pipeline = runtime().pipeline.model_copy(update={"start_ns": ns(window[0]), "end_ns": ns(window[1])})
    assert session_start(pipeline, ns(at)) == ns(start)


def test_whoever_joins_late_enters_when_the_windows_are_full(caplog: pytest.LogCaptureFixture) -> None:
    records = tape()
    own = records[records["instrument_id"] == INSTRUMENT]
    late = own["ts_recv"].astype(np.int64) >= START_NS + 20 * WIDTH_NS
    stages = BinStages(SCORING, Tilt(), context_of(PARAMS, TICK_INT), entries=EntryDetector(0.01, 0))
    session = LiveSession(start_of=lambda _: START_NS)
    pipeline = LivePipeline(PARAMS, stages, session=session, cold_book="build", grace_ns=0)
    made = pipeline.push(own[late])
    assert made[0].frame.bins["bin_start_ns"] == START_NS
    assert "The session began" in caplog.text
    valid = [b for b in made if b.valid]
    assert [b.ready for b in valid] == [i >= SCORING.zscore_window_bins - 1 for i in range(len(valid))]
    assert not any(b.entry for b in made if not b.ready)
    assert any(b.entry for b in made)


def test_a_pipeline_is_freed_with_its_last_reference() -> None:
    """A day of windows must not wait for the garbage collector, which a server keeps from looking."""
    pipeline = LivePipeline.from_runtime(runtime(), lambda *_: Tilt, instrument_id=INSTRUMENT)
    assert any(made.valid for made in pipeline.push(tape()))
    watched = [weakref.ref(thing) for thing in (pipeline, pipeline.stages, pipeline._engine)]
    gc.disable()
    try:
        del pipeline
        assert [ref() for ref in watched] == [None, None, None]
    finally:
        gc.enable()


def test_a_contract_of_another_root_is_refused() -> None:
    from vpcore_serving import live_pipeline

    version = SimpleNamespace(serving_id="v", symbol="ESH4", spec=SimpleNamespace(runtime=runtime()), warning="")
    instrument = SimpleNamespace(matches=lambda symbol: symbol.startswith("ES"), root="ES")
    workspace = SimpleNamespace(instrument=lambda _: instrument, plugins=SimpleNamespace(load=lambda *_: Tilt))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_pipeline, "registry_of", lambda _: None)
        patch.setattr(live_pipeline, "published", lambda *_: version)
        with pytest.raises(ConfigError, match="was evaluated on ESH4 must be a contract of ES, was NQM4"):
            LivePipeline.from_serving(workspace, "v", symbol="NQM4")  # type: ignore[arg-type]
        assert LivePipeline.from_serving(workspace, "v", symbol="ESM4")._session.symbol == "ESM4"  # type: ignore[arg-type]


# -- what the client hands out -----------------------------------------------------------------------------------------


def messages(records: np.ndarray) -> list[Any]:
    return [
        databento_dbn.MBOMsg(
            publisher_id=int(r["publisher_id"]), instrument_id=int(r["instrument_id"]), ts_event=int(r["ts_event"]),
            order_id=int(r["order_id"]), price=int(r["price"]), size=int(r["size"]), action=databento_dbn.Action.from_str(chr(r["action"])),
            side=databento_dbn.Side.from_str(chr(r["side"])), ts_recv=int(r["ts_recv"]), flags=int(r["flags"]), channel_id=int(r["channel_id"]),
            ts_in_delta=int(r["ts_in_delta"]), sequence=int(r["sequence"]),
        )
        for r in records
    ]  # fmt: skip


def test_messages_of_the_client_are_records() -> None:
    records = tape()[:200]
    found = as_records(messages(records))
    for name in MBO_DTYPE.names or ():
        if name not in ("length", "rtype"):
            assert (found[name] == records[name]).all(), name
    assert as_records(messages(records[:1])[0])["order_id"].tolist() == records["order_id"][:1].tolist()
    assert as_records(records) is records
    client = np.dtype([(n, "S1" if n in ("action", "side") else MBO_DTYPE[n]) for n in MBO_DTYPE.names or ()])
    assert as_records(records.view(client)).tobytes() == records.tobytes()
    assert len(as_records([])) == 0
    assert len(as_records([SimpleNamespace(rtype=23, msg="a system message")])) == 0


@pytest.mark.parametrize("given", [5, [object()], np.zeros(3), "text"])
def test_what_is_no_record_is_a_sentence(given: Any) -> None:
    with pytest.raises(EngineError, match="Records must be an array of MBO records"):
        live().push(given)


# -- exits -------------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    tp=st.integers(1, 4),
    sl=st.integers(2, 5),
    hold=st.integers(1, 12),
    latency=st.integers(0, 2),
    price=st.sampled_from(["touch", "mid"]),
    stale_ms=st.sampled_from([100, 300, 60_000]),
    halts=st.booleans(),
    entry_rule=st.sampled_from(["crossing", "level"]),
    positions=st.sampled_from(["overlapping", "one"]),
)
def test_exits_are_those_of_research(
    seed: int,
    tp: int,
    sl: int,
    hold: int,
    latency: int,
    price: Any,
    stale_ms: int,
    halts: bool,
    entry_rule: Any,
    positions: Any,
) -> None:
    """Every trade of the batch evaluation leaves live in the same bin, at the same price, for the same reason."""
    records = random_tape(seed, 150, seconds=N_BINS * 0.1, oddities=False)
    assert not (records["flags"] & F_BAD_TS_RECV)[records["flags"] & F_SNAPSHOT == 0].any()
    dataset = dataset_of(records)
    clock = datetime.fromtimestamp(START_NS // 10**9, NEW_YORK)
    halt = (f"{clock:%H:%M}:{clock.second + 3:02d}", "23:59:59", "America/New_York") if halts else None
    rules = TradeRules(
        tp_ticks=tp, sl_ticks=sl, max_hold_bins=hold, latency_bins=latency, price=price, fee_ticks=0.25, warmup_bins=2,
        stale_after_ms=stale_ms, daily_halt=halt, entry_rule=entry_rule, positions=positions,
    )  # fmt: skip
    values = np.where(dataset.valid, np.sin(np.arange(N_BINS) * (1 + seed % 7) / 3.0), np.nan)
    wanted = evaluate(Session(dataset), values, rules, threshold=0.5, cooldown_bins=2, draws=0).trades
    stale = stale_bins(WIDTH_NS, stale_ms)

    def is_halted(seq: int) -> bool:
        return in_halt(halt, START_NS, WIDTH_NS, seq)

    entries = EntryDetector(0.5, 2, 2, "value", stale, is_halted, entry_rule)
    tracker = PositionTracker(rules, stale, TICK_INT, is_halted)
    found, opened, tick = [], {}, TICK_INT / 1e9
    for i in range(dataset.n_bins):
        bins = {name: dataset.bin(name)[i] for name in dataset.bin_columns}
        entry = entries.push(values[i], i, int(bins["bin_event_count"]))
        found += [(e.decided_bin, e.side, e.entry_bin, e.exit_bin, e.reason, e.entry_price, e.exit_price, e.net_pnl_ticks)
                  for e in tracker.push(bins, entry)]  # fmt: skip
        opened |= {(p.side, p.entry_bin): p for p in tracker.open}
    ends = Session(dataset).table(rules).resolved_at
    known = wanted.filter(
        [bool(ends[int(side < 0), entry] < N_BINS) for side, entry in wanted.select("side", "entry_bin").rows()]
    )
    columns = ("bin", "side", "entry_bin", "exit_bin", "reason", "entry_price", "exit_price", "net_pnl_ticks")
    assert sorted(found) == sorted(known.select(columns).rows())
    for _, side, entry_bin, _, reason, paid, left, _ in found:
        position = opened[side, entry_bin]
        assert position.entry_price == paid
        assert position.take_profit == pytest.approx(paid + side * tp * tick)
        assert position.stop == pytest.approx(paid - side * sl * tick)
        assert reason != "take-profit" or left == position.take_profit


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    barriers=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    hold=st.integers(1, 12),
    latency=st.integers(0, 2),
    patience=st.integers(1, 20),
    stale_ms=st.sampled_from([100, 300, 60_000]),
    halts=st.booleans(),
    positions=st.sampled_from(["overlapping", "one"]),
)
def test_fills_and_exits_of_a_maker_are_those_of_research(
    seed: int,
    barriers: tuple[int, int],
    hold: int,
    latency: int,
    patience: int,
    stale_ms: int,
    halts: bool,
    positions: Any,
) -> None:
    """A live pipeline, fed in pieces, fills every order in the bin of the fill table and leaves where research leaves."""
    records = random_tape(seed, 200, seconds=N_BINS * 0.1, oddities=False)
    clock = datetime.fromtimestamp(START_NS // 10**9, NEW_YORK)
    halt = (f"{clock:%H:%M}:{clock.second + 3:02d}", "23:59:59", "America/New_York") if halts else None
    rules = TradeRules(
        tp_ticks=barriers[0], sl_ticks=barriers[1], max_hold_bins=hold, latency_bins=latency, fee_ticks=0.25,
        warmup_bins=2, stale_after_ms=stale_ms, daily_halt=halt, positions=positions, entry="maker",
        patience_bins=patience,
    )  # fmt: skip
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS, virtual_bins=N_BINS)
    for _ in (*engine.blocks(records, INSTRUMENT), *engine.finish(END_NS)):
        pass
    dataset = dataset_of(records)
    session = Session(dataset, fills=FillTable.of(engine.fills(), dataset))
    version = runtime(rules=rules, threshold=0.1, cooldown_bins=2)
    pipeline = LivePipeline.from_runtime(version, lambda *_: Tilt, start_ns=START_NS, instrument_id=INSTRUMENT)
    made = [one for first in range(0, len(records), 37) for one in pipeline.push(records[first : first + 37])]
    made += pipeline.advance(END_NS + 10**9)
    made = made[:N_BINS]
    wanted = evaluate(session, [one.value for one in made], rules, 0.1, cooldown_bins=2, draws=0).trades
    ends = session.table(rules).resolved_at
    known = wanted.filter(
        [bool(ends[int(side < 0), order] < N_BINS) for side, order in wanted.select("side", "order_bin").rows()]
    )
    found = [
        (e.decided_bin, e.side, e.entry_bin, e.exit_bin, e.reason, e.entry_price, e.exit_price, e.net_pnl_ticks)
        for one in made
        for e in one.exits
    ]
    columns = ("bin", "side", "entry_bin", "exit_bin", "reason", "entry_price", "exit_price", "net_pnl_ticks")
    assert sorted(found) == sorted(known.select(columns).rows())
