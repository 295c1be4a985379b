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
        Component(
            "new-pipeline",
            "vpcore_databento.commands.new_pipeline:new_pipeline",
            "Write a pipeline, a serving spec and a small experiment for a file, from its symbols, span and time zone.",
            "Data",
        ),
        Component(
            "new-instrument",
            "vpcore_databento.commands.new_instrument:new_instrument",
            "Write configs/instruments/ROOT.yaml: from definitions, else from a packaged instrument and the options.",
            "Data",
        ),
        Component(
            "import-spec",
            "vpcore_databento.commands.import_spec:import_spec",
            "Convert specs of the older harness and write them into configs/.",
            "Set up",
        ),
    )


@hookimpl
def vp_feeds() -> tuple[Component, ...]:
    return (
        Component(
            "databento", "vpcore_databento.feed:DatabentoFeed", "Databento's live gateway, with a snapshot first."
        ),
    )
