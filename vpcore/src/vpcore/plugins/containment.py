"""Guard around the code of plugins: its output, its exit and its duration."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

from vpcore.errors import PluginError

PATIENCE_S = 10.0
"""Seconds after which a plugin is named on stderr."""


@contextlib.contextmanager
def contained(plugin: str, place: str) -> Iterator[None]:
    """Run code of a plugin, and keep its exit and its output away from the command.

    Output on stdout goes to stderr. After `PATIENCE_S` seconds a line on stderr names the plugin; the code runs on.
    Exceptions pass through, Ctrl-C included.

    Parameters
    ----------
    plugin : str
        Name of the plugin.
    place : str
        Hook or step, for messages: ``"its import"``, ``"vp_run_stored"``.

    Raises
    ------
    PluginError
        If the code calls `sys.exit`.
    """
    stderr = sys.stderr
    timer = threading.Timer(PATIENCE_S, lambda: print(_slow(plugin, place), file=stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        with contextlib.redirect_stdout(stderr):
            yield
    except SystemExit as error:
        raise PluginError(
            f"Plugin '{plugin}' called sys.exit({error.code!r}) in {place}, which a plugin must not do",
            fix=f"Leave it out: VPCORE_DISABLE={plugin}.",
        ) from error
    finally:
        timer.cancel()


def _slow(plugin: str, place: str) -> str:
    return (
        f"Waiting for plugin '{plugin}': {place} has taken {PATIENCE_S:g} s. Ctrl-C ends the command; "
        f"VPCORE_DISABLE={plugin} leaves the plugin out."
    )
