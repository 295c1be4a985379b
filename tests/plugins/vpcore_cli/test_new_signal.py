"""``vp new-signal``: which names it takes, what it writes, and that it overwrites nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from vpcore.errors import ConfigError
from vpcore.plugins.manager import Plugins
from vpcore_cli.app import run
from vpcore_cli.new_signal import _FILES, Kind, write_package

CORE = Plugins(())
"""Only the core's plugin: no signal is installed."""

FILES = [
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "src/vp_signal_depth_tilt/__init__.py",
    "src/vp_signal_depth_tilt/plugin.py",
    "src/vp_signal_depth_tilt/py.typed",
    "src/vp_signal_depth_tilt/signal.py",
    "tests/test_depth_tilt.py",
]


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", list(Kind))
def test_it_writes_a_whole_package(tmp_path, kind, capsys):
    assert run(["new-signal", "depth_tilt", "--kind", kind, "--dir", str(tmp_path / "new")]) == 0
    folder = tmp_path / "new" / "vp-signal-depth-tilt"
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert f"pip install -e {folder}" in err
    assert files_of(folder) == FILES
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "vp-signal-depth-tilt"
    assert project["project"]["entry-points"] == {"vpcore": {"signal-depth-tilt": "vp_signal_depth_tilt.plugin"}}
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert path.name == "__init__.py" or len(tree.body) > 2
        assert "${" not in path.read_text()


@pytest.mark.parametrize("kind", list(Kind))
def test_what_it_writes_is_linted_and_formatted(tmp_path, kind):
    pytest.importorskip("ruff")
    folder = write_package("depth_tilt", kind, tmp_path, CORE)
    rules = "E,F,W,I,UP,B,C4,SIM,PIE,PT,RET,RUF,PERF,NPY,TID"
    for command in (
        ["check", "--isolated", "--no-cache", "--select", rules, "--ignore", "RUF001,RUF002,RUF003,RUF022"],
        ["format", "--isolated", "--no-cache", "--diff"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--line-length", "120", "--target-version", "py311", "."],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_template_is_used():
    root = Path(str(resources.files("vpcore_cli"))) / "data" / "new_signal"
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert there == {f"{source.format(kind=kind)}.tmpl" for source in _FILES for kind in Kind}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DepthTilt", r"a letter first, at most 32 characters, was 'DepthTilt'. Write: vp new-signal depth_tilt$"),
        ("depth-tilt", "was 'depth-tilt'. Write: vp new-signal depth_tilt$"),
        ("2nd_try", "was '2nd_try'. Write: vp new-signal nd_try$"),
        ("tilt_", "was 'tilt_'. Write: vp new-signal tilt$"),
        ("a__b", "was 'a__b'. Write: vp new-signal a_b$"),
        ("", "was ''.$"),
        ("../../etc", "was '../../etc'. Write: vp new-signal etc$"),
        ("x" * 33, "was 'x{33}'.$"),
    ],
)
def test_names_that_no_signal_may_have(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        write_package(name, Kind.STAT, tmp_path, CORE)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_left_alone(tmp_path):
    (tmp_path / "vp-signal-tilt").mkdir()
    with pytest.raises(ConfigError, match="vp-signal-tilt exists already; nothing in it was changed. Choose another"):
        write_package("tilt", Kind.STAT, tmp_path, CORE)
    assert list((tmp_path / "vp-signal-tilt").iterdir()) == []


def test_a_place_that_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="--dir must be a directory, was a file: .*file"):
        write_package("tilt", Kind.STAT, tmp_path / "file", CORE)
    with pytest.raises(ConfigError, match="cannot be written to .*vp-signal-tilt: Not a directory"):
        write_package("tilt", Kind.STAT, tmp_path / "file" / "below", CORE)
    assert (tmp_path / "file").read_text() == "mine"


def test_half_a_package_is_not_left_behind(tmp_path, monkeypatch):
    def full(path, *args, **kwargs):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ConfigError, match="cannot be written to .*vp-signal-tilt: No space left on device"):
        write_package("tilt", Kind.STAT, tmp_path, CORE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "cls"),
    [
        ("tilt2", Kind.STAT, "Tilt2"),
        ("state", Kind.STAT, "StateSignal"),
        ("statistical_signal", Kind.STAT, "StatisticalSignalSignal"),
        ("learner", Kind.ML, "Learner"),
        ("none", Kind.ML, "NoneSignal"),
    ],
)
def test_the_class_takes_no_name_that_the_module_has(tmp_path, name, kind, cls):
    folder = write_package(name, kind, tmp_path, CORE)
    module = ast.parse((folder / "src" / f"vp_signal_{name}" / "signal.py").read_text())
    classes = [node.name for node in module.body if isinstance(node, ast.ClassDef)]
    assert classes[-1] == cls
    assert len(set(classes)) == len(classes)
    assert f"signal:{cls}" in (folder / "src" / f"vp_signal_{name}" / "plugin.py").read_text()


def test_a_learning_signal_is_short(tmp_path):
    folder = write_package("depth_tilt", Kind.ML, tmp_path, CORE)
    assert len((folder / "src/vp_signal_depth_tilt/signal.py").read_text().splitlines()) <= 40
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert "vpcore-signals-ml>=0.1" in project["dependencies"]
