"""Errors of pydantic in the user's words: place, found value, allowed values, fix."""

from __future__ import annotations

import datetime
import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vpcore.config.fields import field_at, fields_by_name, range_of
from vpcore.config.loader import Document, Key, dotted
from vpcore.errors import ConfigError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)

_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "date_from_datetime_inexact": "a date, as in 2023-12-25",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields",
    "date_type": "a date, as in 2023-12-25",
    "date_parsing": "a date, as in 2023-12-25",
    "date_from_datetime_parsing": "a date, as in 2023-12-25",
    "finite_number": "a finite number",
}


def validate(model: type[Model], document: Document, key: Key = ()) -> Model:
    """Return `document`, or its part at `key`, as `model`.

    Numbers must be numbers: text and booleans are refused. A whole number may stand for a number with a fraction, and
    2.0 for a whole number.

    Raises
    ------
    ConfigError
        With one line per problem.
    """
    part: Any = document.data
    for step in key:
        part = part[step]
    return validate_value(model, part, document, key)


def validate_value(model: type[Model], value: Any, document: Document, key: Key = ()) -> Model:
    """Return `value`, which stands at `key` of `document`, as `model`. See `validate`."""
    try:
        result = model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(explain(error, model, value, document, key)) from None
    # pydantic's strict mode would refuse lists for tuples and text for dates, in models that are not ours too. So
    # validation is lax, and what it has converted is found afterwards.
    converted = list(_converted(value, result.model_dump(), ()))
    if converted:
        raise ConfigError("\n".join(_not_converted(inner, found, model, document, key) for inner, found in converted))
    return result


def _converted(given: Any, taken: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    """Yield the leaves whose kind validation has changed: text to number, true to 1, 0 to false, 5 to a date."""
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        for name in given:
            if name in taken:
                yield from _converted(given[name], taken[name], (*key, name))
    elif isinstance(given, (list, tuple)) and isinstance(taken, (list, tuple)):
        for i, (one, other) in enumerate(zip(given, taken, strict=False)):
            yield from _converted(one, other, (*key, i))
    elif (_kind(given) != _kind(taken) and _kind(given) in ("number", "bool")) or (
        _kind(given),
        _kind(taken),
    ) in _FROM_TEXT:
        if not isinstance(taken, (list, tuple)):
            yield key, given


_FROM_TEXT = {("text", "number"), ("text", "bool")}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def _not_converted(inner: Key, found: Any, model: type[BaseModel], document: Document, key: Key) -> str:
    at = (*key, *inner)
    where = document.where(at)
    annotation = field_at(model, inner)
    required = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(
        annotation, "of another kind"
    )
    if annotation is datetime.date:
        required = _KINDS["date_type"]
    hint = _hint("string_type" if annotation is str else "int_type", found)
    about = range_of(model, inner)
    return (
        f"{dotted(at)} "
        f"must be {required}, was {_shown(found)}{f' ({where})' if where else ''}.{hint}{f' {about}.' if about else ''}"
    )


def explain(error: ValidationError, model: type[BaseModel], value: Any, document: Document, key: Key = ()) -> str:
    """Return the problems of a `ValidationError`, one per line, in the order of the file."""
    found = []
    all_details = error.errors(include_url=False)
    misspelled = {_meant(details, model) for details in all_details if details["type"] == "extra_forbidden"}
    for i, details in enumerate(all_details):
        inner = _inner(details)
        if details["type"] == "missing" and inner in misspelled:
            continue  # it is there, under a wrong name, which is said already
        if details["type"] == "too_short" and any(
            _inner(other)[: len(inner)] == inner and len(_inner(other)) > len(inner) for other in all_details
        ):
            continue  # only because its wrong items were not counted
        at = _pointed(details, value, inner)
        line = document.lines.get((*key, *at), 0)
        found.append((line, i, _sentence(details, model, inner, document, (*key, *at))))
    return "\n".join(text for _, _, text in sorted(found))


FORMER = {
    "dt": "The date of a capture is capture.date.",
    "product_type": "Leave it out: every dataset is made of a future's market-by-order records.",
    "pipeline_code_version": "Leave it out: the dataset id covers the format version of the engine.",
    "n_absolute_ticks": "Leave it out: the engine keeps every price level.",
    "bucket_size_dollars": "Leave it out: a cell is one tick wide.",
    "flow_rollup_weights": "The engine measures flow over pipeline.flow_windows, without weights.",
    **{
        f"c{i}_{name}": f"It is pipeline.c{i}."
        for i, name in enumerate(("v_add", "v_rest_pos", "a_add", "v_pull", "v_fill", "v_rest_neg", "a_pull"), start=1)
    },
    "scoring.neutral_threshold": "It is scoring.threshold_neutral.",
    "signal.weights": "Parameters stand in signal.params, weights of the score in scoring.derivative_weights.",
    "projection.cubic_scale": "The third difference takes part with projection.use_cubic: true.",
    "stream_schema": "Leave it out: the server has its own columns.",
    "visualization": "Leave it out: the page of `vp serve` has its own layers.",
    "eval.min_signals": "It is select.min_signals.",
    "eval.tick_size": "The tick size belongs to the instrument: configs/instruments/<root>.yaml.",
    "tracking.run_name_prefix": "Leave it out: runs have names. Experiments differ by tracking.experiment_name.",
}
"""Fields of the older harness, and what takes their place. `vp import-spec` converts them."""


def _former(at: Key) -> str:
    """Return the hint for a field of the older harness, wherever it stands if it has no owner in the table."""
    hint = FORMER.get(dotted(at[-2:])) or FORMER.get(str(at[-1]))
    return f" {hint}" if hint else ""


def _fields_of(model: type[BaseModel], key: Key) -> list[str]:
    owner = field_at(model, key)
    return list(fields_by_name(owner)) if isinstance(owner, type) and issubclass(owner, BaseModel) else []


def _meant(details: ErrorDetails, model: type[BaseModel]) -> Key:
    inner = _inner(details)
    close = difflib.get_close_matches(str(inner[-1]), _fields_of(model, inner[:-1]), n=1, cutoff=0.6)
    return (*inner[:-1], *close)


def _inner(details: ErrorDetails) -> Key:
    """Return the location of a problem without pydantic's additions, such as ``[key]``, which the file lacks."""
    loc = details["loc"]
    own = len(loc) - 1 if details["type"] == "extra_forbidden" else len(loc)  # the file's key, whatever it is
    return tuple(part for i, part in enumerate(loc) if i == own or isinstance(part, int) or "[" not in part)


def _pointed(details: ErrorDetails, value: Any, inner: Key) -> Key:
    """Return the key to point at: for a rule over several fields, the first it names that stands in the file."""
    if details["type"] == "value_error":
        part = value
        for step in inner:
            try:
                part = part[step]
            except (KeyError, IndexError, TypeError):
                return inner
        if isinstance(part, Mapping):
            named = [word for word in details["msg"].replace(",", " ").split() if word in part]
            if named:
                return (*inner, named[0])
    return inner


def _sentence(details: ErrorDetails, model: type[BaseModel], inner: Key, document: Document, at: Key) -> str:
    kind = details["type"]
    where = document.where(at)
    place = f" ({where})" if where else ""
    name = dotted(at)
    was = _shown(details["input"])
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        fields = _fields_of(model, inner[:-1])
        parent = dotted(at[:-1]) or "the file"
        return (
            f"'{at[-1]}' is not a field of {parent}{place}.{_former(at) or did_you_mean(str(at[-1]), fields)} Fields: "
            f"{', '.join(fields)}."
        )
    if kind == "missing" and isinstance(inner[-1], int):
        about = range_of(model, inner)
        return f"{dotted(at[:-1])} has too few values{place}. {about}."
    if kind == "missing":
        about = range_of(model, inner)
        return f"{name} is missing{place}. It is required{': ' + about if about else ''}."
    if kind == "literal_error":
        choices = [part.strip(" '") for part in str(context.get("expected", "")).replace(" or ", ",").split(",")]
        return (
            f"{name} must be {context.get('expected')}, was {was}{place}.{did_you_mean(str(details['input']), choices)}"
        )
    if kind == "value_error":
        return _with_place(str(context.get("error", details["msg"])), name, place)
    required = _KINDS.get(kind) or _bound(kind, context)
    about, _, allowed = range_of(model, inner).partition("Allowed: ")
    # The bound that was broken need not be said twice.
    about = about.removesuffix(". ") if required.endswith(allowed) else f"{about}Allowed: {allowed}"
    tail = f" {about}." if about else ""
    if required:
        hint = _hint(kind, details["input"])
        return f"{name} must be {required}, was {was}{place}.{hint}{tail}"
    return f"{name} is not accepted: {details['msg']}, was {was}{place}.{tail}"


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        words = {"greater_than": ("greater than", "gt"), "greater_than_equal": ("at least", "ge")}
        words |= {"less_than": ("less than", "lt"), "less_than_equal": ("at most", "le")}
        text, key = words[kind]
        return f"{text} {_shown(context[key])}"
    if kind in ("too_short", "too_long"):
        count = context.get("min_length") if kind == "too_short" else context.get("max_length")
        return (
            f"a list of at {'least' if kind == 'too_short' else 'most'} {count} {'value' if count == 1 else 'values'}"
        )
    if kind == "string_pattern_mismatch":
        return f"text of the form {context.get('pattern')}"
    if kind in ("string_too_short", "string_too_long"):
        return (
            "text that is not empty"
            if kind == "string_too_short"
            else f"text of at most {context.get('max_length')} characters"
        )
    return ""


def _hint(kind: str, value: Any) -> str:
    if kind in ("int_type", "float_type", "int_parsing", "float_parsing") and isinstance(value, str):
        return " Leave out the quotes." if _is_number(value) else ""
    if kind == "string_type" and isinstance(value, (int, float)):
        return f' Put it in quotes: "{value}".'
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_place(message: str, name: str, place: str) -> str:
    """Put the field before, and the place after, the first sentence of a validator's own message."""
    leaf = name.rpartition(".")[2]
    if message.startswith("must "):
        message = f"{name} {message}"
    elif message.startswith(f"{leaf} "):
        message = f"{name}{message.removeprefix(leaf)}"
    elif leaf not in message:
        message = f"{name}: {message}"
    first, stop, rest = message.partition(". ")
    return f"{first}{place}. {rest}" if stop else f"{message.rstrip('.')}{place}."


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, (bool, int, float)):
        return json.dumps(
            int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
        )
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
