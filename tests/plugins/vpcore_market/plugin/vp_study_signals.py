"""Signals for the tests of the study, in a module that workers can import."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore import SignalParams, StatisticalSignal
from vpcore.signal import SignalResult


class Tilt(StatisticalSignal):
    """Adds less pulls and fills near the touch, bid less ask: what the planted effect is made of."""

    columns = ("v_add", "v_pull", "v_fill")

    class Params(SignalParams):
        pass

    def start(self, context: Any) -> Any:
        return np.where(np.abs(context.k) <= 4, -np.sign(context.k), 0).astype(float)

    def warmup_bins(self, context: Any) -> int:
        return 0

    def thresholds(self) -> tuple[float, ...]:
        return (0.02, 0.05)

    def step(self, state: Any, frame: Any) -> float:
        raise NotImplementedError  # batch is all that a study asks for

    def compute(self, dataset: Any) -> SignalResult:
        side = self.start(dataset)
        add, pull, fill = (dataset.grid(name).astype(float) for name in self.columns)
        value = (side * (add - pull - fill)).sum(axis=1) / (np.abs(side) * (add + pull + fill) + 1e-9).sum(axis=1)
        return SignalResult(np.where(dataset.valid, value, np.nan))


class Ahead(StatisticalSignal):
    """Knows the mid of a minute later; a study must notice that its p-values are too small."""

    columns = ("best_bid_price_int",)

    class Params(SignalParams):
        pass

    def start(self, context: Any) -> Any:
        return None

    def warmup_bins(self, context: Any) -> int:
        return 0

    def thresholds(self) -> tuple[float, ...]:
        return (3.0, 5.0)

    def step(self, state: Any, frame: Any) -> float:
        return 0.0

    def compute(self, dataset: Any) -> SignalResult:
        bid = dataset.bin("best_bid_price_int") / 250_000_000.0
        later = np.concatenate([bid[120:], np.full(120, bid[-1])])
        return SignalResult(np.where(dataset.valid, later - bid, np.nan))
