"""Parameters of signals: typed, documented, with ranges; unknown names are errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from vpcore.errors import ConfigError, did_you_mean


class SignalParams(BaseModel):
    """Base of every signal's ``Params``.

    Give each field a default, a range (``ge``, ``gt``, ``le``, ``lt``) and a description that ends with its unit. The
    conformance checks vary each parameter to see its effect. They guess values from default and range; add
    ``examples=[...]`` to a field where a guess is impossible.

    Raises
    ------
    ConfigError
        If a parameter is unknown, of another type or out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(explain(error, type(self), _owner_name(type(self)))) from None

    # Without this, pydantic would call `__init__` for a Params nested in another model, and the error would lose its
    # place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def parse(cls, values: Mapping[str, Any], owner: str = "") -> Self:
        """Return validated parameters. Text is never read as a number; a list may stand for a tuple.

        Parameters
        ----------
        values : mapping of str to JSON values
            Parameters by name.
        owner : str
            The signal, for messages.

        Raises
        ------
        ConfigError
            With one line per problem.
        """
        try:
            return cls.model_validate_json(json.dumps(dict(values), default=_plain), strict=True)
        except ValidationError as error:
            raise ConfigError(explain(error, cls, owner or _owner_name(cls))) from None

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON schema: names, types, ranges, defaults, descriptions."""
        return cls.model_json_schema()

    def plain(self) -> dict[str, Any]:
        """Return the parameters as JSON values; `parse` restores an equal object."""
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values


def _plain(value: Any) -> Any:
    """Return a numpy scalar or array as JSON values."""
    convert = getattr(value, "tolist", None)
    if callable(convert):
        return convert()
    raise ConfigError(f"A parameter must be a number, text, true, false or a list of those, was {value!r}.")


def _owner_name(params: type[BaseModel]) -> str:
    """Return the signal's class name of a nested ``Params``, or the name of the model itself."""
    outer, _, inner = params.__qualname__.rpartition(".")
    return outer.rpartition(".")[2] if inner == "Params" and outer and not outer.endswith("<locals>") else inner


def explain(error: ValidationError, model: type[BaseModel], owner: str) -> str:
    """Return the problems of a validation error, one sentence per line."""
    return "\n".join(_sentence(details, model, owner) for details in error.errors(include_url=False))


def _sentence(details: ErrorDetails, model: type[BaseModel], owner: str) -> str:
    loc, was = details["loc"], details["input"]
    if details["type"] == "value_error":
        text = str(details.get("ctx", {}).get("error", details["msg"]))
        return text if owner in text else f"{owner}: {text}"
    name = str(loc[0]) if loc else ""
    if details["type"] == "extra_forbidden":
        names = list(model.model_fields)
        return (
            f"{owner} has no parameter '{name}'.{did_you_mean(name, names)} Parameters: {', '.join(names) or 'none'}."
        )
    dotted = name + "".join(f"[{part}]" for part in loc[1:] if isinstance(part, int))
    if details["type"] == "missing" and len(loc) > 1:  # a list that is too short: speak of the list
        loc, dotted = loc[:1], name
    elif details["type"] == "missing":
        return f"{owner} needs the parameter {dotted}, which has no default."
    schema = _inlined(model.model_json_schema())["properties"].get(name, {})
    for part in loc[1:]:
        items = schema.get("items")
        prefixed = schema.get("prefixItems", [])
        schema = prefixed[part] if isinstance(part, int) and part < len(prefixed) else (items or {})
    required = allowed(schema) or details["msg"][:1].lower() + details["msg"][1:]
    about = (model.model_fields[name].description or "").rstrip(".")
    return f"{owner}.{dotted} must be {required}, was {was!r}.{' ' + about + '.' if about else ''}"


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its references to ``$defs`` replaced by the definitions."""
    definitions = schema.get("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return walk(definitions[node["$ref"].rpartition("/")[2]])
            return {key: walk(item) for key, item in node.items() if key != "$defs"}
        return [walk(item) for item in node] if isinstance(node, list) else node

    inlined: dict[str, Any] = walk(schema)
    return inlined


def allowed(schema: Mapping[str, Any]) -> str:
    """Return a JSON schema's type and range as a phrase: ``a whole number from 2 to 500``."""
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " or ".join(repr(item) for item in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(part for part in (allowed(item) for item in schema["anyOf"]) if part)
    kind = schema.get("type")
    if kind == "array":
        return _allowed_list(schema)
    noun = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}.get(
        str(kind), ""
    )
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{noun} from {low:g} to {high:g}"
    words = [
        text
        for text, bound in (
            (f"at least {low}", low),
            (f"above {above}", above),
            (f"at most {high}", high),
            (f"below {below}", below),
        )
        if bound is not None
    ]
    return f"{noun} {' and '.join(words)}" if words else noun


def _allowed_list(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
    inner = allowed(items) if isinstance(items, Mapping) else ""
    if least is not None and least == most:
        length = f"{least} "
    elif least is not None and most is not None:
        length = f"{least} to {most} "
    elif least is not None:
        length = f"at least {least} "
    else:
        length = ""
    return f"a list of {length}values{', each ' + inner if inner else ''}"
