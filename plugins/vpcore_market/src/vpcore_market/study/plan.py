"""What a study simulates: which markets, how long, and what is tried on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import vpcore
from vpcore.backtest.config import EvalConfig
from vpcore.canonical import digest
from vpcore.engine import EngineParams
from vpcore.errors import ConfigError
from vpcore.kernels.jit import sources_digest
from vpcore.plugins.manager import Plugins
from vpcore.rules import Price
from vpcore.schema import GRID_SUMS, GRID_VALUES, SCORE_COLUMNS
from vpcore.scoring import CHANNELS
from vpcore.signal import MLSignal, Signal, code_digest
from vpcore_market.params import DEMO_ALPHA, SyntheticParams

NULL, ALPHA, LENGTH = "null", "alpha", "length"
"""The parts of a study: no effect; an effect of several strengths; the documented one over several lengths."""

SHORTEST_MINUTES = 10.0


class Study(BaseModel):
    """What a study asks. The same one gives the same figures, whoever computes them and in whatever order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: int = Field(200, ge=2, le=100_000)
    """Markets without an effect."""
    scenario_seeds: int = Field(200, ge=0, le=100_000)
    """Markets per scenario and kind of market."""
    power_seeds: int = Field(20, ge=0, le=100_000)
    """Markets per strength and per length."""
    first_seed: int = Field(1, ge=0, le=2**40)
    minutes: float = Field(60.0, ge=SHORTEST_MINUTES, le=24 * 60)
    alphas: tuple[float, ...] = (0.2, 0.4, DEMO_ALPHA, 0.8, 1.0)
    """Strengths; the market lasts `minutes`."""
    lengths: tuple[float, ...] = (15.0, 30.0, 60.0, 120.0, 240.0)
    """Minutes, at the documented strength."""
    signals: tuple[str, ...] = Field(min_length=1)
    cell_width_ms: int = Field(200, ge=10, le=10_000)
    grid_radius_ticks: int = Field(25, ge=5, le=200)
    tp_sl_ticks: tuple[tuple[int, int], ...] = ((4, 4), (8, 4), (4, 8), (2, 12))
    cooldown_s: tuple[float, ...] = (6.0, 15.0)
    hold_s: float = 120.0
    warmup_s: float = 120.0
    draws: int = Field(999, ge=99, le=1_000_000)
    """Rotations behind every p_random, and resamples behind every interval."""

    def bins(self, seconds: float) -> int:
        """Return a time as a number of bins, at least one."""
        return max(1, round(seconds * 1000 / self.cell_width_ms))

    def eval_config(self, price: Price) -> EvalConfig:
        """Return how trades are made: without a fee, and like every other experiment in the rest."""
        return EvalConfig(
            tp_ticks=tuple(sorted({tp for tp, _ in self.tp_sl_ticks})),
            sl_ticks=tuple(sorted({sl for _, sl in self.tp_sl_ticks})),
            max_hold_bins=self.bins(self.hold_s),
            warmup_bins=self.bins(self.warmup_s),
            cooldown_bins=tuple(sorted({self.bins(seconds) for seconds in self.cooldown_s})),
            price=price,
            fee_ticks=0.0,
            null_draws=self.draws,
            bootstrap_draws=self.draws,
        )


@dataclass(frozen=True, slots=True)
class World:
    """One simulated market of a study.

    Attributes
    ----------
    part : {"null", "alpha", "length"}
    alpha, minutes : float
    seed : int
    prices : tuple of {"mid", "touch"}
        How trades on it are priced. Without an effect at the mid alone: with costs every test would pass for nothing.
    """

    part: str
    alpha: float
    minutes: float
    seed: int
    prices: tuple[Price, ...]

    @property
    def market(self) -> SyntheticParams:
        """The market's parameters."""
        return SyntheticParams(seed=self.seed, alpha=self.alpha, duration_s=60.0 * self.minutes)


def worlds(study: Study) -> tuple[World, ...]:
    """Return the markets of a study, those without an effect first.

    A market of the documented strength and the study's length serves both curves; it is there once.
    """
    first = study.first_seed
    found = [World(NULL, 0.0, study.minutes, seed, ("mid",)) for seed in range(first, first + study.seeds)]
    seeds = range(first, first + study.power_seeds)
    points = [(ALPHA, alpha, study.minutes) for alpha in sorted(set(study.alphas))]
    points += [(LENGTH, DEMO_ALPHA, minutes) for minutes in sorted(set(study.lengths))]
    seen: set[tuple[float, float]] = set()
    for part, alpha, minutes in points:
        if (alpha, minutes) not in seen:
            seen.add((alpha, minutes))
            found += [World(part, alpha, minutes, seed, ("mid", "touch")) for seed in seeds]
    return tuple(found)


def load_signals(plugins: Plugins, names: tuple[str, ...]) -> dict[str, Signal]:
    """Return the signals of a study with their own parameters, by name."""
    return {name: plugins.load("signal", name)() for name in names}


def formula_signals(plugins: Plugins) -> tuple[str, ...]:
    """Return the names of the installed signals that do not learn; those that do not load are left out."""
    found = []
    for name in plugins.components("signal"):
        try:
            cls = plugins.load("signal", name)
        except vpcore.PluginError:
            continue
        if not issubclass(cls, MLSignal):
            found.append(name)
    if not found:
        raise ConfigError("No signal is installed to study. Install vpcore_signals_stat, or name one with --signals.")
    return tuple(found)


def engine_params(study: Study, signals: dict[str, Signal]) -> EngineParams:
    """Return the engine of a study, which writes the columns that its signals read and no others."""
    wanted: set[str] = {"pressure"}  # a dataset has one grid column at least
    for signal in signals.values():
        for name in signal.columns:
            wanted.update(GRID_SUMS.get(name, ()))
            wanted.update(CHANNELS if name in SCORE_COLUMNS else (name,))
    return EngineParams(
        cell_width_ms=study.cell_width_ms,
        grid_radius_ticks=study.grid_radius_ticks,
        columns=tuple(name for name in GRID_VALUES if name in wanted),
    )


def world_key(study: Study, world: World, signals: dict[str, Signal]) -> str:
    """Return 24 hex digits that name what is computed on a market: its parameters, what is tried, and all the code."""
    about = {"params": world.market.model_dump(), "prices": list(world.prices)}
    return study_key(study, about, signals, "study/experiment.py")


def study_key(study: Study, about: dict[str, Any], signals: dict[str, Signal], module: str) -> str:
    """Return 24 hex digits for what a module computes on something: its settings, what is tried, and all the code."""
    core, own = Path(vpcore.__file__).parent, Path(__file__).parents[1]
    block: dict[str, Any] = {
        **about,
        "study": study.model_dump(
            mode="json", include={"cell_width_ms", "grid_radius_ticks", "tp_sl_ticks", "cooldown_s", "hold_s",
                                  "warmup_s", "draws"}
        ),
        "signals": {
            name: [type(signal).version, code_digest(type(signal)), signal.params.plain()]
            for name, signal in sorted(signals.items())
        },
        "core": [
            sources_digest(core / part)
            for part in ("kernels", "engine", "backtest", "statistics", "signal", "scoring.py")
        ],
        "market": [
            sources_digest(own / part)
            for part in ("kernels", "source.py", "params.py", "datasets.py", module)
        ],
    }  # fmt: skip
    return digest(block)[:24]
