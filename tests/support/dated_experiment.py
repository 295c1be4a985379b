"""The dates of an experiment that names a range of days."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from vpcore import Workspace


@pytest.fixture
def dates(workspace: Workspace):
    """Return the dates of an experiment on a range, for a window."""

    def of(days: Any, start: str = "09:30", end: str = "16:00", symbol: str = "ESH4", **capture: Any) -> list[str]:
        first = {"symbol": symbol, "date": "2024-01-02", "start_time": start, "end_time": end, **capture}
        for kind, spec in (
            ("pipelines", {"name": "p", "capture": first, "pipeline": {"cell_width_ms": 100}}),
            ("serving", {"name": "s", "pipeline": "p", "signal": {"name": "plain"}}),
            ("experiments", {"name": "e", "serving": "s", "dates": days}),
        ):
            path = workspace.configs / kind / f"{spec['name']}.yaml"
            path.write_text(yaml.safe_dump(spec))
        return [session.label[:10] for session in workspace.experiment("e").to_harness_config().sessions]

    return of
