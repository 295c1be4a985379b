from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vpcore.errors import StorageError, lack_of_system
from vpcore.storage import MANIFEST, LocalStorage, atomic
from vpcore.storage.atomic import storage_errors
from vpcore.storage.conformance import check_exclusive_put
from vpcore.testing import storage_checks

DEAD_WRITER = """
    import os, sys, time
    from vpcore.storage.atomic import temporary_file
    from pathlib import Path
    from vpcore.storage import LocalStorage
    storage = LocalStorage(Path(sys.argv[1]))
    stage = storage.stage("sets/one")
    (stage.path / "half").write_bytes(b"x" * 1000)
    path, handle = temporary_file(Path(sys.argv[1]) / "sets" / "file")
    os.write(handle, b"half")
    print("ready", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "lake")


@storage_checks(LocalStorage)
def test_conforms(check):
    check()


class Forgetful(LocalStorage):
    def put_atomic(self, key, file, *, exclusive=False):
        super().put_atomic(key, file)
        return True


def test_the_checks_can_fail(tmp_path):
    with pytest.raises(AssertionError, match="exactly one exclusive writer must win, 8 did"):
        check_exclusive_put(Forgetful(tmp_path))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start_writer(root: Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DEAD_WRITER), str(root)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def test_temporaries_of_living_writers_stay_and_those_of_killed_ones_go(storage):
    writer = start_writer(storage.root)
    try:
        sets = storage.root / "sets"
        assert len(names(sets)) == 2
        storage.stage("sets/other").discard()
        storage.put_atomic("sets/x", b"1")
        assert len([name for name in names(sets) if name.startswith(".tmp-")]) == 2
        assert storage.list() == ["sets/x"]
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert len(names(sets)) == 3
        storage.stage("sets/other").discard()
        assert names(sets) == ["x"]
    finally:
        writer.kill()
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()


def test_a_file_put_sweeps_too(storage):
    sets = storage.root / "sets"
    sets.mkdir(parents=True)
    (sets / ".tmp-old-1").mkdir()
    (sets / ".tmp-old-1" / "deep").write_text("x")
    (sets / ".tmp-old-2").write_text("x")
    storage.put_atomic("sets/a", b"1")
    assert names(sets) == ["a"]


def test_a_folder_without_manifest_in_the_way(storage):
    (storage.root / "sets" / "one").mkdir(parents=True)
    (storage.root / "sets" / "one" / "foreign").write_text("x")
    stage = storage.stage("sets/one")
    (stage.path / MANIFEST).write_text("{}")
    with pytest.raises(
        StorageError, match=r"'sets/one' cannot be published: .*sets/one exists already but has no manifest.json"
    ):
        storage.commit("sets/one", stage)
    assert names(storage.root / "sets") == ["one"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, r"The disk is full: could not write 'a/b' \(.*/lake/a/b\). Free there: [\d,.]+ MB. Make room"),
        (errno.EDQUOT, "The disk is full"),
        (
            errno.EACCES,
            r"No permission: could not write 'a/b' \(.*/lake/a/b\): Permission denied. Free there: [\d,.]+ MB",
        ),
        (errno.EROFS, "Read-only file system"),
        (errno.EIO, r"Could not write 'a/b' \(.*\): Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_failing_writes_leave_what_was_there(storage, monkeypatch, code, message, call):
    storage.put_atomic("a/b", b"old")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(StorageError, match=message):
        storage.put_atomic("a/b", b"new")
    monkeypatch.undo()
    assert storage.read("a/b") == b"old"
    assert names(storage.root / "a") == ["b"]


def test_files_and_folders_reach_the_disk_before_the_rename(storage, monkeypatch):
    synced: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real_fsync(handle)

    def rename(source, target):
        synced.append("rename")
        real_rename(source, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see what is synced")
    stage = storage.stage("sets/one")
    (stage.path / MANIFEST).write_text("{}")
    (stage.path / "part").write_text("1")
    staged = str(stage.path)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    storage.commit("sets/one", stage)
    before, after = synced[: synced.index("rename")], synced[synced.index("rename") + 1 :]
    assert set(before) == {f"{staged}/{MANIFEST}", f"{staged}/part", staged}
    assert before[-1] == staged
    assert after == [str(storage.root / "sets")]


def test_a_write_into_a_file_used_as_folder(storage):
    storage.put_atomic("a", b"1")
    with pytest.raises(StorageError, match=r"Could not write 'a/b' \(.*\): (Not a directory|File exists)"):
        storage.put_atomic("a/b", b"1")


def test_key_message(storage):
    with pytest.raises(StorageError, match=r"The storage key 'a/\.\./b' is not usable. A key is a relative path"):
        storage.read("a/../b")


def test_pickles(storage):
    import pickle

    storage.put_atomic("a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EIO])
def test_an_error_of_a_write_is_known_as_one_of_the_system(tmp_path: Path, number: int) -> None:
    with pytest.raises(StorageError) as raised, storage_errors(tmp_path, "store the model of a run"):
        raise OSError(number, os.strerror(number))
    assert lack_of_system(str(raised.value))
    assert not lack_of_system("SignalError: a value of step must be a number, was None")
