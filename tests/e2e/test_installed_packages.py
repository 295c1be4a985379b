"""What the core says of the signal packages of this repository, as they are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vpcore_signals_ml
import vpcore_signals_stat
from vpcore import Workspace
from vpcore.plugins.manager import Plugins
from vpcore.signal import code_digest, code_of, distribution_of, imported_distributions
from vpcore.signal.code import CORE
from vpcore.signal.conformance.check import _message
from vpcore.signal.module_graph import ModuleGraph
from vpcore.testing import signal_checks
from vpcore_cli.app import run
from vpcore_signals_ml.signals import GbmMf
from vpcore_signals_stat.ads import Ads

REPOSITORY = Path(__file__).parents[2]


def test_the_repositorys_own_specs_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--root", str(REPOSITORY)]) == 0
    captured = capsys.readouterr()
    assert "configs/experiments/sweep_erd.yaml" in captured.out
    assert "wrong" not in captured.out


def test_a_name_that_is_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["new-signal", "ads", "--dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "Error: A signal called 'ads' is installed already, by plugin 'signals-stat' (vpcore-signals-stat" in said
    assert list(tmp_path.iterdir()) == []


def test_an_installed_signal_is_known_by_its_name() -> None:
    """Its own tests check the class; the command that reproduces a failure needs the name."""
    ads = Plugins().load("signal", "ads")
    case = next(case for case in signal_checks(ads(zscore_window=50)).args[1] if case.id.endswith("-prefix"))
    _, signal, _ = case.values[0].args
    message = _message(signal, "", "looks ahead", "")
    assert re.fullmatch(r"Signal 'ads' looks ahead\. Reproduce: vp check ads --params-json '\{.*\}'", message), message


def test_whatever_the_signal_packages_import_of_the_core_is_core_code() -> None:
    core = ModuleGraph(lambda top: top == "vpcore")
    for root in CORE:
        core.add(root)
    both = ModuleGraph(lambda top: top in ("vpcore", "vpcore_signals_stat", "vpcore_signals_ml"))
    for package in (vpcore_signals_stat, vpcore_signals_ml):
        for file in Path(package.__file__).parent.glob("*.py"):
            if file.stem not in ("__init__", "plugin"):
                both.add(f"{package.__name__}.{file.stem}")
    assert {name for name in both.sources if name.startswith("vpcore.")} <= core.sources.keys()


def test_the_distributions_that_a_signal_imports_are_named() -> None:
    assert {"lightgbm", "numpy", "pydantic"} <= imported_distributions(GbmMf).keys()
    assert "lightgbm" not in imported_distributions(Ads)
    modules = code_of(GbmMf).modules
    assert {"vpcore_signals_ml.models", "vpcore_signals_stat.book_features"} <= modules.keys()
    assert "vpcore-signals-stat" in imported_distributions(GbmMf)
    assert "vpcore_signals_stat.erd" not in modules
    assert "vpcore_signals_stat.book_features" not in code_of(Ads).modules


def test_distribution_of_an_installed_signal() -> None:
    name, version = distribution_of(Ads)
    assert name == "vpcore-signals-stat"
    assert version
    assert len(code_digest(Ads)) == 64


def test_a_grid_that_is_too_small_for_a_signal_is_one_error_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    workspace, _ = Workspace.create(tmp_path / "ws")
    capture = 'capture: {symbol: ESH4, date: 2023-12-25, start_time: "18:00", end_time: "18:59"}\n'
    for place, text in (
        ("pipelines/small", f"name: small\n{capture}pipeline: {{grid_radius_ticks: 20}}\n"),
        ("serving/served", "name: served\npipeline: small\nsignal: {name: ads}\n"),
        ("experiments/swept", "name: swept\nserving: served\nsignals: [ads, pfp]\n"),
    ):
        (workspace.configs / f"{place}.yaml").write_text(text)
    message = (
        "Signal 'ads' reads cells up to 23 ticks from the mid, the grid has 20. Set pipeline.grid_radius_ticks to at "
        "least 23. (Pipeline 'small'.)"
    )
    root = ["--root", str(workspace.root)]
    for command in (["validate"], ["validate", "served"], ["run", "swept", "--dry-run"], ["run", "swept"]):
        assert run([*command, *root]) == 2
        assert capsys.readouterr().err.count(message) == 1
    assert not workspace.results_dir.exists()
