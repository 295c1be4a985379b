"""The exception tree of vpcore.

::

    VpError                 an error that the user can fix; exit code 2, one message
    ├── ConfigError         a spec, a parameter, a reference between specs
    ├── PluginError         a broken plugin, a duplicate name, an unknown component
    ├── SourceError         an unreadable file, or other data than market by order
    ├── EngineError         records outside the engine's rules (off-tick price, top-of-book feed)
    ├── StorageError        the lake: permissions, a full disk, a conflicting write
    ├── DatasetError        a missing, changed or incomplete dataset
    ├── SignalError         a signal that breaks its contract
    │   └── CausalityError  it looks ahead, or streaming and batch differ
    ├── ResultsError        missing or ambiguous runs and rows
    ├── RegistryError       serving versions and aliases
    └── RefusedError        a proof, a policy or a budget refuses; exit code 1

Any other exception is a bug: it keeps its traceback and exits 3.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable


class VpError(Exception):
    """Base of the errors that a user can fix.

    The message is one sentence and the fix: ``{what} must be {required}, was {was} ({where}). {fix}``. Each part is
    optional. A complete message may be given as `what` alone.

    Parameters
    ----------
    what : str
        Problem in the user's words; with `required`, the name of the wrong value.
    where : str, optional
        File, key and line; dataset, column and row.
    was : str, optional
        The value found.
    required : str, optional
        The rule that the value breaks, with units, as in ``at least 1 bin``.
    fix : str, optional
        Next step for the user: a whole sentence.

    Attributes
    ----------
    what, where, was, required, fix : str
        The parameters; empty by default.
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
        """Return the error for ``--json``: kind, whole message, and the parts; an empty part is None."""
        parts = {name: getattr(self, name) or None for name in ("what", "where", "was", "required", "fix")}
        return {"kind": type(self).__name__, "message": str(self), **parts}


class ConfigError(VpError):
    """A spec, a parameter or a reference between specs is wrong."""


class PluginError(VpError):
    """A plugin is broken, missing, or registered twice."""


class SourceError(VpError):
    """A source file is unreadable or holds other data than market by order."""


class EngineError(VpError):
    """Records break a rule of the engine."""


class StorageError(VpError):
    """Reading or writing the lake failed."""


class DatasetError(VpError):
    """A dataset is missing, changed or incomplete, or has another format."""


class SignalError(VpError):
    """A signal broke its contract."""


class CausalityError(SignalError):
    """A signal looks ahead, or its streaming and batch values differ."""


class ResultsError(VpError):
    """A run or a row is missing or ambiguous."""


class RegistryError(VpError):
    """A serving version or alias is missing, changed or in conflict."""


class RefusedError(VpError):
    """A proof, a policy or a budget refuses valid input."""

    exit_code = 1


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def listed(names: Iterable[str], empty: str = "none") -> str:
    """Return the sorted names separated by commas, or `empty`."""
    return ", ".join(sorted(names)) or empty


_LACKS = (
    *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EIO)),
    "database or disk is full",
    "The disk is full",
    "No permission",
    "MemoryError",
)


def lack_of_system(message: str | None) -> str:
    """Return what the system lacks according to an error's message: disk, memory, descriptors; else an empty string."""
    return next((lack for lack in _LACKS if lack in (message or "")), "")
