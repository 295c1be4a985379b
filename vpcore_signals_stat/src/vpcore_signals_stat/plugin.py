"""The signals of this package. Each module is imported at first use."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_signals() -> tuple[Component, ...]:
    """Return the signals of this package."""
    package = "vpcore_signals_stat"
    return (
        Component("ads", f"{package}.ads:Ads", "Slope of the bid/ask asymmetry of adds and pulls near the touch."),
        Component("composite", f"{package}.composite:Composite", "ads, pfp and msd over their magnitudes, blended."),
        Component("derivative", f"{package}.derivative:Derivative", "Change of bull minus bear flow on price levels."),
        Component("erd", f"{package}.erd:Erd", "Spikes of the score's entropy across cells, signed by its asymmetry."),
        Component("iirc", f"{package}.iirc:Iirc", "Rate of change of the log ratio of arriving to leaving size."),
        Component("jad", f"{package}.jad:Jad", "Jerk against acceleration of adds less pulls, bid minus ask."),
        Component("microprice", f"{package}.microprice:Microprice", "Size-weighted mid minus mid (baseline)."),
        Component("msd", f"{package}.msd:Msd", "Vacuum above the mid minus vacuum below it."),
        Component("ofi", f"{package}.ofi:Ofi", "Order flow imbalance at the best prices or several levels (baseline)."),
        Component("pfp", f"{package}.pfp:Pfp", "Whether activity near the touch runs ahead of activity farther out."),
        Component("spg", f"{package}.spg:Spg", "Slope of net flow across the cells, its change, its touch curvature."),
    )
