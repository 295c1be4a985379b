"""Components of this package. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_sources() -> tuple[Component, ...]:
    return (
        Component(
            "synthetic", "vpcore_market.source:SyntheticSource", "A calibrated market, simulated order by order."
        ),
    )


@hookimpl
def vp_commands() -> tuple[Component, ...]:
    commands = "vpcore_market.commands"
    return (
        Component(
            "demo",
            f"{commands}.demo:demo",
            "Simulate a market with a planted effect, and take it through every step to a promoted, simulated signal.",
            "Set up",
        ),
        Component(
            "synth",
            f"{commands}.synth:synth",
            "Simulate a market order by order and write it as a DBN file that any reader of Databento files can read.",
            "Data",
        ),
        Component(
            "inspect-market",
            f"{commands}.inspect_market:inspect_market",
            "Measure spread, depth, sizes and rhythm of a file's market, beside three simulated markets of the same length.",
            "Data",
        ),
        Component(
            "calibrate",
            f"{commands}.calibrate:calibrate",
            "Study size and power on simulated markets: p-values, false winners, intervals, and what it takes to be found.",
            "Trust",
        ),
    )
