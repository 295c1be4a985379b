"""The registry of features, and the feature set of a signal: registered names and statistical signals.

`FEATURES` has every registered feature by name. Features are made by groups: one compiled step over a group's columns,
the same step for a stream (one row) and a batch (many rows), so both get the same bits. A statistical signal is a
feature too: its value of the bin. Features are NaN until their window is full.

Under mirroring of the market a feature keeps its value (sign +1), changes its sign (-1), or changes places with its
`partner`; a test holds every feature to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vpcore import ConfigError, SignalContext, SignalError, StatisticalSignal
from vpcore_signals_ml.labels import Floats

BLOCK = 256
"""Bins of a batch with widened columns at a time."""

MID2, SPREAD, BID_SIZE, ASK_SIZE, BUY_VOLUME, SELL_VOLUME = range(6)
"""Columns of the bin numbers of a step: the mid in half-ticks, the spread in ticks, contracts."""

NUMBER_COLUMNS = (
    "best_bid_price_int",
    "best_ask_price_int",
    "best_bid_size",
    "best_ask_size",
    "buy_volume",
    "sell_volume",
)


class Feature(NamedTuple):
    """A registered feature.

    Attributes
    ----------
    name : str
    kind : str
        ``flow``, ``touch``, ``profile`` or ``state``.
    summary : str
        Formula in words, with units.
    warmup : int
        Valid bins without a value at the start.
    sign : int
        +1 or -1: factor of the value in the mirrored market.
    partner : str
        Feature with which it changes places in the mirrored market; its own name if it stays.
    """

    name: str
    kind: str
    summary: str
    warmup: int
    sign: int
    partner: str


@dataclass(frozen=True, slots=True)
class Group:
    """Features of one compiled step.

    Attributes
    ----------
    name : str
    features : tuple of Feature
        In the order of the step's output.
    columns : tuple of str
        Grid columns.
    reach : int
        Farthest cell, in ticks from the mid.
    start : callable
        Returns a fresh state.
    step : callable
        ``step(state, grid float64[n, columns, cells], numbers float64[n, 6], out float64[n, features])``, compiled.
    """

    name: str
    features: tuple[Feature, ...]
    columns: tuple[str, ...]
    reach: int
    start: Callable[[], Any]
    step: Callable[[Any, Floats, Floats, Floats], None]

    def row(self, state: Any, frame: Mapping[str, Any], numbers: Floats) -> Floats:
        """Return the features of one bin, float64[n_features]."""
        cells = [frame[name] for name in self.columns]
        grid = np.stack(cells)[np.newaxis] if cells else np.empty((1, 0, 0))
        out = np.empty((1, len(self.features)))
        self.step(state, grid, numbers, out)
        row: Floats = out[0]
        return row

    def matrix(self, dataset: Any) -> Floats:
        """Return the features of every valid bin of a dataset, float64[n_valid, n_features]."""
        rows = np.flatnonzero(dataset.valid)
        numbers = _numbers({name: dataset.bin(name)[rows] for name in NUMBER_COLUMNS}, dataset.tick_int)
        columns = [dataset.grid(name) for name in self.columns]
        state = self.start()
        out = np.empty((len(rows), len(self.features)))
        for first in range(0, len(rows), BLOCK):
            part = rows[first : first + BLOCK]
            grid = np.empty((len(part), len(columns), dataset.n_cells))
            for c, column in enumerate(columns):
                grid[:, c] = column[part]
            self.step(state, grid, numbers[first : first + BLOCK], out[first : first + BLOCK])
        return out


@cache
def groups() -> dict[str, Group]:
    """Return the group of every registered feature, by the name of the feature."""
    home = [group for name in ("flow", "book") for group in import_module(f"vpcore_signals_ml.{name}_features").GROUPS]
    return {feature.name: group for group in home for feature in group.features}


def registered() -> dict[str, Feature]:
    """Return every registered feature by its name."""
    return {feature.name: feature for group in dict.fromkeys(groups().values()) for feature in group.features}


class FeatureSet:
    """The features of a signal, in order.

    Parameters
    ----------
    items : sequence of str or StatisticalSignal
        Registered names, and signals whose values are features.
    owner : str
        Name of the signal, for messages.

    Raises
    ------
    SignalError
        If a name is unknown, a feature comes twice, or there is none.
    """

    def __init__(self, items: Any, owner: str) -> None:
        if not items or isinstance(items, str):
            raise SignalError(f"features of signal '{owner}' must be a tuple of names and signals, was {items!r}.")
        self.items = tuple(items)
        known, names = groups(), []
        for item in self.items:
            if isinstance(item, StatisticalSignal):
                names.append(_name(item))
            elif item in known:
                names.append(item)
            else:
                near = "".join(f" Did you mean '{name}'?" for name in get_close_matches(str(item), known, n=1))
                raise SignalError(
                    f"No feature is called {item!r} (features of signal '{owner}').{near} "
                    "vpcore_signals_ml.registered() has all."
                )
        self.names = tuple(names)
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise SignalError(f"features of signal '{owner}' has '{twice[0]}' twice.")
        self.signals = tuple(item for item in self.items if isinstance(item, StatisticalSignal))
        plain = [item for item in self.items if not isinstance(item, StatisticalSignal)]
        self.groups = tuple(dict.fromkeys(known[name] for name in plain))
        made = [f.name for group in self.groups for f in group.features] + [_name(signal) for signal in self.signals]
        self._order = np.array([made.index(name) for name in self.names])
        read = [name for group in self.groups for name in group.columns]
        read += [name for signal in self.signals for name in signal.columns]
        self.columns = tuple(dict.fromkeys((*read, *(NUMBER_COLUMNS if plain else ()))))

    def require(self, context: SignalContext, owner: str) -> None:
        """Raise `ConfigError` if the grid does not reach as far as the features."""
        reach = max((group.reach for group in self.groups), default=0)
        if reach > context.radius:
            raise ConfigError(
                f"Signal '{owner}' reads cells up to {reach} ticks from the mid, but the grid's radius is "
                f"{context.radius} ticks. Raise pipeline.grid_radius_ticks."
            )

    def warmup(self, context: SignalContext) -> int:
        """Return the valid bins until every feature has a value."""
        known = registered()
        plain = [known[item].warmup for item in self.items if isinstance(item, str)]
        return max(*plain, *(signal.warmup_bins(context) for signal in self.signals), 0)

    def start(self, context: SignalContext) -> list[Any]:
        """Return a fresh state."""
        return [*(group.start() for group in self.groups), *(signal.start(context) for signal in self.signals)]

    def row(self, state: list[Any], frame: Mapping[str, Any], tick_int: int) -> Floats:
        """Return the features of one valid bin, float64[n_features]."""
        parts: list[Any] = []
        if self.groups:
            numbers = _numbers({name: np.array([frame[name]]) for name in NUMBER_COLUMNS}, tick_int)
            parts += [group.row(own, frame, numbers) for group, own in zip(self.groups, state, strict=False)]
        later = state[len(self.groups) :]
        parts += [[signal.step(own, frame)] for signal, own in zip(self.signals, later, strict=True)]  # type: ignore[arg-type]
        row: Floats = np.concatenate(parts)[self._order]
        return row

    def matrix(self, dataset: Any) -> Floats:
        """Return the features of every valid bin of a dataset, float64[n_valid, n_features].

        Each group is computed once for all signals over the dataset in this process.
        """
        shared = getattr(dataset, "shared", {})
        valid = np.flatnonzero(dataset.valid)
        out, first = np.empty((len(valid), len(self.names))), 0
        parts: list[Group | StatisticalSignal] = [*self.groups, *self.signals]
        for part in parts:
            if isinstance(part, Group):
                key = f"vpcore_signals_ml.features.{part.name}"
                if key not in shared:
                    shared[key] = part.matrix(dataset)
                    shared[key].setflags(write=False)
                made = shared[key]
            else:
                made = part.compute(dataset).values[valid, np.newaxis]
            here = np.flatnonzero((self._order >= first) & (self._order < first + made.shape[1]))
            out[:, here] = made[:, self._order[here] - first]
            first += made.shape[1]
        return out


def _name(signal: StatisticalSignal) -> str:
    changed = {name: value for name, value in signal.params if value != type(signal).Params.model_fields[name].default}
    inner = ",".join(f"{name}={value}" for name, value in changed.items())
    return type(signal).__name__.lower() + (f"({inner})" if inner else "")


def _numbers(bins: Mapping[str, npt.NDArray[Any]], tick_int: int) -> Floats:
    """Return float64[n, 6] of whole numbers, so nothing is rounded."""
    bid = bins["best_bid_price_int"].astype(np.int64) // tick_int
    ask = bins["best_ask_price_int"].astype(np.int64) // tick_int
    out = np.empty((len(bid), 6))
    out[:, MID2] = bid + ask
    out[:, SPREAD] = ask - bid
    for c, name in zip((BID_SIZE, ASK_SIZE, BUY_VOLUME, SELL_VOLUME), NUMBER_COLUMNS[2:], strict=True):
        out[:, c] = bins[name]
    return out


def feature_table() -> str:
    """Return every registered feature as a Markdown table."""
    turns = {1: "even", -1: "odd"}
    rows = [
        f"| `{f.name}` | {f.kind} | {f.summary} | {f.warmup} | "
        f"{turns[f.sign] if f.partner == f.name else f'`{f.partner}`'} |"
        for f in registered().values()
    ]
    head = "| feature | kind | formula | warm-up, bins | mirrored |\n|---|---|---|---|---|"
    return "\n".join([head, *rows]) + "\n"
