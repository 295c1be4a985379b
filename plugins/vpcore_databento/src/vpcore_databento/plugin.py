"""Components of this package. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_commands() -> tuple[Component, ...]:
    return (
        Component(
            "fetch",
            "vpcore_databento.commands.fetch:fetch",
            "Download market-by-order records or definitions from Databento, after a look at size and cost.",
            "Data",
        ),
    )


@hookimpl
def vp_feeds() -> tuple[Component, ...]:
    return (
        Component(
            "databento", "vpcore_databento.feed:DatabentoFeed", "Databento's live gateway, with a snapshot first."
        ),
    )
