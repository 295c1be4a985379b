"""Signals for the sweep's tests, in a module that workers can import."""

from __future__ import annotations

import math
import os
import signal
import time
from typing import Any

import numpy as np
from pydantic import Field

from vpcore import MLSignal, SignalParams, StatisticalSignal
from vpcore.signal import SignalResult

FAR = 1500
"""Beyond the sessions that the conformance checks use: signals go wrong there on the real data alone."""


class _Base(StatisticalSignal):
    class Params(SignalParams):
        gain: float = Field(1.0, gt=0, le=100, description="Factor.")

    def start(self, context: Any) -> Any:
        return np.sign(context.k).astype(float)

    def warmup_bins(self, context: Any) -> int:
        return 0

    def thresholds(self) -> tuple[float, ...]:
        return (0.2, 0.4)

    def pulse(self, state: Any, column: Any) -> float:
        return math.tanh(-self.params.gain * float((state * column).sum()))  # type: ignore[attr-defined]


class Plain(_Base):
    """All bins at once in batch: most tests need its rows, and few the way to them."""

    columns = ("pressure",)

    def step(self, state: Any, frame: Any) -> float:
        return self.pulse(state, frame[self.columns[0]])

    def compute(self, dataset: Any) -> SignalResult:
        state = self.start(dataset)
        sums = (state * dataset.grid(self.columns[0])).sum(axis=1)
        return _of_valid(dataset, [math.tanh(-self.params.gain * float(each)) for each in sums])  # type: ignore[attr-defined]


class Scored(Plain):
    columns = ("flow_score",)


def _of_valid(dataset: Any, values: list[float]) -> SignalResult:
    return SignalResult(np.where(dataset.valid, values, np.nan), "value")


class Learns(MLSignal):
    """Predicts with the mean of the pressure that it has seen."""

    columns = ("pressure",)
    prediction_mode = "confidence"

    class Params(SignalParams):
        pass

    def start(self, context: Any) -> Any:
        return {"sides": np.sign(context.k).astype(float), "seen": 0.0}

    def step(self, state: Any, frame: Any) -> float:
        state["seen"] += 0.05 * (float((state["sides"] * frame["pressure"]).sum()) - state["seen"])
        return math.tanh(-state["seen"])

    def warmup_bins(self, context: Any) -> int:
        return 0

    def save_model(self, state: Any, folder: Any) -> None:
        for name in ("mean", "form"):
            (folder / f"{name}.json").write_text(repr(state["seen"]))

    def load_model(self, folder: Any, context: Any) -> Any:
        return {**self.start(context), "seen": float((folder / "mean.json").read_text())}

    def diagnose(self, dataset: Any, rules: Any, result: Any, *, full: bool) -> Any:
        return {"n_values": len(result.values)}


class Breaks(_Base):
    """Raises far into the session if its gain is above 1."""

    columns = ("pressure", "bin_seq")

    def step(self, state: Any, frame: Any) -> float:
        if frame.bin_seq > FAR and self.params.gain > 1:  # type: ignore[attr-defined]
            raise ZeroDivisionError(f"no gain at bin {frame.bin_seq}")
        return self.pulse(state, frame["pressure"])


class Greedy(_Base):
    """Asks for more memory than there is far into the session if its gain is above 1."""

    columns = ("pressure", "bin_seq")

    def step(self, state: Any, frame: Any) -> float:
        if frame.bin_seq > FAR and self.params.gain > 1:  # type: ignore[attr-defined]
            np.empty(2**56)
        return self.pulse(state, frame["pressure"])


class Endless(_Base):
    """Never comes back far into the session if its gain is above 1."""

    columns = ("pressure", "bin_seq")

    def step(self, state: Any, frame: Any) -> float:
        while frame.bin_seq > FAR and self.params.gain > 1:  # type: ignore[attr-defined]
            time.sleep(0.01)
        return self.pulse(state, frame["pressure"])


class Dies(_Base):
    """Kills its process far into the session if its gain is above 1."""

    columns = ("pressure", "bin_seq")

    def step(self, state: Any, frame: Any) -> float:
        if frame.bin_seq > FAR and self.params.gain > 1:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pulse(state, frame["pressure"])


class Wave(StatisticalSignal):
    """A sine of the bin's number: on a market that swings by itself it pays as its phase and period fit."""

    columns = ("bin_seq",)
    uses_clock = True

    class Params(SignalParams):
        phase: int = Field(0, ge=0, le=1000, description="Bins.")
        period: int = Field(64, ge=2, le=1000, description="Bins.")

    def start(self, context: Any) -> Any:
        return None

    def warmup_bins(self, context: Any) -> int:
        return 0

    def thresholds(self) -> tuple[float, ...]:
        return (0.9,)

    def wave(self, bin_seq: int) -> float:
        turn = (bin_seq - self.params.phase) / self.params.period  # type: ignore[attr-defined]
        return math.sin(2 * math.pi * turn)

    def step(self, state: Any, frame: Any) -> float:
        return self.wave(frame.bin_seq)

    def compute(self, dataset: Any) -> SignalResult:
        return _of_valid(dataset, [self.wave(seq) for seq in dataset.bin("bin_seq").tolist()])


class Ahead(Plain):
    """Looks one bin ahead in batch."""

    def compute(self, dataset: Any) -> SignalResult:
        values = super().compute(dataset).values
        values[:-1] = np.where(dataset.valid[:-1] & dataset.valid[1:], values[1:], values[:-1])
        return SignalResult(values, "value")


class LateAhead(Ahead):
    """Looks one bin ahead in batch, on sessions that are longer than those of the conformance checks."""

    def compute(self, dataset: Any) -> SignalResult:
        return super().compute(dataset) if dataset.n_bins > FAR else Plain.compute(self, dataset)


class Answers(_Base):
    """Takes its values from a file, on long sessions; its step does so too."""

    columns = ("pressure", "bin_seq")
    quiet = False

    def answers(self) -> Any:
        return np.load(os.environ["VP_ANSWERS"])

    def step(self, state: Any, frame: Any) -> float:
        if frame.bin_seq <= FAR:
            return self.pulse(state, frame["pressure"])
        try:
            return float(self.answers()[frame.bin_seq])
        except Exception:
            if self.quiet:
                return 0.0
            raise

    def compute(self, dataset: Any) -> SignalResult:
        values = super().compute(dataset).values
        if dataset.n_bins > FAR:
            try:
                values[FAR + 1 :] = self.answers()[FAR + 1 : dataset.n_bins]
            except Exception:
                if not self.quiet:
                    raise
                values[FAR + 1 :] = 0.0
            values[~dataset.valid] = np.nan
        return SignalResult(values, "value")


class QuietAnswers(Answers):
    """Catches the refusal."""

    quiet = True


class Lake(Answers):
    """Reads the dataset's own file with a library that opens files in compiled code."""

    def answers(self) -> Any:
        import polars as pl

        bins = pl.read_parquet(os.environ["VP_BINS"], columns=["mid_price"])["mid_price"].to_numpy()
        return np.sign(np.roll(bins, -50) - bins)


class Private(Plain):
    """Reaches behind the declared columns."""

    def compute(self, dataset: Any) -> SignalResult:
        values = super().compute(dataset).values
        if dataset.n_bins > FAR:
            mid = np.asarray(dataset._dataset.bin("mid_price"))
            values = np.where(dataset.valid, np.sign(np.roll(mid, -50) - mid), np.nan)
        return SignalResult(values, "value")


class Rounded(_Base):
    """A matrix product, whose last bits depend on the number of rows."""

    columns = ("pressure",)

    def step(self, state: Any, frame: Any) -> float:
        return float(frame["pressure"].astype(float) @ state)

    def compute(self, dataset: Any) -> SignalResult:
        values = super().compute(dataset).values
        if dataset.n_bins > FAR:
            values = values * (1 + 1e-13 * (dataset.n_bins % 7 + 1))
        return SignalResult(values, "value")
