"""What signals make of a dataset is kept as long as the dataset; a learning signal hands its last state over."""

from __future__ import annotations

import gc

import pytest
from trade_rules import rules_of

from vpcore.signal import DeclaredData, SignalContext, stream
from vpcore.signal.drivers import _SHARED, shared_of
from vpcore.testing import SessionData, synthetic_dataset


class Probe:
    columns = ("v_add",)


@pytest.mark.parametrize(
    "make",
    [
        lambda: synthetic_dataset(n_bins=3),
        lambda: SessionData.collect(synthetic_dataset(n_bins=3), ("v_add",)),  # equal to others, but not hashable
    ],
)
def test_shared_lives_as_long_as_the_dataset(make):
    data, other = make(), make()
    key = id(data)
    shared_of(data)["mine"] = 1
    assert DeclaredData(data, Probe()).shared is shared_of(data)
    assert shared_of(other) == {}
    assert key in _SHARED
    del data
    gc.collect()
    assert key not in _SHARED


def test_a_learning_signal_returns_its_state(tmp_path):
    from vpcore import MLSignal

    class Counting(MLSignal):
        columns = ("v_add",)

        def start(self, context: SignalContext):
            return [0]

        def step(self, state, frame):
            state[0] += 1
            return 0.5

        def warmup_bins(self, context):
            return 0

        def save_model(self, state, folder):
            raise NotImplementedError

        def load_model(self, folder, context):
            raise NotImplementedError

    data = synthetic_dataset(n_bins=50)
    result = stream(Counting(), data, rules_of(1, 1, 1, "mid"))
    assert result.state == [int(data.valid.sum())]
    assert "state" not in repr(result)
