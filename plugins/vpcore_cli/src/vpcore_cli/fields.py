"""Fields of models as text, for documents and listings."""

from __future__ import annotations

import datetime
import typing
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vpcore.config.fields import unwrapped


def type_of(info: FieldInfo) -> str:
    """Return the type of a field in a person's words: ``whole number``, ``list of numbers``, ``text``."""
    return _type(info.annotation)


def _type(annotation: Any, *, plural: bool = False) -> str:
    annotation, _ = unwrapped(annotation)
    origin = get_origin(annotation)
    if origin in (tuple, list):
        return f"{'lists' if plural else 'list'} of {_type(get_args(annotation)[0], plural=True)}"
    if origin is dict:
        return f"{'mappings' if plural else 'mapping'} to {_type(get_args(annotation)[1], plural=True)}"
    if origin is typing.Literal:
        return "text"
    if annotation is bool:
        return "true or false"
    spoken = getattr(annotation, "spoken", "mapping")  # a model may be written shorter than as a mapping
    name = {int: "whole number", float: "number", str: "text", datetime.date: "date", Any: "value"}.get(
        annotation, spoken
    )
    return f"{name}s" if plural and name != "text" else name


def default_of(info: FieldInfo) -> str:
    """Return the default of a field as YAML writes it; an empty text if it is required or None."""
    if info.is_required():
        return ""
    value = info.get_default(call_default_factory=True, validated_data={})
    return "" if value is None else _yaml(value)


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) and not value else str(value)
