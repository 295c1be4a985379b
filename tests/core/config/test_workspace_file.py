"""``configs/workspace.yaml``: storage, executor and tracker of a whole workspace."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vpcore import Component, ConfigError, PluginError, Workspace, hookimpl
from vpcore.storage import LocalStorage


class Deep(LocalStorage):
    """Files in a folder below the lake."""

    def __init__(self, root: Path, *, folder: str = "deep") -> None:
        super().__init__(root / folder)


def put(workspace: Workspace, text: str) -> None:
    (workspace.configs / "workspace.yaml").write_text(text)


@pytest.fixture
def deep(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    module = ModuleType("storage_of_a_test")
    module.Deep = Deep  # type: ignore[attr-defined]
    module.vp_storages = hookimpl(lambda: [Component("deep", "storage_of_a_test:Deep", "For tests.")])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "storage_of_a_test", module)
    workspace.plugins.register(module, "deep")
    return workspace


def test_without_the_file_there_are_defaults(workspace: Workspace) -> None:
    spec = workspace.specs.workspace()
    assert (spec.storage.backend, spec.executor.name, spec.tracker.backend) == ("local", "local", "none")
    assert workspace.storage.local_path("a") == workspace.lake / "a"


def test_the_storage_is_the_one_that_is_named(deep: Workspace) -> None:
    put(deep, "storage: {backend: deep, options: {folder: far}}\n")
    assert deep.storage.local_path("a") == deep.lake / "far" / "a"
    assert deep.datasets.storage is deep.storage


def test_an_option_that_the_storage_does_not_have(deep: Workspace) -> None:
    put(deep, "storage: {backend: deep, options: {foldr: far}}\n")
    expected = (
        "The storage 'deep' has no option 'foldr' (storage.options of configs/workspace.yaml). Did you mean 'folder'? "
        "Options: folder."
    )
    with pytest.raises(ConfigError, match=re.escape(expected)):
        deep.storage


def test_an_experiment_takes_what_the_workspace_names_and_overrides_it(workspace: Workspace, write: Any) -> None:
    put(workspace, "executor: {name: serial, max_workers: 3, options: {a: 1}}\ntracker: {backend: jsonl}\n")
    write("experiments/mine", "name: mine\nserving: base\n")
    config = workspace.experiment("mine").to_harness_config()
    assert (config.executor, config.max_workers, config.executor_options, config.tracker) == (
        "serial",
        3,
        {"a": 1},
        "jsonl",
    )
    write("experiments/mine", "name: mine\nserving: base\nparallel: {max_workers: 5, options: {b: 2}}\n")
    config = workspace.experiment("mine").to_harness_config()
    assert (config.executor, config.max_workers, config.executor_options) == ("serial", 5, {"a": 1, "b": 2})
    write("experiments/mine", "name: mine\nserving: base\nparallel: {executor: local}\ntracking: {backend: none}\n")
    config = workspace.experiment("mine").to_harness_config()
    assert (config.executor, config.executor_options, config.tracker) == ("local", {}, "none")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("storage:\n  backend: lokal\n", PluginError,
         "No storage is called 'lokal' (configs/workspace.yaml:2, storage.backend). Did you mean 'local'?"),
        ("executor: {name: seral}\n", PluginError,
         "No executor is called 'seral' (configs/workspace.yaml:1, executor.name). Did you mean 'serial'?"),
        ("tracker: {backend: jsonal}\n", PluginError,
         "No tracker is called 'jsonal' (configs/workspace.yaml:1, tracker.backend). Did you mean 'jsonl'?"),
        ("executor: {name: local, max_workers: 0}\n", ConfigError,
         "executor.max_workers must be at least 1, was 0 (configs/workspace.yaml:1)."),
        ("storages: {}\n", ConfigError, "configs/workspace.yaml:1"),
    ],
)  # fmt: skip
def test_an_error_names_file_and_line(workspace: Workspace, text: str, error: type[Exception], message: str) -> None:
    put(workspace, text)
    with pytest.raises(error, match=re.escape(message)):
        workspace.specs.workspace()
