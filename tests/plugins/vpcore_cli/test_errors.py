"""How the command line prints errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from vpcore import ConfigError, Workspace
from vpcore.plugins.manager import Plugins
from vpcore_cli import app, common
from vpcore_cli.app import build_app, run


def test_with_json_an_error_is_one_object_on_stdout(tmp_path, capsys):
    workspace, _ = Workspace.create(tmp_path / "ws")
    arguments = ["serving", "show", "prod", "--root", str(workspace.root)]
    assert run(arguments) == 2
    plain = capsys.readouterr()
    assert plain.out == ""
    assert plain.err.startswith("Error: No serving version or alias is called 'prod'")
    assert run([*arguments, "--json"]) == 2
    found = capsys.readouterr()
    assert found.err == ""
    error = json.loads(found.out)["error"]
    assert error["kind"] == "RegistryError"
    assert f"Error: {error['message']}\n" == plain.err
    assert set(error) == {"kind", "message", "what", "where", "was", "required", "fix"}


def test_after_its_answer_a_command_prints_errors_on_stderr(capsys):
    common.ANSWERED.set(False)
    common.emit_json({"answer": 1})
    assert common.print_error(ConfigError("A hook has failed"), json=True) == 2
    found = capsys.readouterr()
    assert json.loads(found.out) == {"answer": 1}
    assert found.err == "Error: A hook has failed\n"


def _with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if any("--json" in getattr(parameter, "opts", ()) for parameter in command.params):
        yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from _with_json(inner, (*path, name))


def test_with_json_every_command_answers_every_error_with_one_document(tmp_path, capsys, monkeypatch):
    """An unknown option, a missing argument, no workspace, Ctrl-C and a bug."""
    plugins = Plugins()
    group = typer.main.get_command(build_app(plugins))
    names = [
        path
        for name in plugins.components("command")
        for path in _with_json(group.get_command(SimpleNamespace(obj=plugins, fail=pytest.fail), name), (name,))
    ]
    assert len(names) > 20
    monkeypatch.setattr(app, "Plugins", lambda: plugins)
    for path in names:
        for more in (["--no-such-option"], ["--root", str(tmp_path)], ["a", "b", "c", "d", "e"]):
            code = run([*path, "--json", *more])
            found = capsys.readouterr()
            if code == 0 and path[0] in ("plugins", "list-signals", "check"):  # these need no workspace
                continue
            assert code == 2, (path, more, found)
            assert json.loads(found.out)["error"]["message"], (path, more)

    for raised, kind, code in ((KeyboardInterrupt(), "Interrupted", 130), (ValueError("odd"), "ValueError", 3)):
        monkeypatch.setattr(app, "build_app", lambda plugins, raised=raised: _raises(raised))
        assert run(["doctor", "--json"]) == code
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["kind"] == kind
        assert ("This is a bug in" in error["message"]) == (code == 3)


def test_a_panic_of_polars_is_an_error_of_the_system_or_a_bug(capsys, monkeypatch):
    panic = type("PanicException", (BaseException,), {})
    for text, code, kind in (
        ("called `unwrap()`: Os { code: 24, message: Too many open files }", 2, "StorageError"),
        ("index out of bounds", 3, "PanicException"),
    ):
        monkeypatch.setattr(app, "build_app", lambda plugins, text=text: _raises(panic(text)))
        assert run(["doctor", "--json"]) == code
        assert json.loads(capsys.readouterr().out)["error"]["kind"] == kind
    for error in (
        ImportError("libpolars.so: cannot open shared object file: Too many open files"),
        OSError("Too many open files (os error 24): part-ab.parquet"),  # of polars, without a number
    ):
        monkeypatch.setattr(app, "build_app", lambda plugins, error=error: _raises(error))
        assert run(["doctor"]) == 2
        assert "Error: The system refuses: Too many open files" in capsys.readouterr().err
    monkeypatch.setattr(app, "build_app", lambda plugins: _raises(SystemExit(5)))
    with pytest.raises(SystemExit):
        run(["doctor"])


def _raises(error):
    def command(*_, **__):
        raise error

    return command
