"""The documents name every step that signals may use and every column that they may read."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import blocks_of

TOOLKIT = Path(__file__).parents[2] / "docs" / "reference" / "toolkit.md"
MODULES = ("rolling", "robust_z", "spatial")


def steps_of(module: str) -> dict[str, str]:
    """Return the public functions that a module of kernels defines, each with its call as a document writes it."""
    found = importlib.import_module(f"vpcore.kernels.{module}")
    calls = {}
    for name, value in vars(found).items():
        function = getattr(value, "py_func", value)
        if inspect.isfunction(function) and function.__module__ == found.__name__ and not name.startswith("_"):
            calls[name] = f"{name}({', '.join(inspect.signature(function).parameters)})"
            assert inspect.getdoc(function), name
    assert len(calls) > 5
    return calls


def section(module: str) -> str:
    _, heading, rest = TOOLKIT.read_text().partition(f"\n## `vpcore.kernels.{module}`")
    assert heading, f"docs/reference/toolkit.md has no section on vpcore.kernels.{module}"
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in MODULES for name in steps_of(module)])
def test_every_step_is_documented_with_its_signature(module: str, name: str) -> None:
    assert f"| `{steps_of(module)[name]}` |" in section(module)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_documented_that_does_not_exist(module: str) -> None:
    assert set(re.findall(r"^\| `(\w+)\(", section(module), re.MULTILINE)) == set(steps_of(module))


def test_every_column_that_a_signal_may_read_is_explained() -> None:
    from vpcore.signal import COLUMN_NAMES

    columns = (TOOLKIT.parent / "columns.md").read_text()
    first_cells = [line.split("|")[1] for line in columns.splitlines() if line.startswith("| `")]
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(COLUMN_NAMES)


@pytest.mark.parametrize("block", blocks_of(TOOLKIT), ids=lambda block: block.where)
def test_its_examples_are_true(block) -> None:
    assert block.language == "python"
    assert "assert" in block.text
    exec(compile("\n" * block.line + block.text, str(TOOLKIT), "exec"), {})


def test_code_in_documents_is_linted_and_formatted(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for document in TOOLKIT.parents[1].glob("**/*.md"):
        folder = tmp_path / document.parent.name / document.stem
        folder.mkdir(parents=True)
        for block in blocks_of(document):
            if block.language == "python":
                name = Path(block.title or "").stem.replace("__init__", "package")
                (folder / f"line_{block.line}_{name}.py").write_text(block.text)
    for command in (["check", "--select", "E,F,W,UP,B,SIM,PT"], ["format", "--diff"]):
        options = ["--isolated", "--no-cache", "--line-length", "120", "--target-version", "py311", "."]
        ruff = [sys.executable, "-m", "ruff", *command, *options]
        done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
