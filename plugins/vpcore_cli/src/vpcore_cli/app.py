"""The ``vp`` command: assemble the commands, and turn errors into messages and exit codes."""

from __future__ import annotations

import errno
import gc
import os
import shlex
import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.core

import vpcore
from vpcore.errors import PluginError, StorageError, VpError, did_you_mean, lack_of_system
from vpcore.plugins.manager import Plugins
from vpcore_cli import plugin
from vpcore_cli.common import (
    ANSWERED,
    COMMAND_PLUGINS,
    EXIT_INPUT,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    emit_json,
    print_error,
    say,
)

PLUGIN = "cli"
"""Name of this package's plugin."""

OLDER_OPTIONS = {
    "--lake-root": "--root, which names the workspace",
    "--signal-params-json": "--params-json",
    "--legend": "--explain",
}
"""Options of earlier releases, and their names today."""


def _version(value: bool) -> None:
    if value:
        print(f"vpcore {vpcore.__version__}")
        raise typer.Exit


class _Commands(typer.core.TyperGroup):
    """The commands of the plugins, each imported when it is called. `ctx.obj` is the `Plugins`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of registration."""
        return list(ctx.obj.components("command"))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command and return it."""
        plugins: Plugins = ctx.obj
        known = plugins.components("command")
        if cmd_name not in known:
            if package := plugin.PACKAGES.get(cmd_name):
                raise PluginError(plugins.missing_package(f"vp {cmd_name}", package))
            ctx.fail(f"No command is called '{cmd_name}'.{did_you_mean(cmd_name, known)}")
        target = plugins.load("command", cmd_name)
        app = _new_app()
        app.callback()(lambda: None)  # else typer makes the app of a single command into that command
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=cmd_name)
        else:
            app.command(cmd_name)(target)
        return typer.main.get_command(app).commands[cmd_name]  # type: ignore[attr-defined]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per heading. Commands stay unimported."""
        known = ctx.obj.components("command")
        width = max(len(name) for name in known)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, found in known.items():
            line = (name.ljust(width), found.component.summary)
            sections.setdefault(found.component.heading or "More commands", []).append(line)
        for heading, lines in sections.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


def _new_app(**options: Any) -> typer.Typer:
    return typer.Typer(
        rich_markup_mode=None,  # help through rich imports a markdown parser, and costs more than all else together
        pretty_exceptions_enable=False,
        **options,
    )


def build_app(plugins: Plugins) -> typer.Typer:
    """Return the application with the commands of `plugins`, and those of this package if they are missing there."""
    if not plugins.manager.has_plugin(PLUGIN):
        plugins.register(plugin, PLUGIN, "vpcore-cli", version("vpcore-cli"))
    app = _new_app(
        name="vp",
        help="Experiment harness for vacuum/pressure signals of the order book.",
        cls=_Commands,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "obj": plugins},
    )

    @app.callback()
    def _options(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Experiment harness for vacuum/pressure signals of the order book."""

    return app


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 refused, 2 wrong input, 3 a bug, 130 Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        plugins = Plugins()
        COMMAND_PLUGINS.set(plugins)
        ANSWERED.set(False)
        code = build_app(plugins)(given, prog_name="vp", standalone_mode=False)
    except VpError as error:
        return print_error(error, json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except (MemoryError, RecursionError) as error:
        what = "memory" if isinstance(error, MemoryError) else "room for calls within calls"
        return print_error(StorageError(f"There is not enough {what}: {error or type(error).__name__}"), json=as_json)
    except Exception as error:
        # typer brings its own copy of click, and older ones use the package: a usage error is known by its `show`.
        if callable(show := getattr(error, "show", None)):
            show()
            _print_other("UsageError", error.format_message(), as_json)  # type: ignore[attr-defined]
            for option in OLDER_OPTIONS.keys() & {text.partition("=")[0] for text in given}:
                say(f"{option} is now {OLDER_OPTIONS[option]}.")
            return EXIT_INPUT
        reason = _of_the_system(error) if isinstance(error, OSError) else ""
        if reason := reason or _named(error):
            return print_error(StorageError(reason), json=as_json)
        return _bug(error, as_json)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # polars gives up on a broken assumption of its own
            raise
        if reason := _named(error):
            return print_error(StorageError(reason), json=as_json)
        return _bug(error, as_json)
    if code == EXIT_INTERRUPTED:
        text = (
            "Interrupted. What was finished is kept and nothing is half-written. "
            f"To go on from there: {shlex.join(['vp', *given])}"
        )
        _print_other("Interrupted", text, as_json)
        say(text)
    return code if isinstance(code, int) else 0


def _bug(error: BaseException, json: bool) -> int:
    traceback.print_exc()
    text = f"This is a bug in {_owner(error)}, not in your input."
    _print_other(type(error).__name__, f"{error} {text}", json)
    say(text)
    return EXIT_INTERNAL


def _print_other(kind: str, message: str, json: bool) -> None:
    """Print an error that is no `VpError` for ``--json``: stdout is one JSON document, whatever happens."""
    if json and not ANSWERED.get():
        emit_json({"error": {**VpError(message).fields(), "kind": kind}})


def _of_the_system(error: OSError) -> str:
    """Return the sentence for an error of the system and not of the code; empty for others."""
    if error.errno == errno.EPIPE:  # whoever read the output went away; nothing more can be written there
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return "The output was closed before all of it was written"
    if error.errno in _SYSTEM:
        place = f" ({error.filename})" if error.filename else ""
        return f"The system refuses: {error.strerror}{place}"
    if error.errno == errno.ENOENT and not _has_directory():
        return "The current directory was deleted"
    return ""


def _named(error: BaseException) -> str:
    """Return the sentence for an error of the system that a library tells in words of its own; empty for others."""
    return f"The system refuses: {lack}" if (lack := lack_of_system(str(error))) else ""


_SYSTEM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.EROFS,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.EACCES,
}


def _has_directory() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _owner(error: BaseException) -> str:
    """Return the package in whose code an error came up: that of the innermost frame of vpcore or of a plugin."""
    owners = {"vpcore", "vpcore_cli"}
    if (plugins := COMMAND_PLUGINS.get()) is not None:
        registrars = (plugin for _, plugin in plugins.manager.list_name_plugin())  # not all of them can be hashed
        owners |= {getattr(plugin, "__name__", "").partition(".")[0] for plugin in registrars}
        owners |= {
            registered.component.target.partition(":")[0].partition(".")[0]
            for kind in ("signal", "source", "storage", "tracker", "executor", "sampler", "feed")
            for registered in plugins.components(kind).values()
        }
    frames = [
        frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next((name for name in reversed(frames) if name and name in owners), "vpcore")


def main() -> None:
    """Entry point of ``vp`` and ``python -m vpcore_cli``."""
    gc.set_threshold(50_000, 10, 10)  # imports make objects that stay: looking among them takes 5 % of a start
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: its number must not become that of a file of the lake
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    code = run()
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk or a closed pipe is noticed when the last of the output is written
        sys.stdout = None
        say(f"Error: the output could not be written: {error.strerror}")
        code = code or EXIT_INPUT
    sys.exit(code)
