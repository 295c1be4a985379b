"""Registration of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpcore.kernels.jit import _cache_folder, _caller_root
from vpcore_cli.app import run
from vpcore_market import plugin
from vpcore_market.kernels import queues
from vpcore_market.source import SyntheticSource


def test_help_says_of_every_command_what_the_command_says() -> None:
    for component in plugin.vp_commands():
        assert component.load().__doc__.partition("\n")[0] == component.summary


def test_the_source_loads() -> None:
    (component,) = plugin.vp_sources()
    assert component.load() is SyntheticSource


def test_compiled_code_is_cached_below_a_digest_of_this_package() -> None:
    root = _caller_root(queues.__name__)
    assert root is not None
    assert root.name == "vpcore_market"
    queues.leave(np.zeros((1, 8), np.int64), np.zeros((1, 4), np.int64), 0)
    folder = _cache_folder(root)
    assert folder is not None
    assert list(folder.rglob("queues.leave-*.nbi"))


def test_a_demo_in_a_workspace_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "ws")]) == 0
    inner = tmp_path / "ws" / "deep" / "er"
    assert run(["demo", str(inner)]) == 2
    assert f"{inner} lies inside the workspace {tmp_path / 'ws'}. Name a folder outside it" in capsys.readouterr().err
    assert not inner.exists()
