"""What this package registers with vpcore: nothing yet."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_signals() -> tuple[Component, ...]:
    return ()
