"""Components of plugins: a name, the place of the object, and one line for listings."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vpcore.errors import ConfigError, did_you_mean, listed

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*\Z")


def check_options(make: Any, kind: str, name: str, options: Mapping[str, Any], key: str) -> None:
    """Refuse unknown options of a component.

    Parameters
    ----------
    make : callable
        The class or function; its parameters after the first are the options.
    kind, name : str
        Kind and name of the component.
    options : mapping
        Options of the user by name.
    key : str
        Key of the spec, such as ``parallel.options``, for the message.

    Raises
    ------
    ConfigError
        The message lists the valid options.
    """
    parameters = inspect.signature(make).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    valid = [parameter.name for parameter in parameters][1:]
    for option in options:
        if option not in valid:
            raise ConfigError(
                f"The {kind} '{name}' has no option '{option}'",
                where=key,
                fix=f"{did_you_mean(option, valid)} Options: {listed(valid)}.",
            )


@dataclass(frozen=True, slots=True)
class Component:
    """A named component, imported on first use.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and '_'; unique among the components of its kind. The name of a command may have '-',
        a name of the notebook API capitals.
    target : str
        ``"package.module:Object"``. `load` imports it.
    summary : str
        One line for listings; for a command, its line in ``vp --help``.
    heading : str
        Heading above a command in ``vp --help``; empty for other kinds.

    Raises
    ------
    ValueError
        If the name or target has another form, or the summary is empty or has several lines.
    """

    name: str
    target: str
    summary: str
    heading: str = ""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"A component's name is letters, digits, '_' and '-', was {self.name!r}.")
        if not _TARGET.match(self.target):
            raise ValueError(
                f"The target of component '{self.name}' must read 'package.module:Object', was {self.target!r}."
            )
        if not self.summary.strip() or "\n" in self.summary:
            raise ValueError(f"The summary of component '{self.name}' must be one line, was {self.summary!r}.")

    def load(self) -> Any:
        """Import the target and return it. Errors of the import pass through."""
        module, _, attribute = self.target.partition(":")
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
