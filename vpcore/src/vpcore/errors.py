"""The exception tree of vpcore.

::

    VpError                 the user's input, or a state the user can mend; exit code 2, no traceback
    ├── ConfigError         a spec, a parameter, a reference between specs
    ├── PluginError         a plugin that does not load, a duplicate name, an unknown component
    ├── SourceError         a file that cannot be read as market-by-order data
    ├── EngineError         records the engine cannot apply (off-tick price, top-of-book feed)
    ├── StorageError        the lake: permissions, a full disk, a conflicting write
    ├── DatasetError        a dataset that is missing, changed or incomplete
    ├── SignalError         a signal that breaks its contract
    │   └── CausalityError  it looks ahead, or streaming and batch differ
    ├── ResultsError        runs and rows that are missing or ambiguous
    ├── RegistryError       serving versions and aliases
    └── RefusedError        a gate or a budget said no; exit code 1

A bug is not a ``VpError``: it keeps its traceback and exits 3.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VpError(Exception):
    """Base of every error that a user can act on.

    The message is one sentence and the fix: ``{what} must be {required}, was {was} ({where}). {fix}``. Parts that are
    left out are left out of the sentence; a complete message may be given as `what` alone.

    Parameters
    ----------
    what : str
        What is wrong, in the user's words, or the name of the wrong value if `required` is given.
    where : str, optional
        File, key and line; dataset, column and row.
    was : str, optional
        The value that was found.
    required : str, optional
        The rule that the value breaks, with units, as in ``at least 1 bin``.
    fix : str, optional
        What the user can do: a whole sentence.

    Attributes
    ----------
    what, where, was, required, fix : str
        The parameters; empty where they were left out.
    exit_code : int
        Exit code of the command line.
    """

    exit_code: int = 2

    def __init__(self, what: str = "", *, where: str = "", was: str = "", required: str = "", fix: str = "") -> None:
        fix = fix.strip()
        self.what, self.where, self.was, self.required, self.fix = what, where, was, required, fix
        text = what + (f" must be {required}" if required else "") + (f", was {was}" if was else "")
        text += f" ({where})" if where else ""
        if text != what or fix:
            text += "" if text.endswith((".", "!", "?")) else "."
        super().__init__(f"{text} {fix}" if fix else text)

    def fields(self) -> dict[str, str | None]:
        """Return the error as ``--json`` prints it: kind, whole message, and the parts, None where left out."""
        parts = {name: getattr(self, name) or None for name in ("what", "where", "was", "required", "fix")}
        return {"kind": type(self).__name__, "message": str(self), **parts}


class ConfigError(VpError):
    """A configuration value, file or reference is wrong."""


class PluginError(VpError):
    """A plugin is broken, missing, or registered twice."""


class SourceError(VpError):
    """A source file cannot be read as what it should be."""


class EngineError(VpError):
    """Records that the engine cannot apply."""


class StorageError(VpError):
    """The lake could not be read or written."""


class DatasetError(VpError):
    """A dataset is missing, changed, incomplete or of another format."""


class SignalError(VpError):
    """A signal broke its contract."""


class CausalityError(SignalError):
    """A signal looks ahead, or its streaming and batch values differ."""


class ResultsError(VpError):
    """A run or a row is missing or ambiguous."""


class RegistryError(VpError):
    """A serving version or alias is missing, changed or in conflict."""


class RefusedError(VpError):
    """A gate or a budget said no. The input was fine; the answer is no."""

    exit_code = 1


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def listed(names: Iterable[str], empty: str = "none") -> str:
    """Return the sorted names separated by commas, or `empty`."""
    return ", ".join(sorted(names)) or empty
