"""The feed of this package, and its names in the notebook API. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_feeds() -> tuple[Component, ...]:
    return (Component("replay", "vpcore_serving.feed.replay:ReplayFeed", "A recorded session at a chosen speed."),)


@hookimpl
def vp_functions() -> tuple[Component, ...]:
    return (
        Component("confirm", "vpcore_serving.confirm:confirm", "Evaluate a row once on the reserve of its experiment."),
        Component("Confirmation", "vpcore_serving.confirm:Confirmation", "Figures of a row on the reserve."),
        Component(
            "promote", "vpcore_serving.promote:promote", "Publish a row as a serving version, and move an alias."
        ),
        Component("Promotion", "vpcore_serving.promote:Promotion", "A published version and what became of its alias."),
        Component(
            "LivePipeline", "vpcore_serving.live_pipeline:LivePipeline", "Records to the bins of a published version."
        ),
        Component("LiveBin", "vpcore_serving.live_pipeline:LiveBin", "One bin of a live pipeline."),
        Component("Exit", "vpcore_serving.positions:Exit", "The end of a position that a live pipeline follows."),
    )
