"""What the system refuses is a sentence, and a bug names the package that has it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vpcore import Component, hookimpl
from vpcore.plugins.manager import Plugins
from vpcore_cli import app


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "The system refuses: No space left on device"),
        (OSError(errno.EMFILE, "Too many open files", "x.yaml"), 2, "Too many open files (x.yaml)"),
        (MemoryError(), 2, "There is not enough memory"),
        (RecursionError("maximum depth"), 2, "There is not enough room for calls within calls: maximum depth"),
        (IndexError("list index"), 3, "This is a bug in vpcore_cli, not in your input."),
    ],
)
def test_what_the_system_refuses_is_no_bug(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(app, "build_app", lambda plugins: fails)
    assert app.run(["list-signals"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "owner"),
    [
        ("vpcore.units", "vpcore"),
        ("vpcore_cli.common", "vpcore_cli"),
        ("vpcore_serving.registry", "vpcore_serving"),
        ("", "vpcore_cli"),  # code without a module belongs to its caller
    ],
)
def test_a_bug_is_named_by_the_package_of_its_innermost_frame(
    module: str, owner: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    inside: dict[str, Any] = {"__name__": module}
    exec("def call(*_, **__):\n    return [][0]\n", inside)
    plugins = Plugins()
    plugins.register(SimpleNamespace(), "without a name")
    monkeypatch.setattr(app, "Plugins", lambda: plugins)
    monkeypatch.setattr(app, "build_app", lambda plugins: inside["call"])
    assert app.run(["list-signals"]) == 3
    assert f"This is a bug in {owner}, not in your input." in capsys.readouterr().err


def test_a_bug_of_a_plugin_is_named_by_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "vp_broken_signal.py").write_text("def answer():\n    return [][0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    class Plugin:
        @hookimpl
        def vp_signals(self) -> Any:
            return [Component("broken", "vp_broken_signal:Broken", "For tests.")]

    plugins = Plugins([])
    plugins.register(Plugin(), "tests")
    monkeypatch.setattr(app, "Plugins", lambda: plugins)

    def call(*_: Any, **__: Any) -> Any:
        import vp_broken_signal

        return vp_broken_signal.answer()

    monkeypatch.setattr(app, "build_app", lambda plugins: call)
    assert app.run(["check", "broken"]) == 3
    assert "This is a bug in vp_broken_signal, not in your input." in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_or_closed_output_is_a_sentence() -> None:
    command = [sys.executable, "-m", "vpcore_cli", "list-signals"]
    with open("/dev/full", "w") as full:
        found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert found.returncode == 2
    assert "No space left on device" in found.stderr
    assert "Traceback" not in found.stderr
    read, write = os.pipe()
    os.close(read)
    closed = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    none = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False)
    for found in (closed, none):
        assert "Traceback" not in found.stderr
        assert "bug" not in found.stderr
    assert none.returncode == 0
