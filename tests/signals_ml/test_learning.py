"""The schedule, the kept model, and what cannot work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vpcore import (
    CausalityError,
    ConfigError,
    ScoringConfig,
    SignalContext,
    SignalError,
    SignalResult,
    StatisticalSignal,
    TradeRules,
)
from vpcore.signal import SignalStream, batch, frames, stream
from vpcore.signal.conformance.evaluated import require_streamed
from vpcore.testing import check_signal
from vpcore_serving.bin_pipeline import BinStages
from vpcore_serving.online_simulator import simulate
from vpcore_signals_ml import LearningSignal
from vpcore_signals_ml.signals import GbmMf, Logit
from vpcore_signals_stat.features import Group


def test_fits_happen_on_the_schedule(session, rules):
    signal = Logit(min_train_bins=300, retrain_interval_bins=150, stride_bins=1)
    result = batch(signal, session, rules)
    seq = session.bin("bin_seq")[session.valid]
    due = list(range(100 + 300 - 1, len(seq), 150))
    assert [fit.bin_seq for fit in result.state.retrains] == [seq[row] for row in due]
    assert result.state.retrain_ns == [fit.ns for fit in result.state.retrains]
    first = int(np.flatnonzero(~np.isnan(result.values))[0])
    assert first == seq[due[0]]
    sizes = [fit.n_train for fit in result.state.retrains]
    assert sizes == sorted(sizes)
    rolling = batch(Logit(signal.params, train_window_bins=200), session, rules).state.retrains
    assert max(fit.n_train for fit in rolling) < 200


def test_a_fit_changes_nothing_before_it(session, rules):
    often = batch(Logit(min_train_bins=300, retrain_interval_bins=150, stride_bins=1), session, rules).values
    once = batch(Logit(min_train_bins=300, retrain_interval_bins=10_000, stride_bins=1), session, rules).values
    second = np.flatnonzero(session.valid)[100 + 300 - 1 + 150]
    assert once[:second].tobytes() == often[:second].tobytes()
    assert once[second] != often[second]


def test_features_of_a_dataset_are_made_once(session, rules, monkeypatch):
    data = session.slice(0, 600)
    made = []
    real = Group.matrix
    monkeypatch.setattr(Group, "matrix", lambda self, dataset: made.append(self.name) or real(self, dataset))
    settings = {"min_train_bins": 200, "stride_bins": 1}
    for signal in (Logit(**settings), Logit(c=1.0, **settings), GbmMf(rounds=2, **settings)):
        batch(signal, data, rules)
    assert sorted(made) == ["leans", "moments", "returns", "spot", "touch"]


@pytest.mark.slow
def test_a_saved_model_goes_on_where_it_was(small_signals, session, rules, tmp_path):
    session = session.slice(0, 780)
    for number, signal in enumerate(small_signals):
        folder = tmp_path / str(number)
        folder.mkdir()
        context = SignalContext.of(session, rules)
        driver = SignalStream(signal, context)
        values = [driver.push(frame) for frame in frames(signal, session)]
        signal.save_model(driver.state, folder)
        batched = tmp_path / f"{number}b"
        batched.mkdir()
        signal.save_model(batch(signal, session, rules).state, batched)
        for file in sorted(folder.iterdir()):
            assert file.read_bytes() == (batched / file.name).read_bytes()
        state = signal.load_model(folder, context)
        warmup = state.warmup
        assert state.retrains == []
        replay = SignalStream(signal, context)
        replay.state = state
        if signal.update_interval_bins:
            # It learns from the first bins on; until then it is the model that the session ended with.
            again = [replay.push(frame) for frame in frames(signal, session.slice(0, 150))]
            rows = np.flatnonzero(session.valid[:150])[warmup:]
            until = -(warmup - signal._first(state)) % signal.update_interval_bins
            expected = signal.values(driver.state.model, driver.state.x[warmup:][: len(rows)].copy())
            assert np.array(again)[rows[:until]].tobytes() == expected[:until].tobytes()
            assert 0 < until < len(rows)
            assert not np.isnan(np.array(again)[rows]).any()
            assert np.array(again)[rows[-1]] != expected[-1]
            continue
        seq = driver.state.retrains[-1].bin_seq
        again = [replay.push(frame) for frame in frames(signal, session.slice(seq - 250, session.n_bins))]
        late = slice(seq, seq + 49)  # until the loaded state fits a model of its own
        assert np.array(again)[250:299].tobytes() == np.array(values)[late].tobytes()
        assert not np.isnan(again[-1])


def test_what_cannot_work_is_refused(session, rules, tmp_path):
    signal = Logit()
    with pytest.raises(SignalError, match="its context needs TradeRules"):
        signal.start(SignalContext.of(session))
    with pytest.raises(SignalError, match="'Logit' has no model to save: nothing was fitted yet"):
        signal.save_model(signal.start(SignalContext.of(session, rules)), tmp_path)
    small = replace(SignalContext.of(session, rules), k=np.arange(-5, 6, dtype=np.int16))
    with pytest.raises(ConfigError, match="Signal 'Logit' reads cells up to 10 ticks"):
        signal.start(small)


def test_refits_are_timed_on_their_own_when_bins_are_simulated(session, rules):
    signal = Logit(min_train_bins=300, retrain_interval_bins=150, stride_bins=1)
    part = session.slice(0, 600)
    found = simulate(part, BinStages.on(part, signal, ScoringConfig(), rules), budget_ms=100.0)
    assert len(found.retrain_us) == 2
    assert min(found.retrain_us) > 0


def test_closures_and_halts_keep_stream_and_batch_equal(session, rules):
    """A market that closes often, and a daily halt in the middle of the session."""
    changes = {"stale_after_ms": 300, "daily_halt": ("10:00:50", "10:01:00", "America/New_York")}
    closing = TradeRules(**{**rules.model_dump(), **changes})
    signal = Logit(min_train_bins=300, retrain_interval_bins=150, stride_bins=1)
    result = batch(signal, session, closing)
    assert result.state.y.tobytes() != batch(signal, session, rules).state.y.tobytes()
    assert stream(signal, session, closing).values.tobytes() == result.values.tobytes()
    # The halts of a moved session lie elsewhere: that is no look at the clock.
    require_streamed(signal, session, result.values, closing, name="logit")


SMALL = {"min_train_bins": 200, "retrain_interval_bins": 150, "stride_bins": 1}


class Tomorrow(StatisticalSignal):
    """A statistical signal that looks ahead in the batch."""

    columns = ("best_bid_price_int",)

    def start(self, context):
        return None

    def step(self, state, frame):
        return 0.0

    def warmup_bins(self, context):
        return 0

    def compute(self, dataset):
        bid = dataset.bin("best_bid_price_int").astype(float)
        return SignalResult(np.where(dataset.valid, np.append(np.diff(bid), 0.0), np.nan))


def test_a_statistical_signal_that_looks_ahead_is_refused_as_a_feature(session, rules):
    class Leaking(LearningSignal):
        features = ("touch", Tomorrow())

        def make_model(self):
            from sklearn.linear_model import LogisticRegression  # here, so that tests are collected fast

            return LogisticRegression()

    signal = Leaking(**SMALL)
    assert np.isfinite(batch(signal, session, rules).values).any()
    report = check_signal(signal, session, checks=("stream",), rules=rules)
    with pytest.raises(CausalityError, match="Signal 'Leaking' streams another value than it computes"):
        report.raise_for_failure()
