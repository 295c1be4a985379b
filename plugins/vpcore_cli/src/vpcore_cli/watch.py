"""Progress of a running experiment, and its summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from vpcore.errors import lack_of_system
from vpcore_cli.common import counted, progress, say, say_hook_failures, shown

if TYPE_CHECKING:
    from vpcore.experiment.progress import Best, SweepProgress
    from vpcore.experiment.recorder import SweepReport
    from vpcore.workspace import Workspace

SHOWN_FAILURES = 5

_STAGES = {
    "dataset": "generating datasets",
    "proof": "proving that signals do not look ahead",
    "run": "running",
    "report": "making the report for the tracker",
}


@contextmanager
def watched(name: str) -> Iterator[Callable[[SweepProgress], None]]:
    """Show the progress of an experiment on a terminal.

    Each stage has its own bar, total and remaining time.

    Parameters
    ----------
    name : str
        Name of the experiment.
    """
    with ExitStack() as stack:
        stage, began = "", 0.0
        update: Callable[..., None] = lambda *_, **__: None  # noqa: E731

        def on_progress(now: SweepProgress) -> None:
            nonlocal stage, began, update
            if now.stage != stage:
                stack.close()
                stage, began = now.stage, time.monotonic()
                update = stack.enter_context(progress(f"{name}: {_STAGES[stage]}", now.total))
            detail = details(now, time.monotonic() - began) if stage == "run" else in_work(now)
            update(now.done, total=now.total, detail=detail)

        yield on_progress


def details(now: SweepProgress, seconds: float) -> list[str]:
    """Return the lines below the bar: computed rows, rows per second, and the best row so far."""
    if not now.done:
        return [f"starting workers, compiling kernels; {now.total:,.0f} rows to compute"]
    parts = [f"{now.done:,.0f} of {now.total:,.0f} rows computed"]
    if seconds > 0:
        parts.append(f"{now.done / seconds:,.0f} rows/s")
    if now.reused:
        parts.append(f"{now.reused:,} stored before")
    parts.append(f"{now.failed:,} failed")
    return [", ".join(parts), *([f"best row so far: {described(now.best)}"] if now.best is not None else [])]


def in_work(now: SweepProgress) -> list[str]:
    """Return the lines below the bar of generation: finished datasets, and those in work."""
    if not now.sessions:
        return []
    return [f"{int(now.done):,} of {now.total:,.0f} datasets; in work: {', '.join(now.sessions)}"]


def described(best: Best) -> str:
    """Return a best row in a line."""
    trial = best.trial
    return (
        f"{best.metric} {shown(best.value)}, {best.signal} at threshold {shown(trial.threshold)}, cooldown "
        f"{trial.cooldown_bins}, {trial.tp_ticks}/{trial.sl_ticks} ticks, run {best.run_id[:8]}"
    )


def say_report(workspace: Workspace, report: SweepReport) -> None:
    """Print the summary of an experiment, its failures and the next steps."""
    for warning in report.warnings:
        say(f"Warning: {warning}")
    rate = f" ({report.n_computed / report.elapsed_seconds:,.0f} rows/s)" if report.n_computed else ""
    say(
        f"{report.experiment}: {counted(report.n_trials, 'row')} of {counted(len(report.run_ids), 'run')}; "
        f"{report.n_reused:,} were stored already, {report.n_computed:,} computed in "
        f"{report.elapsed_seconds:.1f} s{rate}, {report.n_failed:,} failed."
    )
    for run_id, signal, error in report.failures[:SHOWN_FAILURES]:
        say(f"Failed: run {run_id} of {signal}: {error}")
    if len(report.failures) > SHOWN_FAILURES:
        say(f"And {len(report.failures) - SHOWN_FAILURES} more runs failed.")
    if report.failures:
        say(f"They are stored with their errors and tracebacks: vp results show {report.failures[0][0]}")
    if report.failed_before:
        say(
            f"{report.n_failed_before:,} of the stored rows are of runs that failed earlier, and were left so: "
            f"vp results show {report.failed_before[0]}"
        )
    lacking = [lack for _, _, error in report.failures if (lack := lack_of_system(error))]
    if lacking:
        say(f"What failed with '{lacking[0]}' is computed again by: vp run {report.experiment}")
    if len(report.failures) > len(lacking) or report.failed_before:
        say("Edited code of a signal makes new runs. If something else has changed, try the same ones again with")
        say(f"  vp run {report.experiment} --retry-failed")
    if report.n_silent:
        say(
            f"{report.n_silent:,} runs have no value in any open bin after the warm-up: that they do not look ahead is "
            "not proved, and they cannot trade."
        )
    if report.stopped:
        say("Stopped at the first failure (--fail-fast); what was finished is stored.")
    for text in report.tracker_failures[:SHOWN_FAILURES]:
        say(f"Warning: the tracker failed, {text}. The results are stored.")
    if report.tracker_failures:
        say(f"To report them when it answers: vp track {report.experiment}")
    say_hook_failures(workspace.plugins)
