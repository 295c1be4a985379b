"""The cache of compiled code notices every change of source, and leaves numba's own settings alone."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pytest

import vpcore
from vpcore.kernels import cache_folder, jit as module
from vpcore.kernels.jit import jit, sources_digest

PACKAGE = {
    "__init__.py": "",
    "helper.py": "from vpcore.kernels.jit import jit\n\n\n@jit\ndef offset(x):\n    return x + {}\n",
    "entry.py": (
        "from vpcore.kernels.jit import jit\nfrom borrowed_package.helper import offset\n\n\n"
        "@jit\ndef entry(x):\n    return offset(x) * 10\n\n\nif __name__ != '__main__':\n    print(entry(1))\n"
    ),
}


def run_package(folder: Path, value: int) -> str:
    package = folder / "borrowed_package"
    package.mkdir(exist_ok=True)
    for name, text in PACKAGE.items():
        path = package / name
        wanted = text.format(value) if name == "helper.py" else text
        if not path.exists() or path.read_text() != wanted:
            path.write_text(wanted)
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", "import borrowed_package.entry"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.compiled
def test_a_changed_helper_in_another_file_is_noticed(tmp_path: Path) -> None:
    assert run_package(tmp_path, 1) == "20"
    one = {path.name for path in (tmp_path / "cache" / "vpcore-kernels").iterdir()}
    assert len(one) == 1
    assert run_package(tmp_path, 55) == "560"  # numba's own cache would go on answering 20
    assert len(list((tmp_path / "cache" / "vpcore-kernels").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.compiled
def test_compiling_is_said_once_and_loading_is_not(tmp_path: Path) -> None:
    code = (
        "import logging, sys; logging.basicConfig(format='%(message)s', level=logging.INFO); "
        "from vpcore.kernels.random import seeded; from vpcore.kernels import barrier, resample; import numpy as np; "
        "resample.moments(np.arange(5), np.empty(4)); i = np.zeros(1, np.int64); b = np.ones(1, np.int8); "
        "barrier.accept(i, b, i, 1, i.copy(), b.copy())"
    )
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == ""
        said.append(done.stderr.splitlines())
    assert said == [
        [
            f"Compiling code at its first use, which may take some 20 seconds; it is kept for later in {tmp_path}/vpcore-kernels."
        ],
        [],
    ]


@pytest.mark.compiled
def test_numbas_own_setting_stays_as_it_was() -> None:
    before = numba.config.CACHE_DIR

    @jit
    def double(x):
        return 2 * x

    assert double(21) == 42
    assert before == numba.config.CACHE_DIR


def test_a_digest_covers_names_and_bytes(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str:
        folder = tmp_path / f"{name}{len(text)}"
        folder.mkdir()
        (folder / name).write_text(text)
        (folder / "notes.txt").write_text(text)
        return sources_digest(folder).removeprefix(folder.name)

    digests = {digest("a.py", "x = 1"), digest("b.py", "x = 1"), digest("a.py", "x = 11")}
    assert len(digests) == 3


def test_old_digests_are_pruned_and_young_or_few_ones_stay(tmp_path: Path) -> None:
    old = 1_000_000_000
    for i in range(20):
        folder = tmp_path / f"digest{i:02}"
        folder.mkdir()
        if i < 10:
            os.utime(folder, (old + i, old + i))
    module._prune(tmp_path, tmp_path / "digest00")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["digest00", *(f"digest{i:02}" for i in range(10, 20))]


@pytest.mark.compiled
def test_a_borrowing_function_leaves_its_arrays_as_they_were() -> None:
    @jit(borrows=True)
    def last_of(pair):
        pair[0][:] = 3.0
        return pair[1][-1]

    arrays = (np.zeros(4), np.arange(5.0))
    counts = [sys.getrefcount(array) for array in arrays]
    for _ in range(100):
        assert last_of(arrays) == 4.0
    assert [sys.getrefcount(array) for array in arrays] == counts
    assert arrays[0].tolist() == [3.0] * 4
    assert module.CAN_BORROW


def test_the_cache_lies_in_the_first_folder_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    writable_cache = cache_folder.writable_cache.__wrapped__
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    assert writable_cache("c") == tmp_path / "numba" / "c"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(file))
    assert writable_cache("c") == tmp_path / "xdg" / "c"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert writable_cache("c") == tmp_path / "xdg" / "c"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert writable_cache("c") == tmp_path / "home" / ".cache" / "c"

    def homeless() -> Path:
        raise RuntimeError("no home directory")

    monkeypatch.setattr(cache_folder.Path, "home", homeless)
    found = writable_cache("c")
    assert found is not None
    assert (found.parent.parent, found.name) == (tmp_path / "tmp", "c")
    monkeypatch.setattr(cache_folder.os, "access", lambda *_: False)
    assert writable_cache("c") is None


def test_without_a_folder_code_is_compiled_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(module.__file__).parent
    find = module._cache_folder.__wrapped__
    monkeypatch.setattr(module, "writable_cache", lambda name: None)
    assert find(root) is None
    monkeypatch.setattr(module, "writable_cache", lambda name: tmp_path / "gone" / "for good")
    assert find(root) is None
    monkeypatch.setattr(module, "_cache_folder", find)

    @jit
    def doubled(x):
        return 2 * x

    @jit
    def quadrupled(x):
        return doubled(doubled(x))

    assert quadrupled(4) == 16
    assert doubled(4) == 8


def test_sources_belong_to_the_package_or_file_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert module._caller_root("__main__") is None
    assert module._caller_root("vpcore.kernels.jit") == Path(module.__file__).parent
    assert module._caller_root("vpcore._lazy") == Path(vpcore.__file__).parent
    (tmp_path / "alone.py").touch()
    alone = ModuleType("alone")
    alone.__file__ = str(tmp_path / "alone.py")
    monkeypatch.setitem(sys.modules, "alone", alone)
    assert module._caller_root("alone") == tmp_path / "alone.py"


@pytest.mark.compiled
def test_a_helper_is_compiled_once_for_compiled_code_and_again_for_python() -> None:
    @jit
    def scaled(x, factor):
        return x * factor

    @jit
    def total(x):
        return scaled(x, x) + scaled(x, x + 1)

    assert total(4) == 36
    assert len(scaled._bare.overloads) == 1
    assert not scaled.overloads
    assert scaled(4, 5) == 20
    assert len(scaled.overloads) == 1


@pytest.mark.compiled
def test_a_function_may_call_itself() -> None:
    @jit
    def factorial(n):
        if n < 2:
            return 1
        return n * factorial(n - 1)

    @jit
    def twice(n):
        return 2 * factorial(n)

    assert factorial(5) == 120
    assert twice(5) == 240


@pytest.mark.compiled
def test_one_of_two_processes_compiles_and_the_other_loads(tmp_path: Path) -> None:
    code = (
        "import sys; from vpcore.kernels import barrier; import numpy as np; print('ready', flush=True); "
        "sys.stdin.readline(); barrier.accept(np.arange(3), np.ones(3, np.int8), np.arange(3), 1, np.empty(3, np.int64), "
        "np.empty(3, np.int8))"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DEBUG_CACHE": "1"}
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=pipe, stdout=pipe, text=True)
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:  # at the same moment
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(text.count("data saved to") for text in said) == [0, 1]
    assert sorted(text.count("data loaded from") for text in said) == [0, 1]


def test_a_holder_of_the_lock_that_never_ends_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.1)
    path = tmp_path / "function.lock"
    with path.open("w") as held, path.open("w") as waiting, path.open("w") as free:
        fcntl.flock(held, fcntl.LOCK_EX)
        module._wait_for(waiting)
        with pytest.raises(BlockingIOError):  # it was waited for, and not got
            fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(held, fcntl.LOCK_UN)
        module._wait_for(waiting)
        with pytest.raises(BlockingIOError):
            fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
@pytest.mark.compiled
def test_numbas_bounds_checks_reach_callers_and_helpers(tmp_path: Path) -> None:
    (tmp_path / "checked.py").write_text(
        "import numpy as np\nfrom vpcore.kernels.jit import jit\n\n\n@jit\ndef inner(x, i):\n    return x[i]\n\n\n"
        "@jit\ndef outer(x, i):\n    return inner(x, i)\n\n\nfor function in (inner, outer):\n    try:\n"
        "        function(np.zeros(3), 10)\n    except IndexError as error:\n        print(error)\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_BOUNDSCHECK": "1"}
    command = [sys.executable, str(tmp_path / "checked.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["index is out of bounds"] * 2


@pytest.mark.slow
@pytest.mark.compiled
def test_numba_comes_without_coverage_and_without_scipy_until_a_matrix_product_is_compiled() -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("coverage")
    script = (
        "import sys, numpy as np\nfrom vpcore.kernels.jit import jit\n"
        "@jit\ndef total(x):\n    return x.sum()\n"
        "@jit\ndef product(x, y):\n    return np.dot(x, y)\n"
        "print('coverage' in sys.modules, bool(__import__('coverage').Coverage))\n"
        "a = np.arange(6.0).reshape(2, 3)\n"
        "print(total(a), 'scipy.linalg' in sys.modules)\n"
        "print(product(a, a.T).tolist(), 'scipy.linalg' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded, first, second = done.stdout.splitlines()
    assert loaded == "False True"
    assert first == "15.0 False"
    assert second == "[[5.0, 14.0], [14.0, 50.0]] True"
