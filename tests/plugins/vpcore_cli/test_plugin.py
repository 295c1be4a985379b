"""The commands of this package beside those of other plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from vpcore.plugins.manager import Plugins
from vpcore_cli import app
from vpcore_cli.plugin import PACKAGES

Install = Callable[..., list[metadata.EntryPoint]]
LOUD = """
    print("hello from the import")
    from vpcore import Component, hookimpl

    @hookimpl
    def vp_signals():
        print("hello from the hook")
        yield Component("loud", "loud_module:Target", "A signal.")
"""
TAKER = """
    from vpcore import Component, hookimpl

    @hookimpl
    def vp_commands():
        yield Component("run", "acme_module:run", "Another run.", "Acme")
        yield Component("own", "acme_module:own", "Of its own.", "Acme")
"""


def test_no_plugin_takes_the_name_of_a_command_or_its_place(install: Install) -> None:
    install("acme", TAKER)
    plugins = Plugins(disable=[])
    commands = plugins.components("command")
    assert list(commands)[:2] == ["init", "validate"]
    assert (commands["run"].plugin, commands["run"].package.name) == ("cli", "vpcore-cli")
    assert commands["own"].plugin == "acme"
    (failed,) = (item for item in plugins.failed if item.name == "acme")
    assert failed.error.startswith("Command 'run' is registered twice, by plugin 'cli' (vpcore-cli ")


def test_the_application_has_them_whatever_was_loaded() -> None:
    plugins = Plugins([], disable=[])
    assert plugins.components("command") == {}
    app.build_app(plugins)
    assert list(plugins.components("command")) == list(
        Plugins(metadata.entry_points(name="cli", group="vpcore")).components("command")
    )
    app.build_app(plugins)
    assert [item.name for item in plugins.loaded] == ["core", "cli"]


def test_the_packages_of_commands_are_those_that_have_them() -> None:
    commands = Plugins(disable=[]).components("command")
    others = {name: found.package.name for name, found in commands.items() if found.plugin != "cli"}
    assert others == PACKAGES


def test_a_loud_plugin_does_not_spoil_the_data_of_a_command(install: Install, tmp_path: Path) -> None:
    install("loud", LOUD)
    command = [sys.executable, "-m", "vpcore_cli", "plugins", "--json"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "loud" in [plugin["plugin"] for plugin in json.loads(done.stdout)["plugins"]]
    assert "hello from the import" in done.stderr


def test_a_command_says_what_vpcore_logs() -> None:
    code = (
        "import logging; from vpcore_cli.common import current_plugins; current_plugins(); current_plugins(); "
        "logging.getLogger('vpcore.kernels').info('Compiling')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "Compiling\n")
