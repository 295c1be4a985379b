"""Fits made in the background: the old model serves until the new one is ready, and it is said where that shows."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import numpy as np
import pytest

from vpcore import ScoringConfig, SignalContext, SignalError
from vpcore.errors import CausalityError
from vpcore.scoring import score_arrays
from vpcore.signal import BackgroundFit, SignalStream, batch, frames
from vpcore_serving.bin_pipeline import BinStages
from vpcore_serving.online_simulator import simulate
from vpcore_serving.parity import compare
from vpcore_signals_ml.signals import Logit, LsvmDer, PcaAd

SMALL = {"min_train_bins": 300, "retrain_interval_bins": 150, "stride_bins": 1}


class Later(Executor):
    """Makes every fit at once, and hands it over a number of bins later."""

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self.now = -delay
        self.waiting: list[tuple[int, Future, object]] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        self.waiting.append((self.now + self.delay, future, fn(*args, **kwargs)))
        self.reach(self.now)
        return future

    def reach(self, now):
        self.now = now
        for _, future, result in [item for item in self.waiting if item[0] <= now]:
            future.set_result(result)
        self.waiting = [item for item in self.waiting if item[0] > now]


def streamed(signal, session, rules, delay):
    """Return the values and the state of a stream whose fits come `delay` bins late."""
    driver = SignalStream(signal, SignalContext.of(session, rules))
    later = Later(0)
    signal.fit_elsewhere(driver.state, later)
    later.delay = delay
    values = []
    for frame in frames(signal, session):
        later.reach(frame.bin_seq)
        values.append(driver.push(frame))
    return np.array(values), driver.state


def models_of(signal, session, rules):
    """Return the model of every fit of an inline stream, by its bin."""
    driver = SignalStream(signal, SignalContext.of(session, rules))
    found = {}
    for frame in frames(signal, session):
        driver.push(frame)
        for fit in driver.state.retrains[len(found) :]:
            found[fit.bin_seq] = driver.state.model
    return found


@pytest.mark.slow
def test_the_old_model_serves_until_the_new_one_is_ready(small_signals, session, rules):
    part = session.slice(0, 640)
    for signal in small_signals:
        if signal.update_interval_bins:
            continue
        values, state = streamed(signal, part, rules, 30)
        inline = batch(signal, part, rules).values
        expected, models = inline.copy(), models_of(signal, part, rules)
        assert len(models) > 1
        assert [fit.due_bin for fit in state.background] == list(models)
        older = [None, *models.values()]
        for fit, old in zip(state.background, older, strict=False):
            assert fit.ready_bin == fit.settled_bin
            assert 30 <= fit.ready_bin - fit.due_bin < 40  # the first valid bin after 30 others
            for row in np.flatnonzero((state.seq[: state.n] >= fit.due_bin) & (state.seq[: state.n] < fit.ready_bin)):
                x = state.x[row : row + 1]
                expected[state.seq[row]] = np.nan if old is None else signal.values(old, x)[0]
        assert values.tobytes() == expected.tobytes()
        assert (values != inline)[part.valid].any()


def test_partial_fits_that_were_missed_are_made_up_for(session, rules):
    signal = LsvmDer(**SMALL, update_interval_bins=40)
    values, state = streamed(signal, session, rules, 55)
    expected = batch(signal, session, rules)
    differ = (values != expected.values) & ~(np.isnan(values) & np.isnan(expected.values))
    assert len(state.background) == 5
    assert state.background.pop().ready_bin is None  # still under way when the data ended
    differ[[fit.bin_seq for fit in expected.state.retrains][-1] :] = False
    explained = np.zeros(len(values), dtype=bool)
    for fit in state.background:
        assert fit.due_bin < fit.ready_bin <= fit.settled_bin
        assert fit.settled_bin - fit.ready_bin <= 40 + 10  # updates count valid bins
        explained[fit.due_bin : fit.settled_bin] = True
    assert sum(differ[fit.due_bin : fit.ready_bin].any() for fit in state.background) >= 3
    assert sum(differ[fit.ready_bin : fit.settled_bin].any() for fit in state.background) >= 2
    assert not (differ & ~explained).any()


def test_a_fit_that_is_never_ready_leaves_the_old_model(session, rules):
    signal = Logit(**{**SMALL, "retrain_interval_bins": 400})
    values, state = streamed(signal, session, rules, 10_000)
    assert np.isnan(values).all()
    assert [fit.ready_bin for fit in state.background] == [None, None]
    assert state.retrains == []


def test_fits_of_the_same_time_are_taken_in_their_order(session, rules):
    signal = Logit(**{**SMALL, "retrain_interval_bins": 20})
    _, state = streamed(signal, session, rules, 200)
    due = [fit.bin_seq for fit in state.retrains]
    assert due == sorted(due)
    assert len(due) > 10
    expected = batch(signal, session, rules)
    assert state.background[-1].ready_bin is None
    assert len(state.background) == len(expected.state.retrains)


class Notes(Later):
    """Notes what it made."""

    def __init__(self) -> None:
        super().__init__(0)
        self.made: list[tuple[object, int]] = []

    def submit(self, fn, /, *args, **kwargs):
        future = super().submit(fn, *args, **kwargs)
        self.made.append(future.result())
        return future


def test_an_executor_is_tried_before_the_first_bin(small_signals, session, rules):
    for signal in small_signals:
        state = signal.start(SignalContext.of(session, rules))
        executor = Notes()
        signal.fit_elsewhere(state, executor)
        ((model, fit),) = executor.made
        assert model is not None
        assert fit.ns > 0
        assert (state.model, state.background) == (None, [])


@pytest.mark.slow
def test_another_process_makes_the_fits(session, rules):
    part = session.slice(0, 800)
    signal = Logit(**SMALL)
    found = simulate(part, BinStages.on(part, signal, ScoringConfig(), rules), budget_ms=100.0, retrain="background")
    expected = batch(signal, part, rules)
    assert [fit.due_bin for fit in found.late_fits] == [fit.bin_seq for fit in expected.state.retrains]
    assert len(found.retrain_us) == len(found.late_fits) > 1
    differ = (found.values != expected.values) & ~(np.isnan(found.values) & np.isnan(expected.values))
    assert differ.sum() == sum(fit.n_differ for fit in found.late_fits) > 0
    first = found.late_fits[0]
    assert not first.had_model
    assert first.fit_us > 0
    assert first.first_differs == first.due_bin
    assert np.isnan(found.values[first.due_bin])
    assert all(fit.had_model for fit in found.late_fits[1:])


def test_only_a_late_fit_explains_a_difference(session, rules):
    signal = PcaAd(**SMALL)
    scoring = ScoringConfig()
    stages = BinStages.on(session, signal, scoring, rules)
    scores, _ = score_arrays(*(session.grid(f"composite_d{i}") for i in (1, 2, 3)), session.valid, scoring)
    values = batch(signal, session, rules).values.copy()
    assert compare(session, stages, values, scores) == ()
    at = np.flatnonzero(~np.isnan(values))[[100, 103]]
    values[at] += 0.25
    fits = (BackgroundFit(int(at[0]), int(at[1]) - 1, int(at[1]) + 1, 2500), BackgroundFit(990))
    late, running = compare(session, stages, values, scores, fits)
    assert (late.n_differ, late.first_differs, late.last_differs) == (2, at[0], at[1])
    assert (late.fit_us, late.had_model, running.n_differ, running.fit_us) == (2.5, True, 0, None)
    with pytest.raises(CausalityError, match=rf"'PcaAd' streams .* at bin {at[1]}, .* 1 of 1000 bins differ\)"):
        compare(session, stages, values, scores, (fits[0]._replace(settled_bin=int(at[1])),))


def test_what_does_not_learn_cannot_retrain(session):
    from vpcore_signals_stat.ads import Ads

    part = session.slice(0, 50)
    with pytest.raises(SignalError, match="Signal 'Ads' does not learn, so there is nothing to retrain. Leave out"):
        simulate(part, BinStages.on(part, Ads(), ScoringConfig()), budget_ms=100.0, retrain="background")
