"""A plugin that prints, exits or hangs costs itself, and nothing else."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest

from vpcore import Component, PluginError, hookimpl
from vpcore.plugins import containment
from vpcore.plugins.manager import Plugins

Install = Callable[..., list[metadata.EntryPoint]]

LOUD = """
    print("hello from the import")
    from vpcore import Component, hookimpl

    @hookimpl
    def vp_signals():
        print("hello from the hook")
        yield Component("loud", "loud_module:Target", "A signal.")

    @hookimpl
    def vp_promoted():
        print("hello from the event")

    Target = "the target"
"""


@pytest.fixture
def plugins() -> Plugins:
    return Plugins([], disable=[])


def test_what_a_plugin_prints_goes_to_stderr(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    plugins = Plugins(install("loud", LOUD), disable=[])
    assert plugins.load("signal", "loud") == "the target"
    assert plugins.notify("vp_promoted", workspace=None, serving_id="id", alias="live", spec=None) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"hello from the {what}" for what in ("import", "hook", "event")]


def test_a_target_that_prints_or_exits_at_its_import(
    install: Install, plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    install("inner", "print('importing'); import sys; sys.exit('enough')")
    module = ModuleType("holder")
    module.vp_signals = hookimpl(lambda: [Component("s", "inner_module:S", "S.")])  # type: ignore[attr-defined]
    plugins.register(module, "p", "dist", "1.0")
    expected = r"Plugin 'p' called sys.exit\('enough'\) in the import of inner_module:S, which a plugin must not do"
    with pytest.raises(PluginError, match=expected):
        plugins.load("signal", "s")
    assert capsys.readouterr() == ("", "importing\n")


def test_an_exit_in_a_hook_costs_the_plugin_only(plugins: Plugins) -> None:
    def leave(*_: Any) -> Any:
        sys.exit(0)

    module = ModuleType("leaver")
    module.vp_signals = hookimpl(lambda: leave())  # type: ignore[attr-defined]
    module.vp_run_finished = hookimpl(lambda run_id: leave())  # type: ignore[attr-defined]
    plugins.register(module, "leaver")
    assert plugins.components("signal") == {}
    assert plugins.failed[0].error.startswith("Plugin 'leaver' called sys.exit(0) in vp_signals, which")
    told = {"workspace": None, "experiment": "e", "run_id": "r", "status": "ok", "error": None}
    assert plugins.notify("vp_run_finished", **told) == 1
    assert plugins.hook_failures[0].error.startswith("Plugin 'leaver' called sys.exit(0) in vp_run_finished, which")


def test_ctrl_c_in_a_hook_is_the_users(plugins: Plugins) -> None:
    def interrupted(run_id: str) -> None:
        raise KeyboardInterrupt

    module = ModuleType("slow")
    module.vp_run_finished = hookimpl(interrupted)  # type: ignore[attr-defined]
    plugins.register(module, "slow")
    with pytest.raises(KeyboardInterrupt):
        plugins.notify("vp_run_finished", workspace=None, experiment="e", run_id="r", status="ok", error=None)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name calls after 0.05 s, by another thread than that of earlier tests, which may sleep for 10 s."""
    monkeypatch.setattr(containment, "PATIENCE_S", 0.05)
    monkeypatch.setattr(containment, "_calls", deque())
    monkeypatch.setattr(containment, "_watcher", None)


HANGS = """
from vpcore.plugins import containment
containment._watcher.join()
"""


def test_an_import_that_hangs_is_named(
    install: Install, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    impatient(monkeypatch)
    # The import ends with the thread that watches it, which has then written the line.
    plugins = Plugins(install("hangs", HANGS), disable=[])
    assert plugins.failed == []
    expected = "Waiting for plugin 'hangs': its import has taken 0.05 s. Ctrl-C ends the command; VPCORE_DISABLE=hangs"
    assert capfd.readouterr().err.count(expected) == 1


def test_only_calls_that_run_at_their_deadline_are_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    impatient(monkeypatch)
    with containment.contained("outer", "a"):
        for _ in range(3):
            with containment.contained("quick", "b"):
                pass
        with containment.contained("inner", "c"):
            assert containment._watcher is not None
            containment._watcher.join()
    err = capfd.readouterr().err
    assert [line.split("'")[1] for line in err.splitlines()] == ["outer", "inner"]


def test_a_quick_import_is_not_named(install: Install, capfd: pytest.CaptureFixture[str]) -> None:
    Plugins(install("quick", ""), disable=[])
    assert capfd.readouterr() == ("", "")
