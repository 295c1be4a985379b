"""Components and hooks of this package. Nothing is imported before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore import Component, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from vpcore import Workspace
    from vpcore.config import ExperimentConfig


@hookimpl
def vp_commands() -> tuple[Component, ...]:
    commands = "vpcore_report.commands"
    return (
        Component(
            "plot",
            f"{commands}.plot:plot",
            "Draw net flow around the mid, the mid with entries and exits, and the signal, as a PNG.",
            "Experiments",
        ),
        Component(
            "plot-pivot",
            f"{commands}.plot_pivot:plot_pivot",
            "Draw the median figure for every pair of values of two settings of an experiment, as a PNG.",
            "Experiments",
        ),
        Component(
            "plot-equity",
            f"{commands}.plot_equity:plot_equity",
            "Draw the cumulative net PnL of one or several rows over each other, as a PNG.",
            "Experiments",
        ),
        Component(
            "report",
            f"{commands}.report:report",
            "Write an experiment, a run or a row as one HTML file: ranking, doubt, trades on the market, costs, provenance.",
            "Experiments",
        ),
        Component(
            "execution",
            f"{commands}.execution:execution",
            "Compare a row as a taker and as a maker: fill rate, PnL, and the mid after a fill.",
            "Experiments",
        ),
        Component(
            "tearsheet",
            f"{commands}.tearsheet:tearsheet",
            "Write what a signal says about later returns, before barriers and thresholds, as one HTML page.",
            "Experiments",
        ),
    )


@hookimpl
def vp_functions() -> tuple[Component, ...]:
    return (
        Component("report", "vpcore_report.write:write_report", "Write an experiment, run or row as one HTML file."),
        Component("execution", "vpcore_report.execution:execution", "A row as a taker and as a maker, side by side."),
        Component("tearsheet", "vpcore_report.tearsheet:tearsheet", "Figures of any values against later returns."),
    )


@hookimpl
def vp_experiment_finished(workspace: Workspace, config: ExperimentConfig, folder: Path | None) -> None:
    if folder is not None:
        from vpcore_report.write import write_for_tracker

        write_for_tracker(workspace, config, folder)
