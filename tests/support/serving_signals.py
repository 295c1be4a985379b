"""Two signals that cost nothing, for tests of what surrounds signals."""

from __future__ import annotations

from vpcore.signal import SignalParams, StatisticalSignal


class Level(StatisticalSignal):
    """Pressure less vacuum at the mid."""

    version = 3
    columns = ("pressure", "vacuum")

    class Params(SignalParams):
        gain: float = 1.0

    def thresholds(self):
        return (0.5, 1.0)

    def warmup_bins(self, context):
        return 0

    def start(self, context):
        return context.n_cells // 2

    def step(self, state, frame):
        return self.params.gain * (frame["pressure"][state] - frame["vacuum"][state])


class Scored(Level):
    """The score at the mid."""

    columns = ("flow_score",)

    def step(self, state, frame):
        return self.params.gain * frame["flow_score"][state]
