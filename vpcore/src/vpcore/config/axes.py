"""From references and axes to the points that are run: signals, scorings and parameter sets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from vpcore.canonical import canonical_json
from vpcore.config.experiment import ALL_SIGNALS, ExperimentSpec
from vpcore.config.harness import SignalPlan
from vpcore.config.loader import Document, Key, dotted
from vpcore.config.problems import validate_value
from vpcore.config.serving import SignalRef
from vpcore.errors import ConfigError, did_you_mean, listed
from vpcore.plugins import Plugins
from vpcore.scoring import ScoringConfig

_MAX_POINTS = 100_000


def signal_params(plugins: Plugins, ref: SignalRef, document: Document, key: Key = ("signal",)) -> dict[str, Any]:
    """Return every parameter of a signal, those of `ref` over its defaults, as JSON holds them.

    Raises
    ------
    PluginError
        If there is no such signal or it does not load.
    ConfigError
        If a parameter is unknown or out of range.
    """
    cls = plugins.load("signal", ref.name, document.place((*key, "name")))
    return _dump(validate_value(cls.Params, ref.params, document, (*key, "params")))


def signal_plans(plugins: Plugins, spec: ExperimentSpec, base: SignalRef, document: Document) -> tuple[SignalPlan, ...]:
    """Return the signals of an experiment with their parameter sets.

    Parameters
    ----------
    plugins : Plugins
        Whose signals there are.
    spec : ExperimentSpec
        Names the signals and their axes.
    base : SignalRef
        The serving spec's signal, whose parameters hold for that signal; others start from their defaults.
    document : Document
        Where `spec` was read from, for messages.
    """
    names = _names(plugins, spec, base)
    by_hand = spec.signals is not None and spec.signals != (ALL_SIGNALS,)
    places = [document.place(("signals", i) if by_hand else ("signals",)) for i in range(len(names))]
    for name, place in zip(names, places, strict=True):
        plugins.get("signal", name, place)
    for name in spec.sweep.per_signal:
        if name not in names:
            place = document.place(("sweep", "per_signal", name))
            raise ConfigError(
                f"'{name}' is not one of the signals of this experiment{_in(place)}.{did_you_mean(name, names)} "
                f"Signals: {', '.join(names)}. Add it to signals, or leave its axes out."
            )
    plans = []
    for name, place in zip(names, places, strict=True):
        cls = plugins.load("signal", name, place)
        start = base.params if name == base.name else {}
        axes = spec.sweep.per_signal.get(name, {})
        grid = grid_of(cls.Params, start, axes, document, ("sweep", "per_signal", name))
        plans.append(SignalPlan(name=name, reads_score=reads_score(cls), params=tuple(_dump(point) for point in grid)))
    return tuple(plans)


def scorings(
    plugins: Plugins, spec: ExperimentSpec, base: ScoringConfig, plans: Sequence[SignalPlan], document: Document
) -> tuple[ScoringConfig, ...]:
    """Return the scorings of an experiment.

    Raises
    ------
    ConfigError
        If there is an axis and no signal that reads the score.
    """
    axes = spec.sweep.scoring
    if axes and not any(plan.reads_score for plan in plans):
        first = next(iter(axes))
        would = _that_read_the_score(plugins)
        raise ConfigError(
            f"sweep.scoring varies {', '.join(axes)}{_in(document.where(('sweep', 'scoring', first)))}, but no "
            "signal of this experiment "
            f"reads the score: {', '.join(plan.name for plan in plans)}. Signals that would respond: {listed(would)}. "
            "Add one of them to signals, or leave sweep.scoring out."
        )
    return tuple(grid_of(ScoringConfig, base.model_dump(mode="json"), axes, document, ("sweep", "scoring")))


def grid_of(
    model: type[BaseModel], base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]], document: Document, key: Key
) -> list[Any]:
    """Return every combination of the axes' values as `model`, the last axis fastest; without axes, `base` alone.

    Raises
    ------
    ConfigError
        If an axis names no parameter, names a value twice, or a combination is not valid.
    """
    valid = list(model.model_fields)
    for name, values in axes.items():
        if name not in valid:
            place = document.where((*key, name))
            raise ConfigError(
                f"The axis '{dotted((*key, name))}' names no parameter{_in(place)}.{did_you_mean(name, valid)} "
                f"Parameters: {listed(valid)}."
            )
        seen: set[bytes] = set()
        for i, value in enumerate(values):
            text = canonical_json(value)
            if text in seen:
                place = document.where((*key, name, i))
                raise ConfigError(
                    f"{dotted((*key, name))} must name every value once, {text.decode()} stands there "
                    f"twice{_in(place)}."
                )
            seen.add(text)
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > _MAX_POINTS:
        raise ConfigError(
            f"{dotted(key)} has {count} combinations{_in(document.where(key))}, at most {_MAX_POINTS} are "
            "possible. Take values out."
        )
    points = []
    names = list(axes)
    for chosen in itertools.product(*(range(len(axes[name])) for name in names)):
        # The value of an axis stands in a list; the message shall point at the item and name the parameter.
        lines = dict(document.lines)
        for name, i in zip(names, chosen, strict=True):
            item = (*key, name, i)
            if item in lines:
                lines[(*key, name)] = lines[item]
        here = Document(document.data, document.name, document.path, lines)
        point = {name: axes[name][i] for name, i in zip(names, chosen, strict=True)}
        points.append(validate_value(model, {**base, **point}, here, key))
    return points


def reads_score(cls: type) -> bool:
    """Return whether a signal class reads the score."""
    from vpcore.signal import needs_score

    return bool(needs_score(cls))


def _names(plugins: Plugins, spec: ExperimentSpec, base: SignalRef) -> list[str]:
    if spec.signals is None:
        return [base.name]
    if spec.signals == (ALL_SIGNALS,):
        return list(plugins.components("signal"))
    return list(spec.signals)


def _that_read_the_score(plugins: Plugins) -> list[str]:
    found = []
    for registered, cls, _ in plugins.resolve("signal"):
        if cls is not None and reads_score(cls):
            found.append(registered.component.name)
    return found


def _dump(params: BaseModel) -> dict[str, Any]:
    return params.model_dump(mode="json")


def _in(place: str) -> str:
    return f" ({place})" if place else ""
