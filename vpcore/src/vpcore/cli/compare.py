"""``vp compare``: the stored rows, ranked, with what is needed to doubt them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.cli.common import CsvOption, JsonOption, RootOption

if TYPE_CHECKING:
    from vpcore.config import ExperimentConfig
    from vpcore.experiment.leaderboard import Ranking
    from vpcore.signal import InstalledCode
    from vpcore.workspace import Workspace


def compare(
    experiment: Annotated[str | None, typer.Argument(help="Only the rows that this experiment asks for.")] = None,
    signal: Annotated[str | None, typer.Option("--signal", help="Only rows of this signal.")] = None,
    dataset_id: Annotated[str | None, typer.Option("--dataset-id", help="Only rows of this dataset.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            help="A figure, as the table calls it, or evidence. [default: the experiment's, else net_pnl_ticks]",
        ),
    ] = None,
    min_signals: Annotated[
        int | None,
        typer.Option("--min-signals", min=0, help="Least number of trades. [default: the experiment's, else 5]"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 20,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="SETTING", help="One line per value of a setting: best, median, number."),
    ] = None,
    pivot: Annotated[
        tuple[str, str] | None,
        typer.Option("--pivot", metavar="DOWN ACROSS", help="The median for every pair of values of two settings."),
    ] = None,
    marginal: Annotated[
        bool, typer.Option("--marginals", help="What every setting does by itself: a line per value of each.")
    ] = False,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Rows that no other beats in net PnL and in trades per hour at once.")
    ] = False,
    per_session: Annotated[
        bool, typer.Option("--per-session", help="Of an experiment on several sessions: rows of each, not of all.")
    ] = False,
    stale: Annotated[bool, typer.Option("--stale", help="The rows of signals whose code was another.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Rank the stored rows of the current code, each with how likely it is to be luck, and a verdict on the leaders."""
    from functools import partial

    from vpcore.cli.common import open_workspace
    from vpcore.experiment.leaderboard import rank, rank_experiment
    from vpcore.experiment.tables import HEADINGS

    by, sort = HEADINGS.get(by or "", by), HEADINGS.get(sort or "", sort)
    if pivot is not None:
        pivot = (HEADINGS.get(pivot[0], pivot[0]), HEADINGS.get(pivot[1], pivot[1]))
    look = Look(by, pivot, marginal, pareto)
    workspace = open_workspace(root)
    if signal is not None:
        workspace.results.require_signal(signal)
    if dataset_id is not None:
        from vpcore.generation.generate import find_dataset

        dataset_id = find_dataset(workspace, dataset_id)
    config = None
    if experiment is not None:
        from vpcore.experiment.run import harness_config

        config = harness_config(workspace, experiment)
    sort = sort or (config.ranked_by if config is not None else "net_pnl_ticks")
    if min_signals is None:
        min_signals = config.min_signals if config is not None else 5
    find: Callable[..., Ranking]
    if config is not None and not stale and dataset_id is None:
        find = partial(rank_experiment, workspace, config, signal=signal, per_session=per_session)
    else:
        filters: dict[str, Any] = {"signal": signal, "dataset_id": dataset_id}
        filters |= _rows_of(workspace, config, stale)
        find = partial(rank, workspace, filters)
    show(
        find(sort=sort, min_signals=min_signals),
        sort=sort,
        min_signals=min_signals,
        limit=limit,
        json=json,
        csv=csv,
        nothing="No stored row is of other code than what is installed."
        if stale
        else f"There are no such rows. Make some with: vp run {experiment or 'EXPERIMENT'}",
        look=look,
    )


def _rows_of(workspace: Workspace, config: ExperimentConfig | None, stale: bool) -> dict[str, Any]:
    """Return the filters that name the rows of an experiment, or all, of the current code or of other code."""
    if config is None or stale:
        found: dict[str, Any] = {"code": installed_code(workspace), "stale": stale}
        return found | ({"experiment": config.name} if config is not None else {})
    from vpcore.experiment.run import plan_experiment

    plan = plan_experiment(workspace, config)
    return {"keys": [(run.run_id, trial) for run in plan.runs for trial in run.trials] if plan is not None else []}


def installed_code(workspace: Workspace) -> InstalledCode:
    """Return the digests of the core and of the installed signals, which are read as files, not imported."""
    from contextlib import suppress

    from vpcore.errors import SignalError
    from vpcore.signal import InstalledCode, code_digest, core_digest, declared_digests

    components = workspace.plugins.components("signal")
    found = declared_digests({name: registered.component.target for name, registered in components.items()})
    others = [name for name in components if name not in found]
    loaded = workspace.plugins.resolve("signal", others) if others else ()
    for registered, cls, _ in loaded:
        with suppress(SignalError):
            found |= {registered.component.name: code_digest(cls)} if cls is not None else {}
    return InstalledCode(core_digest(), found)


@dataclass(frozen=True, slots=True)
class Look:
    """Another view of a ranking than its first rows; at most one of them.

    Raises
    ------
    ConfigError
        If more than one view is given.
    """

    by: str | None = None
    pivot: tuple[str, str] | None = None
    marginals: bool = False
    pareto: bool = False

    def __post_init__(self) -> None:
        from vpcore.errors import ConfigError

        given = {"--by": self.by, "--pivot": self.pivot, "--marginals": self.marginals, "--pareto": self.pareto}
        several = [name for name, value in given.items() if value]
        if len(several) > 1:
            raise ConfigError(f"{' and '.join(several)} exclude each other: leave one of them out.")

    @property
    def asked(self) -> bool:
        """Whether there is one."""
        return bool(self.by or self.pivot or self.marginals or self.pareto)


LEADERS = 5
"""Verdicts that are printed: the best row of each signal, in the order of the ranking."""


def show(
    ranking: Ranking,
    *,
    sort: str,
    min_signals: int,
    limit: int,
    json: bool = False,
    csv: bool = False,
    nothing: str = "There are no rows.",
    look: Look | None = None,
) -> None:
    """Print ranked rows, what to think of the leaders, and what a reader must know."""
    from vpcore.cli.common import emit_json, emit_table, say
    from vpcore.experiment.leaderboard import EXPORTED, SPARE
    from vpcore.experiment.tables import for_people, people_columns, ranked
    from vpcore.inference.out_of_sample import standing

    if look is not None and look.asked and not ranking.rows.is_empty():
        if look.pareto:
            from vpcore.experiment.grouping import pareto

            ranking = replace(ranking, rows=pareto(ranking.rows))
            sort = "events_per_hour"
        else:
            _groups(ranking, sort, look, json=json, csv=csv)
    if look is not None and look.asked and not look.pareto and not ranking.rows.is_empty():
        if not json and not csv:
            say(caution(ranking, ranking.rows.height, min_signals).splitlines()[0])
        return
    rows = ranked(ranking.rows.head(limit), ranking.rows)
    if json:
        emit_json(
            {
                "sort": sort,
                "min_signals": min_signals,
                "rows": rows,
                "n_rows": ranking.rows.height,
                "n_too_few_trades": ranking.n_few,
                "n_incomplete": ranking.n_incomplete,
                "n_trials": {name: about.n_trials for name, about in ranking.evidence.items()},
                "evidence": [about.plain() for about in ranking.evidence.values()],
                "verdicts": verdicts(ranking),
                **({"splits": ranking.splits.plain()} if ranking.splits is not None else {}),
            }
        )
        return
    none = ranking.rows.is_empty() and not ranking.n_few and not ranking.n_incomplete
    empty = nothing if none else ranking.why_few
    if csv:
        emit_table(rows, EXPORTED, csv=True, empty=empty)
        return
    columns = people_columns(sort, pooled=ranking.pooled, split=ranking.splits is not None)
    emit_table(for_people(rows, sort), columns, title=f"By {sort}", empty=empty, spare=SPARE)
    if ranking.n_incomplete:
        say(
            f"{ranking.n_incomplete} combinations are not ranked: a session of theirs is not stored, or failed. "
            "See them with --per-session, and compute what is missing with vp run."
        )
    if not rows:
        return
    say(caution(ranking, len(rows), min_signals))
    for found in verdicts(ranking):
        say(f"{found['signal']} {found['row']}: {found['verdict']}.")
    if ranking.splits is not None:
        say(standing(ranking.splits))


def _groups(ranking: Ranking, sort: str, look: Look, *, json: bool, csv: bool) -> None:
    import sys

    from vpcore.cli.common import emit_json, emit_table
    from vpcore.experiment.grouping import figure_of, grouped, marginals, pivoted, print_pivot

    by, pivot = look.by, look.pivot
    figure = figure_of(sort)
    if by is not None:
        lines = grouped(ranking.rows, by, sort)
        if json:
            emit_json({"by": by, "figure": figure, "groups": lines})
            return
        emit_table(lines, (by, "best", "median", "rows", "best_row"), csv=csv, title=f"{figure} by {by}")
    elif look.marginals:
        lines = marginals(ranking.rows, sort)
        if json:
            emit_json({"figure": figure, "marginals": lines})
            return
        columns = ("setting", "value", "median", "lowest", "highest", "rows", "spread")
        emit_table(lines, columns, csv=csv, title=f"{figure} by every setting", empty="No setting varies.")
    elif pivot is not None:
        down, across = pivot
        over, lines = pivoted(ranking.rows, down, across, sort)
        title = f"median {figure}: {down} down, {across} across"
        if json:
            emit_json({"down": down, "across": across, "figure": figure, "rows": lines})
        elif csv or not sys.stdout.isatty():
            emit_table(lines, (down, *over), csv=csv)
        else:
            print_pivot(lines, down, over, title)


def verdicts(ranking: Ranking) -> list[dict[str, Any]]:
    """Return what to think of the leaders: the best row of each signal on each dataset, the best first."""
    from vpcore.inference.evidence import verdict

    leaders = ranking.rows.unique(["dataset_id", "signal_name"], keep="first", maintain_order=True).head(LEADERS)
    return [
        {
            "signal": row["signal_name"],
            "row": row["row"],
            "run_id": row["run_id"],
            "dataset_id": row["dataset_id"],
            "verdict": verdict(row, ranking.evidence[row["dataset_id"]]),
        }
        for row in leaders.to_dicts()
    ]


def caution(ranking: Ranking, n_shown: int, min_signals: int) -> str:
    """Return what a reader of a ranking must know."""
    from vpcore.experiment.tables import LEGEND, SEARCHED
    from vpcore.inference.evidence import overfitting

    fewer = f"; {ranking.n_few} rows have fewer." if ranking.n_few else "."
    lines = [f"{n_shown} of {ranking.rows.height} rows with at least {min_signals} trades{fewer}"]
    for name, about in ranking.evidence.items():
        overfit = overfitting(about, ranking.rows.filter(ranking.rows["dataset_id"] == name))
        lines.append(
            f"{about.n_trials} combinations were tried on {name} and datasets of the same market: the best of them is "
            f"partly luck.{' ' if overfit else ''}{overfit}"
        )
    if ranking.searched:
        lines.append(SEARCHED)
    if ranking.splits is not None:
        lines.append(
            "net in and net out are what a trade pays in the parts that are chosen on and in those that are not; the "
            "row that is best by net out is chosen by it, which makes it another net in."
        )
    if ranking.pooled:
        lines.append(
            "A row is a combination over all sessions: trades are added up, paid says in how many sessions it pays, "
            "worst what a trade pays in the worst. It goes by the name of its row on the latest session. "
            "--per-session shows the rows one by one."
        )
    lines.append(LEGEND)
    return "\n".join(lines)
