"""Every set of parameters is tried on the grid, whatever another one raises."""

from __future__ import annotations

import pytest

from vpcore import ConfigError, Workspace
from vpcore.config.grid import start_signals
from vpcore.signal import SignalContext, SignalFrame, SignalParams, StatisticalSignal


class Reach(StatisticalSignal):
    """Needs `reach` cells on each side; a reach of 0 is a fault of its own code."""

    columns = ("pressure",)

    class Params(SignalParams):
        reach: int = 1

    def start(self, context: SignalContext) -> float:
        if context.radius < self.params.reach:
            raise ConfigError(f"reads {self.params.reach} ticks")
        return 1 / self.params.reach

    def step(self, state: float, frame: SignalFrame) -> float:
        return state

    def warmup_bins(self, context: SignalContext) -> int:
        return 0


def test_a_fault_of_one_set_of_parameters_hides_no_other(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    load = workspace.plugins.load
    monkeypatch.setattr(workspace.plugins, "load", lambda kind, name: Reach if name == "reach" else load(kind, name))
    pipeline = workspace.pipeline("open").resolve()
    start_signals(workspace.plugins, "reach", [{"reach": 0}, {"reach": 2}], pipeline)
    with pytest.raises(ConfigError, match=r"reads 9999 ticks \(Pipeline 'open'\.\)"):
        start_signals(workspace.plugins, "reach", [{"reach": 0}, {"reach": 9999}], pipeline)
