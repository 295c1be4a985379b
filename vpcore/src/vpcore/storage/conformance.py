"""Conformance checks for storages; `vpcore.testing.storage_checks` runs them. A check raises `AssertionError`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from vpcore.errors import StorageError
from vpcore.storage.protocol import MANIFEST, TEMPORARY, Stage, Storage

_WRITERS = 8


def _fails(action: Callable[[], object], why: str) -> str:
    try:
        action()
    except StorageError as error:
        return str(error)
    raise AssertionError(why)


def _collection(storage: Storage, prefix: str, text: bytes = b"data") -> Stage:
    stage = storage.stage(prefix)
    (stage.path / "part.bin").write_bytes(text)
    (stage.path / MANIFEST).write_bytes(text)
    return stage


def check_protocol(storage: Storage) -> None:
    """It derives from `Storage`."""
    assert isinstance(storage, Storage), f"{type(storage).__name__} must derive from vpcore.storage.Storage"


def check_read_what_was_put(storage: Storage) -> None:
    """Stored bytes and files are read back; a second `put` replaces the first."""
    content = bytes(range(256)) * 5000
    assert storage.put_atomic("a/b/one.bin", content), "put_atomic must return True when it stored the bytes"
    assert storage.read("a/b/one.bin") == content, "read must return the bytes that were put"
    stage = storage.stage("a/other")
    file = stage.path / "file"
    file.write_bytes(b"from a file")
    storage.put_atomic("a/b/one.bin", file)
    assert file.exists(), "put_atomic must leave the file it copies"
    assert storage.read("a/b/one.bin") == b"from a file", "put_atomic must replace what was there"
    stage.discard()
    storage.put_atomic("empty", b"")
    assert storage.read("empty") == b"", "an empty file must be read back empty"


def check_missing(storage: Storage) -> None:
    """Reading a missing file raises StorageError with the key; `exists` is False; deleting it is allowed."""
    assert not storage.exists("no/such"), "exists must be False for a missing file"
    message = _fails(lambda: storage.read("no/such"), "read of a missing file must raise StorageError")
    assert "no/such" in message, f"the error must name the key 'no/such', was: {message}"
    storage.delete("no/such")
    assert storage.list("no") == [], "list of a missing prefix must be empty"


def check_list(storage: Storage) -> None:
    """`list` returns the sorted keys of files below exactly this folder; names with the same prefix are left out."""
    for key in ("x/b", "x/a/z", "xy/c", "x/a/y"):
        storage.put_atomic(key, b"1")
    assert storage.list("x") == ["x/a/y", "x/a/z", "x/b"], f"list('x') was {storage.list('x')}"
    assert storage.list() == ["x/a/y", "x/a/z", "x/b", "xy/c"], f"list() was {storage.list()}"
    storage.delete("x/b")
    assert storage.list("x") == ["x/a/y", "x/a/z"], "a deleted file must not be listed"
    assert not storage.exists("x/b"), "a deleted file must not exist"
    assert not storage.exists("x/a"), "a folder is not a file"


def check_keys(storage: Storage) -> None:
    """Keys that leave the storage, or that could be read in two ways, are refused."""
    for key in ("", "/etc/x", "a/../b", "a//b", "./a", "a/", f"{TEMPORARY}x"):
        _fails(lambda key=key: storage.put_atomic(key, b"1"), f"the key {key!r} must be refused")  # type: ignore[misc]
    assert storage.list() == [], "a refused key must store nothing"


def check_exclusive_put(storage: Storage) -> None:
    """Of several exclusive writers of one key, exactly one wins, and its bytes stay."""
    with ThreadPoolExecutor(_WRITERS) as pool:
        won = list(pool.map(lambda i: storage.put_atomic("key", str(i).encode(), exclusive=True), range(_WRITERS)))
    assert sum(won) == 1, f"exactly one exclusive writer must win, {sum(won)} did"
    assert storage.read("key") == str(won.index(True)).encode(), "the bytes must be the winner's"


def check_stage_is_invisible(storage: Storage) -> None:
    """Staged files stay hidden, and a discard removes them."""
    with _collection(storage, "sets/one") as stage:
        assert storage.list() == [], f"staged files must not be listed, were {storage.list()}"
        assert not storage.exists(f"sets/one/{MANIFEST}"), "a staged collection must not exist"
    assert not stage.path.exists(), "discard must remove the staged folder"
    stage.discard()


def check_commit(storage: Storage) -> None:
    """A committed collection is complete; a second commit of the same name returns False and changes nothing."""
    stage = _collection(storage, "sets/one", b"first")
    assert storage.commit("sets/one", stage), "commit must return True when it published"
    assert storage.list("sets") == [f"sets/one/{MANIFEST}", "sets/one/part.bin"], f"was {storage.list('sets')}"
    late = _collection(storage, "sets/one", b"second")
    assert not storage.commit("sets/one", late), "commit must return False for a collection that exists"
    assert storage.read("sets/one/part.bin") == b"first", "a published collection must not change"
    assert not late.path.exists(), "the loser's staged folder must be removed"


def check_replace(storage: Storage) -> None:
    """A commit with `replace` publishes over a collection, whole."""
    for text in (b"first", b"other"):
        stage = _collection(storage, "sets/one", text)
        assert storage.commit("sets/one", stage, replace=True), "commit must return True when it replaced"
        assert storage.read("sets/one/part.bin") == text, "the replaced collection must be read"
    assert storage.list("sets") == [f"sets/one/{MANIFEST}", "sets/one/part.bin"], f"was {storage.list('sets')}"


def check_ranges(storage: Storage) -> None:
    """`stat` has the size of a file, and `ranges` its parts; both know collections."""
    content = bytes(i * i % 251 for i in range(200_000))
    storage.put_atomic("plain", content)
    stage = storage.stage("sets/one")
    for name in ("part.bin", MANIFEST):
        (stage.path / name).write_bytes(content)
    storage.commit("sets/one", stage)
    spans = [(0, 1), (65_535, 65_537), (100, 150_000), (199_999, 200_000)]
    for key in ("plain", "sets/one/part.bin"):
        found = storage.stat(key)
        assert found is not None, f"stat of '{key}' must not be None"
        assert found.size == len(content), f"the size of '{key}' must be {len(content)}, was {found.size}"
        parts = [content[start:end] for start, end in spans]
        assert storage.ranges(key, spans) == parts, f"ranges of '{key}' must be the file's bytes"
    assert storage.stat("no/such") is None, "stat must be None for a missing file"
    _fails(lambda: storage.ranges("no/such", spans), "ranges of a missing file must raise StorageError")


def check_commit_needs_manifest(storage: Storage) -> None:
    """A collection that lacks its manifest stays unpublished."""
    stage = storage.stage("sets/one")
    (stage.path / "part.bin").write_bytes(b"1")
    _fails(lambda: storage.commit("sets/one", stage), "commit without a manifest must raise StorageError")
    assert storage.list() == [], "nothing must be published without a manifest"


def check_concurrent_commits(storage: Storage) -> None:
    """Of several committers of one name exactly one publishes, and readers see exactly its files."""
    stages = [_collection(storage, "sets/one", str(i).encode()) for i in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS) as pool:
        won = list(pool.map(lambda stage: storage.commit("sets/one", stage), stages))
    assert sum(won) == 1, f"exactly one commit must publish, {sum(won)} did"
    winner = str(won.index(True)).encode()
    for key in storage.list("sets/one"):
        assert storage.read(key) == winner, f"{key} must be the winner's"
    assert len(storage.list("sets/one")) == 2, f"only the winner's files must be there, was {storage.list('sets/one')}"


STORAGE_CHECKS: tuple[Callable[[Storage], None], ...] = (
    check_protocol,
    check_read_what_was_put,
    check_missing,
    check_list,
    check_keys,
    check_exclusive_put,
    check_stage_is_invisible,
    check_commit,
    check_replace,
    check_ranges,
    check_commit_needs_manifest,
    check_concurrent_commits,
)
"""Every check; each takes a storage that is empty."""
