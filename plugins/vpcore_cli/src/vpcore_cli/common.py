"""Helpers of the commands: options, the workspace, errors, tables, progress."""

from __future__ import annotations

import csv as csv_module
import functools
import json as json_module
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, PluginError, VpError

if TYPE_CHECKING:
    from vpcore.plugins.manager import FailedPlugin, Plugins
    from vpcore.workspace import Workspace

EXIT_REFUSED = 1
EXIT_INPUT = 2
EXIT_INTERNAL = 3
EXIT_INTERRUPTED = 130

COMMAND_PLUGINS: ContextVar[Plugins | None] = ContextVar("COMMAND_PLUGINS", default=None)
"""The plugins of the running command, loaded once per command."""

ANSWERED: ContextVar[bool] = ContextVar("ANSWERED", default=False)
"""True after the running command has printed its JSON."""

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="The workspace. [default: VP_ROOT, else the nearest parent with configs/ and lake/]",
        show_default=False,
    ),
]


def _one_format(context: typer.Context, value: bool) -> bool:
    """Refuse ``--json`` with ``--csv``. The second option finds the mark of the first."""
    if value:
        if context.meta.get(_FORMAT_GIVEN):
            raise ConfigError("--json and --csv exclude each other", fix="Leave one of them out.")
        context.meta[_FORMAT_GIVEN] = True
    return value


_FORMAT_GIVEN = "vpcore_cli.format"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", callback=_one_format)]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.", callback=_one_format)]
ExperimentOrRow = Annotated[
    str,
    typer.Argument(metavar="EXPERIMENT|ROW", help="Name or path of an experiment, or a row as vp compare prints it."),
]
NestedOption = Annotated[bool, typer.Option("--nested", help="Even inside another workspace.")]
ExperimentArgument = Annotated[str, typer.Argument(help="Name or path of an experiment.")]
SignalOption = Annotated[str | None, typer.Option("--signal", help="Only rows of this signal.")]
DatasetOption = Annotated[str | None, typer.Option("--dataset-id", help="Only rows of this dataset.")]
StrictTrackingOption = Annotated[
    bool, typer.Option("--strict-tracking", help="Fail at the end if a tracker or a lifecycle hook has failed.")
]


def current_plugins() -> Plugins:
    """Return the plugins of the running command, or load them."""
    from vpcore.plugins.manager import Plugins

    _show_log()
    return COMMAND_PLUGINS.get() or Plugins()


def _show_log() -> None:
    """Print log messages of vpcore on stderr, such as the start of a compilation. Help and listings skip this."""
    import logging

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    logger = logging.getLogger("vpcore")
    if not logger.handlers:
        logger.addHandler(Said())
        logger.setLevel(logging.INFO)


def open_workspace(root: Path | None) -> Workspace:
    """Return the workspace at `root`, or the current workspace. See `Workspace.find`."""
    from vpcore.workspace import Workspace

    return Workspace.find(root, plugins=current_plugins())


def refuse_nested(folder: Path) -> None:
    """Refuse to make a workspace inside another workspace: a command could then use either.

    Raises
    ------
    ConfigError
        If a parent of `folder` is a workspace.
    """
    from vpcore.workspace import is_workspace

    for parent in folder.expanduser().resolve().parents:
        if is_workspace(parent):
            raise ConfigError(
                f"{folder} lies inside the workspace {parent}", fix="Name a folder outside it, or add --nested."
            )


def say(message: str) -> None:
    """Print a message for a person on stderr; a terminal wraps it at blanks. Stdout holds only data."""
    if sys.stderr.isatty() and len(message) >= (width := shutil.get_terminal_size().columns):
        fill = functools.partial(textwrap.fill, width=width - 1, break_long_words=False, break_on_hyphens=False)
        message = "\n".join(map(fill, message.splitlines()))
    print(message, file=sys.stderr, flush=True)


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, ``1 run`` or ``2,000 runs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def print_error(error: VpError, json: bool = False) -> int:
    """Print the message of an error and return its exit code.

    It goes to stderr. With `json` it goes to stdout as one object, ``{"error": {...}}``, unless the command has printed
    its answer.
    """
    if json and not ANSWERED.get():
        emit_json({"error": error.fields()})
    else:
        say(f"Error: {error}")
    return error.exit_code


def say_failed(plugins: Plugins, more: Sequence[FailedPlugin] = ()) -> None:
    """Print a line per plugin that failed to load, and per item of `more`."""
    for failure in (*plugins.failed, *more):
        say(f"Failed: {failure}")


def failed_rows(failed: Sequence[FailedPlugin], name: str = "name") -> list[dict[str, str]]:
    """Return failed plugins as JSON rows; `name` is the key of the plugin's name."""
    return [{name: f.name, "package": f.package.name, "version": f.package.version, "error": f.error} for f in failed]


def say_hook_failures(plugins: Plugins) -> None:
    """Print a warning per lifecycle hook that failed."""
    for failure in plugins.hook_failures:
        say(f"Warning: {failure.hook} of plugin '{failure.plugin}' failed: {failure.error}")


def require_tracked(plugins: Plugins, of_tracker: Sequence[str] = ()) -> None:
    """Raise if the tracker or a lifecycle hook has failed; ``--strict-tracking`` calls this at the end of a command.

    Raises
    ------
    PluginError
        With the number of failures and the first of them.
    """
    accept = "The results are complete; leave out --strict-tracking to accept this."
    if of_tracker:
        raise PluginError(
            f"The tracker failed {len(of_tracker)} times, the first time with {of_tracker[0]}", fix=accept
        )
    if plugins.hook_failures:
        first = plugins.hook_failures[0]
        raise PluginError(
            f"{len(plugins.hook_failures)} calls of lifecycle hooks failed, the first in plugin '{first.plugin}', "
            f"{first.hook}: {first.error}",
            fix=accept,
        )


def fail(message: str) -> None:
    """Print a message and stop the command with exit code 1."""
    say(message)
    raise typer.Exit(EXIT_REFUSED)


# -- data out ----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return `value` for JSON: numpy scalars as numbers, NaN and infinities as null, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        value = item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def emit_json(value: Any) -> None:
    """Print `value` as indented JSON on stdout."""
    ANSWERED.set(True)
    print(json_module.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def emit_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    json: bool = False,
    csv: bool = False,
    title: str = "",
    empty: str = "",
    spare: Sequence[str] = (),
    one_line: bool = False,
) -> None:
    """Print rows on stdout: a table for a person, aligned text in a pipe, JSON or CSV on request.

    Parameters
    ----------
    rows : iterable of mappings
        A missing key prints as an empty cell. For CSV they are taken one by one.
    columns : sequence of str
        Printed keys in order. JSON prints every key of a row.
    json, csv : bool
        Print JSON or CSV instead of a table.
    title : str
        Title of a table on a terminal.
    empty : str
        Message on stderr for an empty table.
    spare : sequence of str
        Columns that a narrow terminal drops, in this order. A line below names the dropped columns.
    one_line : bool
        Every row is one line: a terminal that is too narrow shortens cells with an ellipsis. Otherwise long cells wrap
        at blanks.
    """
    if json:
        emit_json(list(rows))
        return
    if csv:
        writer = csv_module.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_exact(row.get(name)) for name in columns] for row in rows)
        return
    rows = list(rows)
    if not rows:
        if empty:
            say(empty)
        return
    cells = [[shown(row.get(name)) for name in columns] for row in rows]
    right = [all(_is_number(row.get(name)) or row.get(name) is None for row in rows) for name in columns]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    if sys.stdout.isatty():
        kept = _that_fit(columns, widths, spare)
        _rich_table(
            [[line[i] for i in kept] for line in cells],
            [columns[i] for i in kept],
            [right[i] for i in kept],
            title,
            one_line,
        )
        out = [name for i, name in enumerate(columns) if i not in kept]
        if out:
            say(f"The terminal is too narrow for: {', '.join(out)}. They are in --csv and --json.")
        return
    for line in (list(columns), *cells):
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        print("  ".join(padded).rstrip())


def widened(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], name: str, *, at: int) -> tuple[str, ...]:
    """Return the columns with `name` at a place, or without it if a line would then be wider than the terminal.

    A pipe counts as a terminal of 80 characters.
    """
    wider = (*columns[:at], name, *columns[at:])
    width = sum(2 + max(len(column), *(len(shown(row.get(column))) for row in rows)) for column in wider) - 2
    return wider if width < shutil.get_terminal_size().columns else tuple(columns)


def shown(value: Any) -> str:
    """Return a cell for a person: floats with up to four decimals, lists with commas."""
    if value is None:
        return ""
    value = plain(value)
    if value is None:
        return "nan"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value)
    return str(value)


def _exact(value: Any) -> Any:
    value = plain(value)
    return "" if value is None else value


def _is_number(value: Any) -> bool:
    if value is None:
        return False
    value = plain(value)
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))  # only a NaN becomes None


WIDEST = 36
"""A longer cell has several lines on a terminal."""


def _that_fit(columns: Sequence[str], widths: Sequence[int], spare: Sequence[str]) -> list[int]:
    """Return the indices of the columns that fit the terminal. Only `spare` columns are dropped."""
    kept = list(range(len(columns)))
    room = shutil.get_terminal_size().columns - 1
    for name in spare:
        if sum(min(widths[i], WIDEST) + 2 for i in kept) <= room:
            break
        kept = [i for i in kept if columns[i] != name]
    return kept


def _word_widths(lines: Sequence[Sequence[str]]) -> list[int]:
    """Return the least width of every column that keeps words whole. In a narrow terminal the longest words break."""
    longest = [
        max((len(word) for text in cells for word in text.split()), default=1) for cells in zip(*lines, strict=True)
    ]
    room = shutil.get_terminal_size().columns - 2 * (len(longest) - 1)
    most = next((most for most in range(WIDEST, 1, -1) if sum(min(width, most) for width in longest) <= room), 1)
    return [min(width, most) for width in longest]


def _rich_table(
    cells: Sequence[Sequence[str]], columns: Sequence[str], right: Sequence[bool], title: str, one_line: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None, title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    least = [None] * len(columns) if one_line else _word_widths([list(columns), *cells])
    for i, (name, to_right) in enumerate(zip(columns, right, strict=True)):
        table.add_column(
            name,
            justify="right" if to_right else "left",
            overflow="ellipsis" if one_line else "fold",
            no_wrap=one_line,
            min_width=least[i],
        )
    for line in cells:
        table.add_row(*(Text(text) for text in line))  # Text: a bracket in a message is not markup
    Console().print(table)


# -- progress ----------------------------------------------------------------------------------------------------------


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[..., None]]:
    """Show progress and remaining time on stderr if stderr is a terminal.

    Parameters
    ----------
    description : str
        Label of the bar.
    total : float, optional
        Amount of work; an update may set it later.

    Yields
    ------
    callable
        ``update(done, total=None, description=None, detail=())``: `done` is the total progress so far, `detail` the
        lines below the bar.
    """
    if not sys.stderr.isatty():
        yield lambda done, total=None, description=None, detail=(): None
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    lines: Sequence[str] = ()

    class Shown(bars.Progress):
        def get_renderables(self) -> Iterator[Any]:
            yield self.make_tasks_table(self.tasks)
            for line in lines:
                yield Text(line, no_wrap=True, overflow="ellipsis")

    text = bars.TextColumn("{task.description}", markup=False)
    parts = (bars.BarColumn(), bars.TaskProgressColumn(), bars.TimeElapsedColumn(), bars.TimeRemainingColumn())
    with Shown(text, *parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)

        def update(
            done: float, total: float | None = None, description: str | None = None, detail: Sequence[str] = ()
        ) -> None:
            nonlocal lines
            lines = detail
            bar.update(task, completed=done, total=total, description=description)

        yield update
