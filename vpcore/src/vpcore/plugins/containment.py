"""Guard around the code of plugins: its output, its exit and its duration."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TextIO

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
    call = _Call(plugin, place, sys.stderr)
    _watch(call)
    try:
        with contextlib.redirect_stdout(call.stderr):
            yield
    except SystemExit as error:
        raise PluginError(
            f"Plugin '{plugin}' called sys.exit({error.code!r}) in {place}, which a plugin must not do",
            fix=f"Leave it out: VPCORE_DISABLE={plugin}.",
        ) from error
    finally:
        call.ended = True


# -- calls that take long ----------------------------------------------------------------------------------------------


class _Call:
    def __init__(self, plugin: str, place: str, stderr: TextIO) -> None:
        self.plugin, self.place, self.stderr = plugin, place, stderr
        self.deadline = time.monotonic() + PATIENCE_S
        self.ended = False


_calls: deque[_Call] = deque()
"""The calls of the last `PATIENCE_S` seconds, by deadline. One thread watches them: a thread for each call would
take longer to start than most calls take."""

_watch_lock = threading.Lock()
_watcher: threading.Thread | None = None


def _watch(call: _Call) -> None:
    global _watcher
    with _watch_lock:
        _calls.append(call)
        if _watcher is None or not _watcher.is_alive():  # it does not outlive a fork
            _watcher = threading.Thread(target=_name_slow_calls, args=(_calls,), name="vpcore-plugins", daemon=True)
            _watcher.start()


def _name_slow_calls(calls: deque[_Call]) -> None:
    """Name each call that has not ended at its deadline. The thread ends when no call is left."""
    global _watcher
    while True:
        with _watch_lock:
            if not calls:
                if _watcher is threading.current_thread():
                    _watcher = None
                return
            call = calls.popleft()
        if not call.ended:
            time.sleep(max(0.0, call.deadline - time.monotonic()))
        if not call.ended:
            print(_slow(call.plugin, call.place), file=call.stderr, flush=True)


def _slow(plugin: str, place: str) -> str:
    return (
        f"Waiting for plugin '{plugin}': {place} has taken {PATIENCE_S:g} s. Ctrl-C ends the command; "
        f"VPCORE_DISABLE={plugin} leaves the plugin out."
    )
