"""What this package registers. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_signals() -> tuple[Component, ...]:
    """Return the signals of this package."""
    package = "vpcore_signals_stat"
    return (
        Component("ads", f"{package}.ads:Ads", "Slope of the bid/ask asymmetry of adds and pulls near the touch."),
        Component("derivative", f"{package}.derivative:Derivative", "Change of bull minus bear flow on price levels."),
        Component("erd", f"{package}.erd:Erd", "Spikes of the score's entropy across cells, signed by its asymmetry."),
        Component("msd", f"{package}.msd:Msd", "Vacuum above the mid minus vacuum below it."),
    )
