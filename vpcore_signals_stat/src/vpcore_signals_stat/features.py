"""The registry of features, and the feature set of a signal: registered names and statistical signals.

Statistical and learning signals share it. Features are made by groups: one compiled step over a group's columns,
the same step for a stream (one row) and a batch (many rows), so both get the same bits. A statistical signal is a
feature too: its value of the bin. Features are NaN until their window is full.

Under mirroring of the market a feature keeps its value (sign +1), changes its sign (-1), or changes places with its
`partner`; a test holds every feature to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from vpcore import ConfigError, SignalContext, SignalError, StatisticalSignal
from vpcore_signals_stat import book_features, flow_features, signal_features
from vpcore_signals_stat.groups import NUMBER_COLUMNS, Feature, Floats, Group, frame_numbers

GROUPS = (*flow_features.GROUPS, *book_features.GROUPS, *signal_features.GROUPS)
GROUP_OF = {feature.name: group for group in GROUPS for feature in group.features}
"""The group of every registered feature, by the name of the feature."""


def registered() -> dict[str, Feature]:
    """Return every registered feature by its name."""
    return {feature.name: feature for group in GROUPS for feature in group.features}


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
        names = []
        for item in self.items:
            if isinstance(item, StatisticalSignal):
                names.append(_name(item))
            elif item in GROUP_OF:
                names.append(item)
            else:
                near = "".join(f" Did you mean '{name}'?" for name in get_close_matches(str(item), GROUP_OF, n=1))
                raise SignalError(
                    f"No feature is called {item!r} (features of signal '{owner}').{near} "
                    "vpcore_signals_stat.registered() has all."
                )
        self.names = tuple(names)
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise SignalError(f"features of signal '{owner}' has '{twice[0]}' twice.")
        self.signals = tuple(item for item in self.items if isinstance(item, StatisticalSignal))
        plain = [item for item in self.items if not isinstance(item, StatisticalSignal)]
        self.groups = tuple(dict.fromkeys(GROUP_OF[name] for name in plain))
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
        return [
            *(group.start(context.radius) for group in self.groups),
            *(signal.start(context) for signal in self.signals),
        ]

    def row(self, state: list[Any], frame: Mapping[str, Any], tick_int: int) -> Floats:
        """Return the features of one valid bin, float64[n_features]."""
        parts: list[Any] = []
        if self.groups:
            numbers = frame_numbers(frame, tick_int)
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
                key = f"vpcore_signals_stat.features.{part.name}"
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
