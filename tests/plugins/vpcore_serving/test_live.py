"""Live equals offline: pipeline, entries and online simulation against the batch path, byte for byte."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from detections import detect
from hypothesis import given, settings, strategies as st
from live_world import (
    END_NS,
    N_BINS,
    PARAMS,
    SCORING,
    WIDTH_NS,
    Tilt,
    dataset_of,
    live,
    offline,
    runtime,
    tape,
)  # fmt: skip
from markets import INSTRUMENT, START_NS, TICK_INT, flagged_alike

from vpcore.backtest.open_market import open_bins, stale_bins
from vpcore.engine import Engine
from vpcore.errors import CausalityError, EngineError, SignalError
from vpcore.inference.summaries import Evidence
from vpcore.projection import ProjectionConfig
from vpcore.signal import SignalResult, core_digest
from vpcore_serving.bin_pipeline import BinStages, EntryDetector
from vpcore_serving.live_pipeline import GRACE_NS, LivePipeline
from vpcore_serving.online_simulator import simulate, simulate_from_raw
from vpcore_serving.projection import project
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import (
    PublishedServingSpec,
    Selection,
    ServingEvidence,
)


class Forgetful(Tilt):
    """Its batch values are not those it streams."""

    def compute(self, dataset):
        values = super().compute(dataset).values.copy()
        values[dataset.n_bins // 2 :] += 1e-9
        return SignalResult(values)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_pushed_records_give_the_values_of_the_dataset(size: int) -> None:
    records = tape()
    dataset = dataset_of(records)
    score, values = offline(dataset)
    horizons = ProjectionConfig(horizons_ms=(100, 500))
    pipeline = live(projection=horizons, entries=EntryDetector(0.2, 3, 5))
    bins = [b for i in range(0, len(records), size) for b in pipeline.push(records[i : i + size])]
    bins += pipeline.advance(END_NS)
    assert [b.bin_seq for b in bins] == list(range(N_BINS))
    assert [b.end_ns for b in bins] == dataset.bin("bin_end_ns").tolist()
    assert [b.valid for b in bins] == dataset.valid.tolist()
    assert np.array([b.score for b in bins]).tobytes() == score.tobytes()
    assert np.array([b.value for b in bins]).tobytes() == values.tobytes()
    projected = project(score, dataset.valid, horizons, WIDTH_NS)
    assert np.array([b.projection for b in bins]).tobytes() == projected.tobytes()
    found = detect(values, dataset.valid, dataset.bin("bin_seq"), 0.2, cooldown_bins=3, warmup_bins=5)
    assert [(b.bin_seq, b.entry) for b in bins if b.entry] == list(zip(found.bins, found.sides, strict=True))
    assert len(found) > 3


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_told_apart_by_sequence_give_the_values_of_the_dataset(size: int) -> None:
    records = flagged_alike(tape())
    _, values = offline(dataset_of(tape()))
    assert offline(dataset_of(records))[1].tobytes() != values.tobytes()
    pipeline = live(events="sequence")
    assert pipeline.warm_from(records[:0]) == 0
    bins = [b for i in range(0, len(records), size) for b in pipeline.push(records[i : i + size])]
    bins += pipeline.advance(END_NS)
    assert np.array([b.value for b in bins]).tobytes() == values.tobytes()


def test_a_timer_leaves_an_event_together_that_has_arrived_in_part() -> None:
    records = flagged_alike(tape())
    records = records[records["instrument_id"] == INSTRUMENT]
    _, values = offline(dataset_of(tape()))
    pipeline = live(events="sequence")
    bins = []
    for i in range(len(records)):
        bins += pipeline.push(records[i : i + 1]) + pipeline.advance(int(records["ts_recv"][i]))
    bins += pipeline.advance(END_NS)
    assert np.array([b.value for b in bins]).tobytes() == values.tobytes()


def test_a_server_that_starts_later_agrees_once_its_windows_are_full() -> None:
    records = tape()
    _, values = offline(dataset_of(records))
    later = START_NS + 20 * WIDTH_NS
    pipeline = live(start_ns=later)
    warmed = pipeline.warm_from([records[:100], records[100:300]])
    assert pipeline.quality()["events"] > 0
    bins = pipeline.push(records[300:]) + pipeline.advance(END_NS)
    assert warmed + len(bins) == N_BINS - 20
    full = SCORING.zscore_window_bins + 30  # the mean's memory of the start is then below a part in 1e9
    tail = [b.value for b in bins if b.end_ns > later + full * WIDTH_NS]
    np.testing.assert_allclose(tail, values[-len(tail) :], rtol=0, atol=1e-7)


def test_warming_up_over_a_night_without_a_book_is_pushing_without_looking() -> None:
    records = tape()
    evening = START_NS - 2000 * WIDTH_NS
    horizons = ProjectionConfig(horizons_ms=(100, 500))
    warmed, pushed = (live(start_ns=evening, projection=horizons, entries=EntryDetector(0.2, 0)) for _ in range(2))
    assert warmed.warm_from(records[:600]) == len(pushed.push(records[:600])) > 1900
    for one, other in zip(warmed.push(records[600:]), pushed.push(records[600:]), strict=True):
        assert (one.value, one.entry) == (other.value, other.entry) or math.isnan(one.value)
        assert one.score.tobytes() == other.score.tobytes()
        assert one.projection.tobytes() == other.projection.tobytes()


def test_the_first_records_say_where_bins_start_and_which_instrument() -> None:
    records = tape()
    own = records[records["instrument_id"] == INSTRUMENT]
    pipeline = live(start_ns=None, instrument_id=None)
    first = pipeline.push(own)[0]
    assert first.frame.bins["bin_start_ns"] % WIDTH_NS == 0
    assert first.frame.bins["bin_start_ns"] <= own["ts_recv"][0] < first.end_ns
    with pytest.raises(
        EngineError, match=r"of one instrument, was 2 instruments: 77, 78. Say which one to follow: instrument_id="
    ):
        live(instrument_id=None).push(records)


def test_nothing_happens_before_the_first_record() -> None:
    pipeline = live()
    assert pipeline.advance(END_NS) == []
    assert pipeline.push(tape()[:0]) == []
    assert pipeline.quality() == {}


# -- published versions


def evidence() -> ServingEvidence:
    return ServingEvidence(
        experiment="e", run_id="r", row="w", select=Selection(metric="net_pnl_ticks", min_signals=5), null_draws=999,
        bootstrap_draws=999, seed=0, splits=None, figures={"p_adj": 0.2}, among=Evidence("sweep", "tape", 1, 1, None, None),
        out_of_sample=None, dataset_files={}, packages={}, summary="", verdict="unproven", reasons=("p_adj",),
    )  # fmt: skip


def test_a_published_version_serves_what_was_evaluated(tmp_path, caplog) -> None:
    records = tape()
    _, values = offline(dataset_of(records))
    workspace = SimpleNamespace(
        registry_path=tmp_path / "r.sqlite",
        serving_versions_dir=tmp_path / "versions",
        folder=lambda path: path,
        plugins=SimpleNamespace(load=lambda kind, name: {("signal", "tilt"): Tilt}[kind, name]),
    )
    spec = PublishedServingSpec.of("es", runtime(), evidence())
    registry_of(workspace).publish(spec.serving_id, spec.to_yaml(), "champion")
    pipeline = LivePipeline.from_serving(workspace, "champion", instrument_id=INSTRUMENT, start_ns=START_NS)
    bins = pipeline.push(records) + pipeline.advance(END_NS + GRACE_NS)
    assert np.array([b.value for b in bins]).tobytes() == values.tobytes()
    assert any(b.entry for b in bins)
    version = pipeline.version
    assert (version.serving_id, version.alias, version.signal) == (spec.serving_id, "champion", "tilt")
    assert (version.symbol, version.tick_size, version.threshold) == ("ESH4", 0.25, 0.2)
    assert (version.barriers.tp_ticks, version.barriers.sl_ticks) == (8, 4)
    assert version.evidence == evidence()
    assert LivePipeline.from_serving(workspace, spec.serving_id).version.alias is None
    assert version.warning == caplog.text == ""
    other = PublishedServingSpec.of("es", runtime(core_digest="0" * 64), evidence())
    registry_of(workspace).publish(other.serving_id, other.to_yaml(), "champion")
    version = LivePipeline.from_serving(workspace, "champion").version
    assert version.warning.startswith(
        f"Other code of vpcore (000000000000) than the installed code ({core_digest()[:12]}) evaluated serving version"
    )
    assert version.warning in caplog.text
    assert live().version is None


def test_installed_code_that_is_not_the_published_code_is_refused() -> None:
    wanted = runtime()
    wanted = runtime(signal=wanted.signal.model_copy(update={"code_digest": "0" * 64}))
    with pytest.raises(
        SignalError, match=r"Signal 'tilt' was published from tests 1 \(code 000000000000\), but .* is installed. Inst"
    ):
        LivePipeline.from_runtime(wanted, lambda kind, name: Tilt)


# -- entries


@settings(max_examples=80)
@given(
    values=st.lists(st.sampled_from([-1.0, -0.3, 0.0, 0.3, 1.0, math.nan]), min_size=1, max_size=60),
    invalid=st.sets(st.integers(0, 59)),
    quiet=st.sets(st.integers(0, 59)),
    threshold=st.sampled_from([0.0, 0.3, 0.5]),
    cooldown=st.integers(0, 9),
    warmup=st.integers(0, 12),
)
def test_entries_are_those_of_the_batch_detection(values, invalid, quiet, threshold, cooldown, warmup) -> None:
    series = np.array(values)
    valid = np.array([i not in invalid for i in range(len(values))])
    series[~valid] = np.nan
    seq = np.arange(len(values))
    events = np.array([i not in quiet for i in range(len(values))], np.int64)
    opened = open_bins(valid, events, WIDTH_NS, 250)
    found = detect(series, valid, seq, threshold, cooldown_bins=cooldown, warmup_bins=warmup, opened=opened)
    detector = EntryDetector(threshold, cooldown, warmup, stale_bins=stale_bins(WIDTH_NS, 250))
    streamed = [(i, side) for i, v in enumerate(series) if (side := detector.push(float(v), i, int(events[i])))]
    assert streamed == list(zip(found.bins.tolist(), found.sides.tolist(), strict=True))


# -- online simulation


class Replay:
    """A record stream over an array."""

    def __init__(self, records: np.ndarray, size: int) -> None:
        self.records, self.size = records, size

    def __iter__(self) -> Iterator[SimpleNamespace]:
        for i in range(0, len(self.records), self.size):
            yield SimpleNamespace(records=self.records[i : i + self.size], instrument_id=INSTRUMENT, file_index=0)


def test_a_simulation_times_every_bin_and_gives_the_batch_values() -> None:
    dataset = dataset_of(tape())
    _, values = offline(dataset)
    result = simulate(dataset, BinStages.on(dataset, Tilt(), SCORING), budget_ms=10_000)
    assert result.values.tobytes() == values.tobytes()
    assert result.n_bins == N_BINS
    assert result.within_budget
    for timing in result.stages.values():
        assert 0 < timing.p50 <= timing.p95 <= timing.p99 <= timing.max
    assert not simulate(dataset, BinStages.on(dataset, Tilt(), SCORING), budget_ms=0).within_budget


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_records_replayed_on_their_schedule_give_the_dataset_again(size: int) -> None:
    records = tape()
    dataset = dataset_of(records)
    _, values = offline(dataset)
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS)
    result = simulate_from_raw(
        dataset, Replay(records, size), engine, BinStages.on(dataset, Tilt(), SCORING), budget_ms=100
    )
    assert result.values.tobytes() == values.tobytes()
    assert set(result.stages) == {"engine", "scoring", "signal", "total", "latency"}
    assert result.stages["latency"].max >= result.stages["total"].p50
    assert 0 < result.records <= len(records)


def test_a_signal_whose_batch_is_not_its_stream_fails_loudly() -> None:
    dataset = dataset_of(tape())
    with pytest.raises(
        CausalityError,
        match=r"'Forgetful' streams -?[\d.]+ at bin \d+, but its batch value is -?[\d.]+ \(dataset tape, \d+ of 60",
    ):
        simulate(dataset, BinStages.on(dataset, Forgetful(), SCORING), budget_ms=100)


def test_other_records_than_the_datasets_fail_loudly() -> None:
    records = tape()
    dataset = dataset_of(records)
    changed = records.copy()
    own = np.flatnonzero((changed["instrument_id"] == INSTRUMENT) & (changed["action"] == ord("A")))
    changed["size"][own[60]] += 1
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS)
    with pytest.raises(CausalityError, match=r"Column '\w+' of bin \d+ differs between the replayed records"):
        simulate_from_raw(dataset, Replay(changed, 100), engine, BinStages.on(dataset, Tilt(), SCORING), budget_ms=100)
