"""Components of this package; vpcore imports a target on first use."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_commands() -> tuple[Component, ...]:
    summary = "Stream published versions to programs and to a web page, from a replay or a live feed."
    return (Component("serve", "vpcore_server.commands:serve", summary, "Serving"),)
