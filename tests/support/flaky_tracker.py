"""A workspace whose experiment reports to a tracker that is down."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from vpcore import Component, Workspace, hookimpl
from vpcore.tracker import Tracker


class Flaky(Tracker):
    """A tracker that is down until it is switched on."""

    up = False
    told: list[Any] = []  # noqa: RUF012
    tries = 0

    def log_experiment(self, name: str, specs: Any) -> None:
        json.dumps(specs)
        type(self).told.append((name, sorted(specs)))

    def log_run(self, meta: Any, rows: Any, select_metric: str) -> None:
        type(self).tries += 1
        if not self.up:
            raise ConnectionError("no answer")
        type(self).told.append((meta["run_id"], len(rows)))


@pytest.fixture
def flaky(make_proven: Callable[[str], Workspace], edit: Any, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    workspace = make_proven("ws")
    holder = ModuleType("track_test_tracker")
    holder.Flaky = Flaky  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, holder.__name__, holder)
    plugin = ModuleType("track_test_plugin")
    plugin.vp_trackers = hookimpl(lambda: [Component("flaky", "track_test_tracker:Flaky", "Down.")])  # type: ignore[attr-defined]
    workspace.plugins.register(plugin, "trackers")
    Flaky.up, Flaky.tries, Flaky.told = False, 0, []
    edit(("parallel:", "tracking: {backend: flaky}\nparallel:"))
    return workspace
