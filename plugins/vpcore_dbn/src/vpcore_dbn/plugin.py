"""Components of this package. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_sources() -> tuple[Component, ...]:
    return (
        Component(
            "dbn", "vpcore_dbn.source:DbnSource", "Databento .dbn and .dbn.zst files of market-by-order records."
        ),
    )
