"""The ``vp`` command: assembling the commands, and turning errors into messages and exit codes."""

from __future__ import annotations

import importlib
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Annotated, Any

import typer
import typer.core

import vpcore
from vpcore.cli.common import COMMAND_PLUGINS, EXIT_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, print_error, say
from vpcore.errors import VpError
from vpcore.plugins.manager import Plugins

COMMANDS: dict[str, dict[str, str]] = {
    "Set up": {
        "demo": "Synthesise a market with a planted effect, and take it through every step to a promoted, simulated signal.",
        "init": "Make a workspace: configs/ with the instruments that come with vpcore, and an empty lake/.",
        "validate": "Check specs and their whole chain, signal parameters and sweep axes included, without touching data.",
        "plugins": "List the plugins, their components, and what did not load.",
        "list-signals": "List the signals: name, summary, package, version, and what failed to load.",
        "new-signal": "Write an installable package with a working signal, its parameters, its conformance test and a README.",
        "check": "Check signals: causality, batch equals stream, mirror antisymmetry, parameters that do nothing, and the rest.",
        "schema": "Print the JSON schemas of the specs.",
    },
    "Data": {
        "inspect": "Say what a file holds: schema, symbols, span, records by action, snapshot, data quality.",
        "synth": "Simulate a market order by order and write it as a DBN file that any reader of Databento files can read.",
        "generate": "Make the dataset of a pipeline.",
        "verify": "Recompute the checksums of a dataset; with --rebuild, generate it again from its source and compare.",
        "list-datasets": "List the datasets: id, symbol, span, bins, share of valid ones, size, when they were made.",
    },
    "Experiments": {
        "run": "Run an experiment: generate its dataset if it is missing, evaluate what is not stored yet, and rank the rows.",
        "compare": "Rank the stored rows of the current code, each with how likely it is to be luck, and a verdict on the leaders.",
        "results": "The results store: show a run, export rows, compact.",
        "plot": "Draw net flow around the mid, the mid with entries, and the signal, as a PNG.",
        "report": "Write an experiment or a run as one HTML file: ranking, doubt, trades, costs, provenance.",
        "track": "Report the stored runs of an experiment to its tracker; what it has already is not doubled.",
        "mlflow-ui": "Start MLflow's user interface on this lake's store, for this machine only, until Ctrl-C.",
    },
    "Trust": {
        "audit": "Look for look-ahead in a row: compute it on prefixes, with other futures, bin by bin, with other delays and fees.",
        "calibrate": "Study size and power on simulated markets: p-values, false winners, intervals, and what it takes to be found.",
    },
    "Serving": {
        "promote": "Publish a row of an experiment's results as a serving version, and let an alias name it.",
        "serving": "The published serving versions.",
        "online-sim": "Stream a dataset through scorer and signal bin by bin, time every bin, and compare with the batch values.",
    },
}
"""Help groups the commands by these headings and in this order; those of plugins come last.

A command's line is that of its docstring, held against it by a test: so that help, and every command, imports no other
command's module. The module is named like the command.
"""


def _version(value: bool) -> None:
    if value:
        print(f"vpcore {vpcore.__version__}")
        raise typer.Exit


class _Known(MutableMapping[str, Any]):
    """The commands by name; one of the core is made when it is asked for."""

    def __init__(self, commands: Mapping[str, Any]) -> None:
        self._made = dict(commands)
        self._core = [name for names in COMMANDS.values() for name in names if name not in self._made]

    def __getitem__(self, name: str) -> Any:
        if name not in self._made and name in self._core:
            app = _new_app()
            app.callback()(lambda: None)  # else typer makes the app of a single command into that command
            importlib.import_module(f"vpcore.cli.{name.replace('-', '_')}").register(app)
            self._made[name] = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._made or name in self._core

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        """In the order of the help."""
        yield from self._core
        yield from (name for name in self._made if name not in self._core)

    def __len__(self) -> int:
        return len(set(self))


class _Commands(typer.core.TyperGroup):
    """The commands under their headings, in the order of `COMMANDS`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.commands = _Known(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per heading."""
        headed = {name for names in COMMANDS.values() for name in names}
        width = max(len(name) for name in self.commands)
        others = {name: self.commands[name].get_short_help_str(200) for name in self.commands if name not in headed}
        for panel, summaries in {**COMMANDS, "Of plugins": others}.items():
            if summaries:
                with formatter.section(panel):
                    formatter.write_dl([(name.ljust(width), summary) for name, summary in summaries.items()])


def _new_app() -> typer.Typer:
    return typer.Typer(
        name="vp",
        help="Experiment harness for vacuum/pressure signals of the order book.",
        cls=_Commands,
        no_args_is_help=True,
        rich_markup_mode=None,  # help through rich imports a markdown parser, and costs more than all else together
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def build_app(plugins: Plugins) -> typer.Typer:
    """Return the application with the core's commands and those of `plugins`.

    A command of the core is a module of `vpcore.cli` with ``register(app)`` that imports what it needs inside its
    functions; `COMMANDS` lists them.
    """
    app = _new_app()

    @app.callback()
    def _options(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Experiment harness for vacuum/pressure signals of the order book."""

    plugins.add_commands(app)
    return app


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 the answer is no, 2 the user's input, 3 a bug, 130 Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        plugins = Plugins()
        COMMAND_PLUGINS.set(plugins)
        code = build_app(plugins)(given, prog_name="vp", standalone_mode=False)
    except VpError as error:
        return print_error(error)
    except (typer.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except Exception as error:
        # typer brings its own copy of click, and older ones use the package: a usage error is known by its `show`.
        if callable(show := getattr(error, "show", None)):
            show()
            return EXIT_INPUT
        traceback.print_exc()
        say("This is a bug in vpcore, not in your input.")
        return EXIT_INTERNAL
    if code == EXIT_INTERRUPTED:
        say(
            "Interrupted. What was finished is kept and nothing is half-written. "
            f"To go on from there: {shlex.join(['vp', *given])}"
        )
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of ``vp`` and ``python -m vpcore``."""
    sys.exit(run())
