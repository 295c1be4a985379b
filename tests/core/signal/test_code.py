"""What changes the digest of a signal's code and of the core's, and what does not."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vpcore
from vpcore import SignalError
from vpcore.signal import core_digest, declared_digests
from vpcore.signal.code import owners_of
from vpcore.signal.module_graph import parse_source

SIGNAL = """
from vpcore import StatisticalSignal
{imports}
class {name}(StatisticalSignal):
    columns = ("v_add",)
    {body}
    def start(self, context): return None
    def step(self, state, frame): return 0.0
    def warmup_bins(self, context): return 0
"""
FILES = {
    "__init__.py": "",
    "one.py": SIGNAL.format(name="One", imports="from . import helper", body='data_files = ("table.csv",)'),
    "sub/__init__.py": "",
    "sub/two.py": SIGNAL.format(name="Two", imports="from pkg.tools import lazily", body=""),
    "three.py": SIGNAL.format(name="Three", imports="", body="def later(self): import pkg.helper"),
    "four.py": SIGNAL.format(name="Four", imports="from .helper import A", body=""),
    "helper.py": "A = 1\n",
    "tools/__init__.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from pkg.tools.far import lazily\n"
        "    from pkg.tools.other import never\n"
        "def __getattr__(name): ...\n"
    ),
    "tools/far.py": "lazily = 1\n",
    "tools/other.py": "never = 1\n",
    "table.csv": "1,2\n",
}
TARGETS = {"one": "pkg.one:One", "two": "pkg.sub.two:Two", "three": "pkg.three:Three", "four": "pkg.four:Four"}

Digests = Callable[[], dict[str, str]]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "pkg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pkg" / name).write_text(text)
    return tmp_path / "pkg"


def python(code: str, *path: Path, home: Path | None = None) -> Any:
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PATH": os.environ["PATH"],
        "HOME": str(home or path[0]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=path[0], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory whose cache of parsed files the processes share."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def digests(package: Path, monkeypatch: pytest.MonkeyPatch) -> Digests:
    """Digests by name, read from the files as they are."""
    monkeypatch.syspath_prepend(str(package.parent))
    return lambda: declared_digests(TARGETS)


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after.get(name)}


@pytest.mark.parametrize(
    ("file", "affected"),
    [
        ("one.py", {"one"}),
        ("sub/two.py", {"two"}),
        ("helper.py", {"one", "three", "four"}),
        ("tools/far.py", {"two"}),
        ("tools/other.py", set()),
        ("tools/__init__.py", {"two"}),
        ("__init__.py", {"one", "two", "three", "four"}),
        ("table.csv", {"one"}),
    ],
)
def test_an_edit_changes_the_signals_that_reach_it(
    package: Path, digests: Digests, file: str, affected: set[str]
) -> None:
    before = digests()
    assert before.keys() == TARGETS.keys()
    (package / file).write_text((package / file).read_text() + "B = 2\n")
    assert changed(before, digests()) == affected


def test_comments_docstrings_and_layout_change_nothing(package: Path, digests: Digests) -> None:
    before = digests()
    file = package / "helper.py"
    file.write_text('"""About."""\n\n# why\nA = (\n    1  # one\n)\n"""What A is."""\n')
    (package / "one.py").write_text(FILES["one.py"].replace("return None", '\n        "Start."\n        return None'))
    assert digests() == before
    file.write_text('A = "1"\n')
    assert changed(before, digests()) == {"one", "three", "four"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("f(1)", "f(True)"), ("f(None)", "f()"), ("x = -0.0", "x = 0.0"), ("a < b", "a <= b"), ("x = 'a'", "x = b'a'")],
)
def test_code_that_differs_has_another_digest(one: str, other: str) -> None:
    assert parse_source(one).digest != parse_source(other).digest
    assert parse_source(one).digest == parse_source(f"# a comment\n{one}\n").digest


def test_a_renamed_helper_is_other_code(package: Path, digests: Digests) -> None:
    before = digests()
    (package / "helper.py").rename(package / "renamed.py")
    (package / "four.py").write_text(FILES["four.py"].replace(".helper", ".renamed"))
    assert "four" in changed(before, digests())


def test_importing_gives_the_digests_that_reading_gives(package: Path, digests: Digests, home: Path) -> None:
    code = (
        "import importlib, json, sys; from vpcore.signal import code_digest\n"
        f"targets = {TARGETS}\n"
        "load = lambda t: getattr(importlib.import_module(t.partition(':')[0]), t.partition(':')[2])\n"
        "print(json.dumps({name: code_digest(load(target)) for name, target in targets.items()}))"
    )
    assert python(code, package.parent, home=home) == digests()
    assert "pkg" not in sys.modules


def test_a_target_may_name_a_class_that_its_module_imports(package: Path, digests: Digests) -> None:
    (package / "names.py").write_text("from .one import One as First\n")
    found = declared_digests({"first": "pkg.names:First", "gone": "pkg.one:Gone", "lost": "pkg.lost:Lost"})
    assert found == {"first": digests()["one"]}


def test_a_missing_data_file_is_an_error(package: Path, digests: Digests, home: Path) -> None:
    (package / "table.csv").unlink()
    assert digests().keys() == TARGETS.keys() - {"one"}
    code = (
        "import json; from vpcore.signal import code_digest; from vpcore import SignalError; from pkg.one import One\n"
        "try: code_digest(One)\n"
        "except SignalError as error: print(json.dumps(str(error)))"
    )
    message = python(code, package.parent, home=home)
    assert f"The data file 'table.csv' of data_files cannot be read from {package}: No such file" in message


def test_a_data_file_of_a_computed_name_is_an_error(package: Path, home: Path) -> None:
    (package / "one.py").write_text(FILES["one.py"].replace('("table.csv",)', '("table" + ".csv",)'))
    code = (
        "import json; from vpcore.signal import code_digest; from vpcore import SignalError; from pkg.one import One\n"
        "try: code_digest(One)\n"
        "except SignalError as error: print(json.dumps(str(error)))"
    )
    message = python(code, package.parent, home=home)
    assert "data_files of signal 'One' must be written out in its class statement, but 'table.csv' is not" in message


def test_data_files_are_names() -> None:
    with pytest.raises(SignalError, match="data_files of signal 'Wrong' must be a tuple of file names, was 'a.csv'"):
        type("Wrong", (vpcore.StatisticalSignal,), {"columns": ("v_add",), "data_files": "a.csv"})


@pytest.mark.slow
def test_a_lone_module_is_its_own_code(tmp_path: Path, home: Path) -> None:
    (tmp_path / "other.py").write_text("A = 1\n")
    lone = tmp_path / "lone.py"
    lone.write_text(SIGNAL.format(name="S", imports="import other", body=""))
    code = (
        "import json; from vpcore.signal import code_digest, distribution_of; from lone import S\n"
        "print(json.dumps([code_digest(S), distribution_of(S)]))"
    )
    first = python(code, tmp_path, home=home)
    assert first[1] == ["lone", ""]
    (tmp_path / "other.py").write_text("A = 2\n")
    assert python(code, tmp_path, home=home) == first
    lone.write_text(lone.read_text() + "A = 1\n")
    assert python(code, tmp_path, home=home) != first


@pytest.mark.slow
def test_a_script_is_its_file(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    text = SIGNAL.format(name="S", imports="import json; from vpcore.signal import code_digest", body="")
    script.write_text(text + "print(json.dumps(code_digest(S)))\n")
    outputs = []
    for more in ("", "# a comment\n", "A = 1\n"):
        script.write_text(text + "print(json.dumps(code_digest(S)))\n" + more)
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
        outputs.append(json.loads(done.stdout))
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.mark.slow
def test_the_cache_of_parsed_files_is_only_a_cache(package: Path, tmp_path: Path) -> None:
    code = (
        "import json; from vpcore.signal import declared_digests, core_digest\n"
        f"print(json.dumps([declared_digests({TARGETS}), core_digest()]))"
    )
    first = python(code, package.parent)
    (cached,) = (tmp_path / ".cache" / "vpcore-sources").iterdir()
    assert python(code, package.parent) == first
    cached.write_text("{")
    assert python(code, package.parent) == first
    json.loads(cached.read_text())


# -- the core ----------------------------------------------------------------------------------------------------------


CORE_FILES = {
    "backtest/metrics.py": True,
    "backtest/triple_barrier.py": True,
    "kernels/barrier.py": True,
    "kernels/null.py": True,
    "kernels/resample.py": True,
    "kernels/robust_z.py": True,
    "kernels/rolling.py": True,
    "kernels/spatial.py": True,
    "scoring.py": True,
    "signal/drivers.py": True,
    "statistics/permutation.py": True,
    "experiment/run.py": False,
    "generation/generate.py": False,
    "config/pipeline.py": False,
    "workspace.py": False,
}
"""Whether a row is computed by it."""

EDITS = """
import json, pathlib, sys
from vpcore.signal import core_digest
import vpcore
def digest_with(file, more):
    text = file.read_text()
    file.write_text(text + more)
    found = core_digest.__wrapped__()
    file.write_text(text)
    return found
files = [pathlib.Path(vpcore.__file__).parent / name for name in {names}]
print(json.dumps([core_digest(), [[digest_with(file, more) for more in ("\\n# a comment\\n", "\\n_A = 1\\n")] for file in files]]))
"""


def test_the_core_code_is_what_rows_are_computed_by(tmp_path: Path, home: Path) -> None:
    shutil.copytree(Path(vpcore.__file__).parent, tmp_path / "vpcore", ignore=shutil.ignore_patterns("__pycache__"))
    before, found = python(EDITS.format(names=list(CORE_FILES)), tmp_path, home=home)
    assert before == core_digest()
    assert {name: commented for name, (commented, _) in zip(CORE_FILES, found, strict=True)} == dict.fromkeys(
        CORE_FILES, before
    )
    assert {name: edited != before for name, (_, edited) in zip(CORE_FILES, found, strict=True)} == CORE_FILES


def test_owners_of_modules_are_those_of_the_metadata() -> None:
    full = importlib.metadata.packages_distributions()
    for top in ("numpy", "yaml", "polars", "vpcore", "pydantic", "numba", "dateutil", "sklearn", "_pytest"):
        assert owners_of(top) == tuple(sorted(set(full.get(top, ()))))
    assert owners_of("json") == owners_of("no_such_module") == ()
