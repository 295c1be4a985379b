"""``vp compare``: ranked rows with their evidence."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, ResultsError, did_you_mean, listed
from vpcore_cli.common import (
    CsvOption,
    DatasetOption,
    JsonOption,
    RootOption,
    SignalOption,
    counted,
    emit_json,
    emit_table,
    open_workspace,
    say,
    widened,
)

if TYPE_CHECKING:
    import polars as pl

    from vpcore.experiment.compare_rows import RowComparison
    from vpcore.experiment.leaderboard import Leaderboard
    from vpcore.workspace import Workspace
    from vpcore_cli.notes import Note


MANY_TIMEOUTS = 0.8
"""Share of timeouts above which the barriers decide little."""


def compare(
    target: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EXPERIMENT | ROW ROW]", help="Only the rows of this experiment; or two rows."),
    ] = None,
    signal: SignalOption = None,
    dataset_id: DatasetOption = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            help="A column of the table, or evidence. [default: the experiment's, else net_pnl_ticks]",
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
        bool, typer.Option("--marginals", help="The effect of each setting: a line per value.")
    ] = False,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Rows on the frontier of net PnL and trades per hour.")
    ] = False,
    per_session: Annotated[
        bool, typer.Option("--per-session", help="Rows per session, for an experiment on several sessions.")
    ] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Rows of other code than the installed code.")] = False,
    tag: Annotated[str | None, typer.Option("--tag", help="Only rows with this tag; see vp results tag.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Archived rows too; see vp results archive.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="All columns, however wide the terminal is.")] = False,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B,...", help="These columns, by heading or by name in the store."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Explain every column.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Rank the stored rows of the current code, with the evidence against luck and a verdict on the leaders.

    Two rows instead of an experiment: settings that differ, shared and own trades, paired difference of the net PnL.
    """
    if target is not None and len(target) > 1:
        if len(target) > 2:
            raise ConfigError("vp compare", required="an experiment or two rows", was=f"{len(target)} names")
        _two(open_workspace(root), target[0], target[1], json=json, csv=csv)
        return
    experiment = target[0] if target else None
    from vpcore.experiment.leaderboard import leaderboard
    from vpcore.experiment.tables import HEADINGS
    from vpcore_cli.notes import notes_of

    by, sort = HEADINGS.get(by or "", by), HEADINGS.get(sort or "", sort)
    if pivot is not None:
        pivot = (HEADINGS.get(pivot[0], pivot[0]), HEADINGS.get(pivot[1], pivot[1]))
    chosen = tuple(name.strip() for name in columns.split(",")) if columns is not None else None
    view = View(sort, min_signals, signal, None, limit, by, pivot, marginal, pareto, wide, chosen, tag, archived)
    workspace = open_workspace(root)
    if signal is not None:
        _require_signal(workspace, signal)
    if dataset_id is not None:
        view = replace(view, dataset_id=workspace.datasets.find(dataset_id))
        per_session = True
    config = None
    if experiment is not None:
        from vpcore.experiment.run import harness_config

        config = harness_config(workspace, experiment)
    board = leaderboard(workspace, config, per_session=per_session, stale=stale)
    if config is not None and config.description and not json and not csv:
        say(f"{config.name}: {config.description}")
    nothing = "Every stored row is of the installed code."
    if not stale and board.ranking.is_empty():
        named = experiment or "EXPERIMENT"
        nothing = f"No stored row matches. Make rows with: vp run {named}"
        if n_old := leaderboard(workspace, config, stale=True).ranking.height:
            nothing = f"{n_old} rows of other code are stored: see --stale. Compute them anew with: vp run {named}"
    show(board, view, json=json, csv=csv, explain=explain, nothing=nothing, notes=notes_of(workspace).all())


def _remarks(notes: Sequence[Note]) -> list[pl.Series]:
    import polars as pl

    return [
        pl.Series("tags", [list(note.tags) for note in notes], dtype=pl.List(pl.String)),
        pl.Series("notes", [list(note.texts) for note in notes], dtype=pl.List(pl.String)),
        pl.Series("archived", [note.archived for note in notes], dtype=pl.Boolean),
    ]


def _two(workspace: Workspace, a: str, b: str, *, json: bool, csv: bool) -> None:
    from vpcore.experiment.compare_rows import compare_rows

    found = compare_rows(workspace, a, b)
    if json:
        emit_json(found.plain())
        return
    rows = [asdict(setting) for setting in found.settings]
    emit_table(rows, ("name", "a", "b"), csv=csv, empty="The two rows have the same settings.")
    for text in of_two(found):
        say(text)


def of_two(found: RowComparison) -> list[str]:
    """Return the comparison of two rows as sentences."""
    lines = [
        f"a, {found.a.row}: {found.a.figures['trades']} trades, {_ticks(found.a.figures['net_pnl_ticks'])} net each; "
        f"it {found.a.verdict}.",
        f"b, {found.b.row}: {found.b.figures['trades']} trades, {_ticks(found.b.figures['net_pnl_ticks'])} net each; "
        f"it {found.b.verdict}.",
        f"{found.n_shared} trades enter at the same time on the same side: {_ticks(found.net_shared_a)} each in a, "
        f"{_ticks(found.net_shared_b)} in b.",
        f"{found.n_only_a} trades are of a alone, {_ticks(found.net_only_a)} each; {found.n_only_b} of b alone, "
        f"{_ticks(found.net_only_b)} each.",
    ]
    if not found.minutes:
        return [*lines, "The two rows have no time in common: their PnL cannot be paired."]
    band = ""
    if not math.isnan(found.difference_lo):
        band = f", 95 % from {found.difference_lo:+.2f} to {found.difference_hi:+.2f}"
    alike = "" if math.isnan(found.correlation) else f" Correlation of the PnL per minute: {found.correlation:.2f}."
    return [
        *lines,
        f"a less b over {found.minutes} minutes in common: {found.difference:+.2f} ticks per hour{band}. The interval "
        f"is that of two rows named beforehand; the best of many is partly luck.{alike}",
    ]


def _ticks(value: float | None) -> str:
    return "no" if value is None or math.isnan(value) else f"{value:+.3f} ticks"


@dataclass(frozen=True, slots=True)
class View:
    """Selection and order of the printed rows; None leaves the choice to the leaderboard.

    `columns` are the columns of the table; `wide` shows all. At most one of `by`, `pivot`, `marginals` and `pareto`
    replaces the first rows of the ranking.

    Raises
    ------
    ConfigError
        If more than one of them is given.
    """

    sort: str | None = None
    min_signals: int | None = None
    signal: str | None = None
    dataset_id: str | None = None
    limit: int = 20
    by: str | None = None
    pivot: tuple[str, str] | None = None
    marginals: bool = False
    pareto: bool = False
    wide: bool = False
    columns: tuple[str, ...] | None = None
    tag: str | None = None
    archived: bool = False

    def __post_init__(self) -> None:
        given = {"--by": self.by, "--pivot": self.pivot, "--marginals": self.marginals, "--pareto": self.pareto}
        several = [name for name, value in given.items() if value]
        if len(several) > 1:
            raise ConfigError(f"{' and '.join(several)} exclude each other", fix="Leave one of them out.")


def show(
    board: Leaderboard,
    view: View,
    *,
    json: bool = False,
    csv: bool = False,
    explain: bool = False,
    nothing: str = "There are no rows.",
    notes: Mapping[str, Note] | None = None,
) -> None:
    """Print ranked rows, cautions, and the verdicts on the leaders."""
    from vpcore.experiment.tables import HEADINGS
    from vpcore.inference.evidence import too_few
    from vpcore.inference.out_of_sample import split_summary
    from vpcore_cli.notes import NO_NOTE, note_key
    from vpcore_cli.tables import (
        EXPORTED,
        LEGEND,
        axes_column,
        chosen_columns,
        each_ranked,
        for_people,
        people_columns,
        ranked,
        short_columns,
    )

    sort = view.sort or board.select
    least = board.min_signals if view.min_signals is None else view.min_signals
    every = board.selected(sort=sort, min_signals=0, signal=view.signal, dataset_id=view.dataset_id)
    remarks = [(notes or {}).get(note_key(row), NO_NOTE) for row in every.iter_rows(named=True)] if notes else []
    n_archived = 0
    if remarks:
        every = every.with_columns(_remarks(remarks))
        if view.tag is not None:
            every = every.filter(every["tags"].list.contains(view.tag))
        if not view.archived:
            n_archived = int(every["archived"].sum())
            every = every.filter(~every["archived"])
    elif view.tag is not None:
        every = every.clear()
    found = every.filter(every["trades"] >= least) if least > 0 else every
    n_few = every.height - found.height
    if view.pareto:
        from vpcore_cli.grouping import pareto

        found, sort = pareto(board.whole(found)), "events_per_hour"
    elif (view.by or view.pivot or view.marginals) and not found.is_empty():
        _groups(board.whole(found), sort, view, json=json, csv=csv)
        if not json and not csv:
            say(_counted(found.height, found.height, least, n_few))
        return
    whole = board.whole(found.head(view.limit))
    if csv:
        names = EXPORTED if view.columns is None else chosen_columns(view.columns, ranked(whole.head(1), found))
        emit_table(each_ranked(whole, found), [HEADINGS.get(name, name) for name in names], csv=True)
        return
    rows = ranked(whole, found)
    if json:
        _emit_json(board, found, rows, sort, least, n_few)
        return
    empty = nothing
    if not rows and (not every.is_empty() or board.n_incomplete):
        empty = too_few(board.whole(every), least)
    several = not board.pooled and found["dataset_id"].n_unique() > 1
    if view.columns is not None:
        columns = chosen_columns(view.columns, rows)
    else:
        make = people_columns if view.wide else short_columns
        columns = make(sort, pooled=board.pooled, split=board.splits is not None, sessions=several)
        if any(row.get("tags") for row in rows):
            columns = (*columns, "tags")
        if view.wide and any((row.get("fill_rate") or 1.0) < 1.0 for row in rows):
            columns = (*columns[:-1], "fill_rate", columns[-1])
    table = for_people(rows)
    if view.columns is None and not view.wide:
        heading, cells = axes_column(table, found)
        if heading:
            table = [{**row, heading: cell} for row, cell in zip(table, cells, strict=True)]
            columns = widened(table, columns, heading, at=columns.index("signal") + 1)
        if any(row["varied"] for row in table):
            columns = widened(table, columns, "varied", at=len(columns))
    emit_table(table, columns, title=f"By {sort}", empty=empty, one_line=not view.wide)
    if n_archived:
        say(f"Archived and hidden: {n_archived} row{'' if n_archived == 1 else 's'}. See --archived.")
    if board.n_incomplete:
        say(
            f"{board.n_incomplete} combinations are not ranked: a session is missing or failed. See them with "
            "--per-session, and compute the missing rows with vp run."
        )
    if not rows:
        return
    say(_counted(len(rows), found.height, least, n_few))
    for text in cautions(board, found):
        say(text)
    for leader in board.leaders(found):
        say(f"{leader.signal} {leader.row}: {leader.verdict}.")
    if board.splits is not None:
        say(split_summary(board.splits))
    say(LEGEND if explain else "Columns: --explain, --wide, --columns row,net,dsr, or docs/reference/results.md.")


def _emit_json(
    board: Leaderboard, found: pl.DataFrame, rows: list[dict[str, Any]], sort: str, least: int, n_few: int
) -> None:
    emit_json(
        {
            "sort": sort,
            "min_signals": least,
            "rows": rows,
            "n_rows": found.height,
            "n_too_few_trades": n_few,
            "n_incomplete": board.n_incomplete,
            "n_trials": {about.dataset_id: about.n_trials for about in board.evidence.values()},
            "reserve": board.reserve or None,
            **evidence_json(board, found),
        }
    )


def _groups(rows: pl.DataFrame, sort: str, view: View, *, json: bool, csv: bool) -> None:
    from vpcore_cli.grouping import figure_of, grouped, label, marginals, pivoted

    by, figure = view.by, figure_of(sort)
    columns: tuple[Any, ...]
    if by is not None:
        lines = grouped(rows, by, sort)
        answer: dict[str, Any] = {"by": by, "figure": figure, "groups": lines}
        columns, title = (by, "best", "median", "rows", "best_row"), f"{figure} by {by}"
    elif view.pivot is not None:
        down, across = view.pivot
        over, lines = pivoted(rows, down, across, sort)
        if sys.stdout.isatty() and not json and not csv:
            from vpcore_cli.pivot import print_pivot

            print_pivot(lines, down, over, f"median {figure}: {down} down, {across} across")
            return
        answer = {"down": down, "across": across, "figure": figure, "rows": lines}
        columns, title = (down, *over), ""
    else:
        lines = marginals(rows, sort)
        answer = {"figure": figure, "marginals": lines}
        columns = ("setting", "value", "median", "lowest", "highest", "rows", "spread")
        title = f"{figure} by every setting"
    if json:
        emit_json(answer)
    else:
        if not csv and not view.marginals:
            lines = [{**line, columns[0]: label(line[columns[0]])} for line in lines]
        emit_table(lines, columns, csv=csv, title=title, empty="No setting varies.")


def evidence_json(board: Leaderboard, rows: pl.DataFrame) -> dict[str, Any]:
    """Return the evidence of a leaderboard and the verdicts on the leaders of a view as JSON values."""
    names = ("signal", "row", "run_id", "dataset_id", "verdict")
    return {
        "evidence": [about.plain() for about in board.evidence.values()],
        "verdicts": [{name: getattr(leader, name) for name in names} for leader in board.leaders(rows)],
        **({"splits": board.splits.plain()} if board.splits is not None else {}),
    }


def _counted(n_shown: int, n_rows: int, min_signals: int, n_few: int) -> str:
    trades = f"{min_signals} trade{'' if min_signals == 1 else 's'}"
    fewer = f"; {n_few} {'row has' if n_few == 1 else 'rows have'} fewer." if n_few else "."
    which = f"{n_rows} rows have" if n_rows != 1 else "1 row has"
    if n_shown == n_rows:
        return f"{which} at least {trades}{fewer}"
    return f"Shown: the first {n_shown} (vp compare --limit). {which} at least {trades}{fewer}"


def _require_signal(workspace: Workspace, name: str) -> None:
    """Refuse the name of a signal that the store lacks, unless the store is empty."""
    results = workspace.results
    names = sorted(results.read(lambda: results.meta().select("signal_name"))["signal_name"].unique().to_list())
    if names and name not in names:
        raise ResultsError(
            f"No row of a signal '{name}' is stored",
            fix=f"{did_you_mean(name, names)} There are rows of: {listed(names)}.",
        )


def cautions_on_trades(leaders: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is to be said of the trades of leading rows: mid prices, no fee, timeouts nearly always.

    Parameters
    ----------
    leaders : sequence of mappings
        Rows of `vpcore.experiment.leaderboard.Leaderboard.frame`.
    """
    from vpcore.backtest.config import EvalConfig

    lines = []
    configs = [EvalConfig.of_row(row["eval_json"]) for row in leaders]
    if any(config.price == "mid" for config in configs):
        lines.append("Trades are on the mid (eval.price: mid), where nobody trades: net PnL is without the spread.")
    if any(config.fee_ticks == 0.0 for config in configs):
        lines.append("Trades are without a fee (eval.fee_ticks: 0).")
    for row in leaders:
        rate = row["timeout_rate"]
        if rate is not None and rate > MANY_TIMEOUTS:
            lines.append(
                f"{rate:.0%} of the trades of {row['signal_name']} {row['row']} time out: the hold decides what they "
                "pay, not the barriers. Set nearer barriers or a longer eval.max_hold_bins."
            )
    return lines


def cautions(board: Leaderboard, rows: pl.DataFrame) -> list[str]:
    """Return the cautions on these rows of a leaderboard, as sentences."""
    from vpcore.experiment.tables import SEARCHED
    from vpcore.inference.evidence import overfitting
    from vpcore_cli.tables import described

    lines = cautions_on_trades([leader.figures for leader in board.leaders(rows)])
    shown = {name: board.evidence[name] for name in rows["family"].unique(maintain_order=True)}
    for dataset_id, n_trials in {about.dataset_id: about.n_trials for about in shown.values()}.items():
        n_rows = sum(about.n_rows for about in shown.values() if about.dataset_id == dataset_id)
        lines.append(
            f"{counted(n_trials, 'trial')} on {described(dataset_id)} and datasets of the same market so far: the best "
            f"row is partly luck. A trial is a row with trades of its own; here are {counted(n_rows, 'row')}."
        )
        later = {about.experiment for about in shown.values() if about.dataset_id == dataset_id and about.later}
        if later:
            lines.append(f"{listed(later)} came after a look at this market: p_adj counts all its trials.")
        lost = {about.experiment for about in shown.values() if about.dataset_id == dataset_id and about.lost}
        if lost:
            lines.append(
                f"Stored rows of {listed(lost)} are gone, deleted or lost: p_adj counts all trials of the market. "
                "To compute them again: vp run"
            )
        for name, about in shown.items():
            overfit = overfitting(about, board.ranking.filter(board.ranking["family"] == name).select("net_pnl_ticks"))
            if about.dataset_id == dataset_id and overfit:
                lines.append(f"{about.experiment}: {overfit[0].lower()}{overfit[1:]}" if len(shown) > 1 else overfit)
    if board.reserve:
        lines.append(board.reserve)
    if board.searched:
        lines.append(SEARCHED)
    if board.splits is not None:
        lines.append(
            "net in and net out are the net PnL per trade in the parts that the choice uses and in the other parts. "
            "A row chosen by net out needs other data to judge it."
        )
    if board.pooled:
        lines.append(
            "A row is a combination over all sessions: trades are added up, paid is the number of sessions with a net "
            "PnL above 0, worst the net PnL per trade of the worst session. It has the name of its row on the latest "
            "session. --per-session shows the rows one by one."
        )
    return lines
