"""From references and axes to the points that are run: signals, scorings and parameter sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from vpcore.canonical import canonical_json
from vpcore.config.experiment import ALL_SIGNALS, ExperimentSpec, SampleSpec
from vpcore.config.loader import Document, Key, dotted
from vpcore.config.messages import validate_value
from vpcore.config.pipeline import CaptureSpec, ResolvedPipeline
from vpcore.config.resolved import Grid, Search, SignalPlan
from vpcore.config.serving import SignalRef
from vpcore.engine import EngineParams
from vpcore.errors import ConfigError, did_you_mean, listed
from vpcore.plugins.manager import Plugins
from vpcore.sampler import Indices
from vpcore.sampler.designs import DESIGNS, check_size
from vpcore.scoring import ScoringConfig

_MAX_POINTS = 100_000

MOST_ENGINES = 64
"""Most combinations of `sweep.pipeline`: each is a dataset per session."""

_NO_ENGINE_AXIS = ("instrument", "root", "dates", "pipelines", "columns", *CaptureSpec.model_fields)

_CHECKED_POINTS = 2_000
"""Of axes whose combinations are proposed: all are checked at once if they are no more, else each value by itself."""


def signal_params(plugins: Plugins, ref: SignalRef, document: Document, key: Key = ("signal",)) -> dict[str, Any]:
    """Return every parameter of a signal as JSON values: `ref` over the defaults.

    Raises
    ------
    PluginError
        If the signal is unknown or fails to load.
    ConfigError
        If a parameter is unknown or out of range.
    """
    cls = plugins.load("signal", ref.name, document.place((*key, "name")))
    return _dump(validate_value(cls.Params, ref.params, document, (*key, "params")))


def points(
    plugins: Plugins, spec: ExperimentSpec, base: SignalRef, scoring: ScoringConfig, document: Document
) -> tuple[tuple[SignalPlan, ...], tuple[ScoringConfig, ...]]:
    """Return the signals of an experiment with their parameter sets, and the scorings they are run with.

    Parameters
    ----------
    plugins : Plugins
        Whose signals there are.
    spec : ExperimentSpec
        Names the signals, the axes and the sample.
    base : SignalRef
        The serving spec's signal, whose parameters hold for that signal; others start from their defaults.
    scoring : ScoringConfig
        The serving spec's.
    document : Document
        Where `spec` was read from, for messages.

    Raises
    ------
    ConfigError
        If an axis names an unknown parameter or unused scoring, or a combination is invalid.
    PluginError
        If the signal is unknown or fails to load.
    """
    classes = _classes(plugins, spec, base, document)
    scored = Axes(ScoringConfig, scoring.model_dump(mode="json"), spec.sweep.scoring, document, ("sweep", "scoring"))
    reading = [name for name, cls in classes.items() if reads_score(cls)]
    _check_scoring_is_read(plugins, scored, classes, reading, document)
    own = {
        name: Axes(
            cls.Params,
            base.params if name == base.name else {},
            spec.sweep.per_signal.get(name, {}),
            document,
            ("sweep", "per_signal", name),
        )
        for name, cls in classes.items()
    }
    searches = {name: _search(spec.sweep.sample, name, scored if name in reading else None, own[name]) for name in own}
    chosen = {
        name: _choose(spec.sweep.sample, name, scored if name in reading else None, own[name])
        for name, search in searches.items()
        if search is None
    }
    if spec.sweep.sample.method == "grid":
        plans = [_plan(name, own[name], name in reading, own[name].all(), None) for name in own]
        return tuple(plans), tuple(scored.point(key) for key in scored.all())
    # Without a signal that reads the score, there is one scoring, and none of the pairs asks for it.
    keys = sorted({first for name in reading for first, _ in chosen.get(name, ())})
    if not keys and chosen:
        keys = scored.all()
    plans = []
    for name, search in searches.items():
        if search is not None:
            plans.append(SignalPlan(name=name, reads_score=name in reading, params=(), search=search))
            continue
        mine = sorted({second for _, second in chosen[name]})
        pairs = sorted((keys.index(i) if name in reading else 0, mine.index(j)) for i, j in chosen[name])
        plans.append(_plan(name, own[name], name in reading, mine, tuple(pairs)))
    return tuple(plans), tuple(scored.point(key) for key in keys)


def engines(
    served: ResolvedPipeline, swept: Mapping[str, Sequence[Any]], document: Document
) -> tuple[ResolvedPipeline, ...]:
    """Return a pipeline at every combination of engine parameters, the last axis fastest; empty without axes.

    Parameters
    ----------
    served : ResolvedPipeline
        Supplies the window and the parameters without an axis.
    swept : mapping of parameter to values
        `sweep.pipeline` of the experiment.
    document : Document
        The experiment, for messages.

    Raises
    ------
    ConfigError
        If an axis is no engine parameter, a combination is invalid or splits a bin, or they are more than
        `MOST_ENGINES`.
    """
    key = ("sweep", "pipeline")
    for name in swept:
        if name in _NO_ENGINE_AXIS:
            raise ConfigError(
                f"sweep.pipeline takes engine parameters, and {name} is none that changes a signal's "
                f"input{_in(document.where((*key, name)))}: sessions belong to pipelines and dates."
            )
    axes = Axes(EngineParams, served.params.model_dump(mode="json"), swept, document, key)
    count = math.prod(axes.sizes)
    if count > MOST_ENGINES:
        raise ConfigError(
            f"sweep.pipeline has {count:,} combinations{_in(document.where(key))}, at most {MOST_ENGINES} are "
            "possible: each is a dataset per session. Take values out."
        )
    if not swept:
        return ()
    found = []
    for indices in axes.all():
        params = axes.point(indices)
        try:
            found.append(served.with_engine(params))
        except ConfigError as error:
            raise ConfigError(f"{error}{_in(document.where(key))}") from None
    return tuple(found)


def _plan(
    name: str, axes: Axes, reads: bool, keys: list[Indices], sampled: tuple[tuple[int, int], ...] | None
) -> SignalPlan:
    params = tuple(_dump(axes.point(key)) for key in keys)
    return SignalPlan(name=name, reads_score=reads, params=params, sampled=sampled)


def _search(sample: SampleSpec, name: str, scored: Axes | None, own: Axes) -> Search | None:
    """Return how the combinations of a signal are searched through, if they are and there are more than are tried."""
    if not sample.adaptive or sample.n is None:
        return None
    sizes = (*(scored.sizes if scored is not None else ()), *own.sizes)
    if check_size(sizes, name) <= sample.n:
        return None
    scoring = scored.grid() if scored is not None else Grid(base={}, axes={})
    return Search(
        sampler=sample.method, n=sample.n, seed=sample.seed, round=sample.at_a_time, scoring=scoring, params=own.grid()
    )


def _choose(sample: SampleSpec, name: str, scored: Axes | None, own: Axes) -> list[tuple[Indices, Indices]]:
    """Return the (scoring, parameters) of a signal that are in the sample; None for a grid."""
    if sample.method == "grid" or sample.n is None:
        return []
    first = scored.sizes if scored is not None else ()
    sizes = (*first, *own.sizes)
    size = min(sample.n, check_size(sizes, name))
    # An adaptive sampler that has no choice tries all combinations.
    design = DESIGNS["random" if sample.adaptive else sample.method]
    picked = design([range(count) for count in sizes], [sample.seed, name]).ask(size)
    return [(point[: len(first)], point[len(first) :]) for point in picked]


def _classes(plugins: Plugins, spec: ExperimentSpec, base: SignalRef, document: Document) -> dict[str, Any]:
    """Return the classes of the experiment's signals, in its order."""
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
    return {name: plugins.load("signal", name, place) for name, place in zip(names, places, strict=True)}


def _check_scoring_is_read(
    plugins: Plugins, scored: Axes, names: Iterable[str], reading: Sequence[str], document: Document
) -> None:
    if scored.axes and not reading:
        first = next(iter(scored.axes))
        would = _that_read_the_score(plugins)
        raise ConfigError(
            f"sweep.scoring varies {', '.join(scored.axes)}{_in(document.where(('sweep', 'scoring', first)))}, but no "
            "signal of this experiment "
            f"reads the score: {', '.join(names)}. Signals that would respond: {listed(would)}. "
            "Add one of them to signals, or leave sweep.scoring out."
        )


class Axes:
    """Parameters of a model and the values that they take; a point is one index per axis.

    Parameters
    ----------
    model : type of BaseModel
        Model of a point.
    base : mapping
        The values of the parameters without an axis, over the model's defaults.
    axes : mapping of parameter to values
        Empty axes give one point, `base`.
    document : Document
        Where they were read from.
    key : Key
        Where in it.

    Raises
    ------
    ConfigError
        If an axis names an unknown parameter, or a value twice.
    """

    def __init__(
        self,
        model: type[BaseModel],
        base: Mapping[str, Any],
        axes: Mapping[str, Sequence[Any]],
        document: Document,
        key: Key,
    ) -> None:
        self.model, self.base, self.axes, self.document, self.key = model, base, axes, document, key
        self.sizes = tuple(len(values) for values in axes.values())
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

    def all(self) -> list[Indices]:
        """Return every point, the last axis fastest.

        Raises
        ------
        ConfigError
            If they are too many.
        """
        count = math.prod(self.sizes)
        if count > _MAX_POINTS:
            raise ConfigError(
                f"{dotted(self.key)} has {count} combinations{_in(self.document.where(self.key))}, at most "
                f"{_MAX_POINTS} are possible. Take values out, or try a part: sweep.sample: {{method: lhs, n: 1000}}."
            )
        return list(itertools.product(*(range(size) for size in self.sizes)))

    def grid(self) -> Grid:
        """Return the parameters and their values, as JSON holds them, for points that are made later.

        Raises
        ------
        ConfigError
            If a value is invalid; up to 2,000 points, also if a combination is invalid.
        """
        first = (0,) * len(self.sizes)
        if math.prod(self.sizes) <= _CHECKED_POINTS:
            for indices in self.all():
                self.point(indices)
        values: dict[str, tuple[Any, ...]] = {}
        for place, name in enumerate(self.axes):
            found = [self.point((*first[:place], i, *first[place + 1 :])) for i in range(self.sizes[place])]
            values[name] = tuple(_dump(point)[name] for point in found)
        plain = _dump(self.point(first))
        return Grid(base={name: plain[name] for name in self.base if name not in values}, axes=values)

    def point(self, indices: Indices) -> Any:
        """Return a point as the model.

        Raises
        ------
        ConfigError
            If it is invalid.
        """
        # The value of an axis stands in a list; the message shall point at the item and name the parameter.
        lines = dict(self.document.lines)
        for name, i in zip(self.axes, indices, strict=True):
            item = (*self.key, name, i)
            if item in lines:
                lines[(*self.key, name)] = lines[item]
        here = Document(self.document.data, self.document.name, self.document.path, lines)
        point = {name: self.axes[name][i] for name, i in zip(self.axes, indices, strict=True)}
        return validate_value(self.model, {**self.base, **point}, here, self.key)


def reads_score(cls: type) -> bool:
    """Return True if a signal class reads the score."""
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
