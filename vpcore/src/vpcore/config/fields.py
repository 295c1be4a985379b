"""Shared parts of the specs: their base class, names, and a model's fields for messages and documents."""

from __future__ import annotations

import re
import types
import typing
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types
from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.fields import FieldInfo

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\Z")


def _check_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"must be 1 to 80 letters, digits, '_' and '-', the first a letter or digit, was '{value}'.")
    return value


SpecName = Annotated[str, AfterValidator(_check_name)]
"""A spec's name: letters, digits, '_' and '-'. It is its file's name and part of ids."""


class Spec(BaseModel):
    """Base of everything that is read from a YAML file: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fields_by_name(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by their names in a file, where `from` may stand for `from_`."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def field_at(model: type[BaseModel], key: tuple[str | int, ...]) -> Any:
    """Return the type at a key of a model: a model class, else an annotation."""
    found: Any = model
    for step in key:
        found = unwrapped(found)[0]
        if isinstance(found, type) and issubclass(found, BaseModel):
            info = fields_by_name(found).get(str(step))
            if info is None:
                return None
            found = info.annotation
        elif get_args(found):
            found = get_args(found)[-1 if get_origin(found) is dict else 0]
        else:
            return None
    return unwrapped(found)[0]


def info_at(model: type[BaseModel], key: tuple[str | int, ...]) -> FieldInfo | None:
    """Return the field that a key of a model belongs to: of ``tp_ticks[1]`` it is ``tp_ticks``."""
    names = list(key)
    while names and isinstance(names[-1], int):
        names.pop()
    if not names:
        return None
    owner = field_at(model, tuple(names[:-1])) if len(names) > 1 else model
    if isinstance(owner, type) and issubclass(owner, BaseModel):
        return fields_by_name(owner).get(str(names[-1]))
    return None


def range_of(model: type[BaseModel], key: tuple[str | int, ...]) -> str:
    """Return the description and range of the field at a key as one phrase, or an empty text."""
    info = info_at(model, key)
    if info is None:
        return ""
    parts = [(info.description or "").rstrip(".")]
    allowed = allowed_range(info)
    if allowed:
        parts.append(f"Allowed: {allowed}")
    return ". ".join(part for part in parts if part)


def allowed_range(info: FieldInfo) -> str:
    """Return the range of a field: ``1 to 512``, ``greater than 0``, ``'touch' or 'mid'``; else an empty text."""
    return _range(info.annotation, list(info.metadata))


def _range(annotation: Any, metadata: list[Any]) -> str:
    annotation, extra = unwrapped(annotation)
    metadata = [*metadata, *extra]
    bounds = _bounds(metadata)
    if get_origin(annotation) is typing.Literal:
        return " or ".join(repr(item) for item in get_args(annotation))
    if get_origin(annotation) in (tuple, list):
        items = [item for item in get_args(annotation) if item is not Ellipsis]
        inner = _range(items[0], []) if items and len(set(items)) == 1 else ""
        length = _length(metadata, len(items) if len(items) > 1 else None)
        return "; ".join(part for part in (f"each {inner}" if inner else "", length) if part)
    return bounds


def _bounds(metadata: list[Any]) -> str:
    low = high = ""
    strict_low = strict_high = False
    for item in metadata:
        if isinstance(item, annotated_types.Ge):
            low = _number(item.ge)
        elif isinstance(item, annotated_types.Gt):
            low, strict_low = _number(item.gt), True
        elif isinstance(item, annotated_types.Le):
            high = _number(item.le)
        elif isinstance(item, annotated_types.Lt):
            high, strict_high = _number(item.lt), True
        elif isinstance(item, FieldInfo):
            nested = _bounds(list(item.metadata))
            if nested:
                return nested
    if low and high and not strict_low and not strict_high:
        return f"{low} to {high}"
    words = []
    if low:
        words.append(f"{'greater than' if strict_low else 'at least'} {low}")
    if high:
        words.append(f"{'less than' if strict_high else 'at most'} {high}")
    return ", ".join(words)


def _length(metadata: list[Any], fixed: int | None) -> str:
    if fixed is not None:
        return f"{fixed} values"
    least = next((item.min_length for item in metadata if isinstance(item, annotated_types.MinLen)), None)
    most = next((item.max_length for item in metadata if isinstance(item, annotated_types.MaxLen)), None)
    if least is not None and most is not None:
        return f"{least} to {most} values"
    if least:
        return f"at least {least} value{'' if least == 1 else 's'}"
    return f"at most {most} values" if most is not None else ""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """Return the bare type of an annotation, less `None` and `Annotated`, and its metadata."""
    metadata: list[Any] = []
    while True:
        annotation = _without_none(annotation)
        if get_origin(annotation) is Annotated:
            inner, *found = get_args(annotation)
            metadata += [item for part in found for item in (part.metadata if isinstance(part, FieldInfo) else [part])]
            annotation = inner
        else:
            return annotation, metadata


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        members = [item for item in get_args(annotation) if item is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation
