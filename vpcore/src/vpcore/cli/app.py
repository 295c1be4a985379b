"""The ``vp`` command: assembling the commands, and turning errors into messages and exit codes."""

from __future__ import annotations

import importlib
import pkgutil
import shlex
import sys
import traceback
from typing import Annotated, Any

import typer
import typer.core

import vpcore.cli
from vpcore.cli.common import COMMAND_PLUGINS, EXIT_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, print_error, say
from vpcore.errors import VpError
from vpcore.plugins import Plugins

PANELS: dict[str, tuple[str, ...]] = {
    "Set up": ("demo", "init", "validate", "plugins", "list-signals", "new-signal", "check", "schema"),
    "Data": ("inspect", "synth", "generate", "verify", "list-datasets"),
    "Experiments": ("run", "compare", "results", "plot", "report", "track", "mlflow-ui"),
    "Serving": ("promote", "serving", "online-sim"),
}
"""Help groups the commands by these headings and in this order; those of plugins come last."""

_NOT_COMMANDS = ("app", "common", "grouping", "ranking")


def _version(value: bool) -> None:
    if value:
        print(f"vpcore {vpcore.__version__}")
        raise typer.Exit


class _Commands(typer.core.TyperGroup):
    """The commands under their headings, in the order of `PANELS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        known = [name for names in PANELS.values() for name in names if name in self.commands]
        return [*known, *(name for name in self.commands if name not in known)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per heading."""
        headed = {name for names in PANELS.values() for name in names}
        width = max((len(name) for name in self.commands), default=0)
        others = tuple(name for name in self.commands if name not in headed)
        for panel, names in {**PANELS, "Of plugins": others}.items():
            commands = [(name, self.commands[name]) for name in names if name in self.commands]
            if commands:
                with formatter.section(panel):
                    rows = [(name.ljust(width), c.get_short_help_str(200)) for name, c in commands]
                    formatter.write_dl(rows)


def build_app(plugins: Plugins) -> typer.Typer:
    """Return the application with the core's commands and those of `plugins`.

    Every module of `vpcore.cli` but those of `_NOT_COMMANDS` is a command: it has ``register(app)``, and
    imports what it needs inside its functions.
    """
    app = typer.Typer(
        name="vp",
        help="Experiment harness for vacuum/pressure signals of the order book.",
        cls=_Commands,
        no_args_is_help=True,
        rich_markup_mode=None,  # help through rich imports a markdown parser, and costs more than all else together
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def _options(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Experiment harness for vacuum/pressure signals of the order book."""

    for module in pkgutil.iter_modules(vpcore.cli.__path__):
        if module.name not in _NOT_COMMANDS:
            importlib.import_module(f"vpcore.cli.{module.name}").register(app)
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
