"""YAML files that remember their line numbers.

The scalars follow YAML 1.2; PyYAML alone reads 1.1: ``18:00`` stays text (in 1.1 it is 1080), a date stays text (a
field that wants a date reads it), ``1e-3`` is a number (in 1.1 it is text), ``yes`` and ``on`` are text and ``010`` is
ten.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vpcore.errors import ConfigError, did_you_mean

Key = tuple[str | int, ...]
"""Where a value stands in a document: keys and list indices."""

Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]

FAST: Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML has it: ten times as fast, with other messages, and without a limit of the depth."""

_MAX_DEPTH = 40
MOST_BYTES, MOST_VALUES, MOST_DIGITS = 10 << 20, 200_000, 40
"""Limits of a file: its size, its values, and the digits of a whole number."""

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


def dotted(key: Key) -> str:
    """Return a key as a person writes it: ``eval.tp_ticks[1]``."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Document:
    """A parsed file, or a part of one.

    Parameters
    ----------
    data : dict
        The content.
    name : str
        Name of the file in messages: its path below the workspace where possible.
    path : Path or None
        None for values that come from Python.
    lines : dict
        Line, from 1, of every key and list item.
    """

    data: dict[str, Any]
    name: str = ""
    path: Path | None = None
    lines: Mapping[Key, int] = field(default_factory=dict)

    def where(self, key: Key = ()) -> str:
        """Return ``file:line`` of a key, or of the nearest thing above it that has a line."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.lines:
                return f"{self.name}:{self.lines[key[:length]]}"
        return self.name

    def place(self, key: Key) -> str:
        """Return ``file:line, dotted.key`` for a message, or only the key for values from Python."""
        return ", ".join(part for part in (self.where(key), dotted(key)) if part)


def load_document(path: Path, *, name: str | None = None, loader: Loader = yaml.SafeLoader) -> Document:
    """Read a YAML file whose top level is a mapping. `FAST` reads files of vpcore itself.

    Raises
    ------
    ConfigError
        If the file is unreadable, is invalid YAML, names a key twice, or has another top level than a mapping.
    """
    shown = name if name is not None else str(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{shown} is larger than {MOST_BYTES >> 20} MB: it is no spec.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"There is no file {shown}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise ConfigError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return parse_document(text, shown, path, loader)


def parse_document(text: str, name: str, path: Path | None = None, loader: Loader = yaml.SafeLoader) -> Document:
    """Parse YAML text. See `load_document`."""
    try:
        node = yaml.compose(text, Loader=loader)
    except RecursionError:
        raise ConfigError(f"{name} is nested more than {_MAX_DEPTH} levels deep.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        found = " ".join(part for part in (error.context, error.problem) if part)
        hint = " Indent with spaces, not tabs." if "\\t" in (error.problem or "") else ""
        raise ConfigError(f"The YAML is not well formed ({where}): {found}.{hint}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"The YAML is not well formed ({name}): {' '.join(str(error).split())}.") from None
    if node is None:
        raise ConfigError(f"{name} is empty. It must hold a mapping of fields.")
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            f"{name}:{node.start_mark.line + 1} holds a {_kind(node)}. The top level must be a mapping of fields."
        )
    lines: dict[Key, int] = {(): 1}
    data = _construct(node, (), name, lines)
    return Document(data, name, path, lines)


def _construct(node: yaml.Node, key: Key, name: str, lines: dict[Key, int]) -> Any:
    if len(key) > _MAX_DEPTH:
        raise ConfigError(
            f"{name}:{node.start_mark.line + 1} is nested more than {_MAX_DEPTH} levels deep, or refers to itself."
        )
    if len(lines) > MOST_VALUES:
        raise ConfigError(
            f"{name} has more than {MOST_VALUES:,} values, aliases counted as often as they are used. Write a range "
            "instead of a list, and no alias of an alias."
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, name, lines)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for i, item in enumerate(node.value):
            lines[(*key, i)] = item.start_mark.line + 1
            items.append(_construct(item, (*key, i), name, lines))
        return items
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, key, name)
    raise TypeError(type(node).__name__)  # yaml composes these three kinds of node and no other


def _mapping(node: yaml.MappingNode, key: Key, name: str, lines: dict[Key, int]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"A key must be text, was a {_kind(key_node)} ({name}:{line}).")
        child = (*key, key_node.value)
        if not _encodes(key_node.value):
            raise ConfigError(f"A key holds half of a pair of characters ({name}:{line}).")
        if key_node.value in result:
            first = lines[child]
            raise ConfigError(
                f"{dotted(child)} is written twice ({name}:{first} and {name}:{line}). Keep one of the two."
            )
        lines[child] = line
        result[key_node.value] = _construct(value_node, child, name, lines)
    return result


def _scalar(node: yaml.ScalarNode, key: Key, name: str) -> Any:
    text: str = node.value
    line = f"{name}:{node.start_mark.line + 1}"
    if "\0" in text or not _encodes(text):
        raise ConfigError(f"{dotted(key)} holds a character that no text has: NUL, or half of a pair ({line}).")
    if node.tag not in _IMPLICIT_TAGS:
        raise ConfigError(
            f"{dotted(key)} carries the YAML tag '{node.tag}' ({name}:{node.start_mark.line + 1}). Write a plain value."
        )
    if node.style:  # quoted, or a block
        return text
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        if len(text) > MOST_DIGITS:
            raise ConfigError(f"{dotted(key)} has {len(text):,} digits; a number has at most {MOST_DIGITS} ({line}).")
        return int(text)
    if _FLOAT.match(text):
        number = float(text)
        if math.isinf(number):
            raise ConfigError(f"{dotted(key)} is too large a number, was {text[:40]} ({line}).")
        # 2.0 is 2: a whole number may be written either way, for a field of either kind.
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_IMPLICIT_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
}


def _kind(node: yaml.Node) -> str:
    return (
        "list"
        if isinstance(node, yaml.SequenceNode)
        else "mapping"
        if isinstance(node, yaml.MappingNode)
        else "single value"
    )


def find_by_name(folder: Path, kind: str, name: str, place: str = "") -> Path:
    """Return the file of a name in a folder of specs.

    Raises
    ------
    ConfigError
        If it is unknown; the message lists the known names.
    """
    names = names_in(folder)
    if name not in names:
        where = f" ({place})" if place else ""
        there = f"There are: {', '.join(names)}." if names else f"There are none in {folder}."
        raise ConfigError(f"No {kind} is called '{name}'{where}.{did_you_mean(name, names)} {there}")
    yaml_file = folder / f"{name}.yaml"
    return yaml_file if yaml_file.is_file() else folder / f"{name}.yml"


def names_in(folder: Path) -> list[str]:
    """Return the sorted names of the specs in a folder."""
    if not folder.is_dir():
        return []
    return sorted({path.stem for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file()})
