"""The storage `object` against a real S3 server process on loopback, with its faults."""

from __future__ import annotations

import datetime
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from markets import INSTRUMENT, START_NS, random_tape
from s3_server import REGION, faulty_proxy

from vpcore import ConfigError, StorageError, Workspace, generate
from vpcore.plugins.manager import Plugins
from vpcore.storage.protocol import MANIFEST
from vpcore.testing import storage_checks
from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import DbnWriter, encode_metadata
from vpcore_object_store import storage as module
from vpcore_object_store.storage import ObjectStorage

ADDRESS: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _server(server: str) -> Iterator[None]:
    ADDRESS.append(server)
    yield
    ADDRESS.clear()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "HTTP_PROXY", "http_proxy"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-id-of-a-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-a-test")


def bucket(
    folder: Path, prefix: str = "", address: str = "", retry_s: float = 60.0, name: str = "lake"
) -> ObjectStorage:
    url = f"s3://{name}/{prefix or uuid4().hex}"
    return ObjectStorage(folder, url, REGION, f"http://{address or ADDRESS[0]}", True, retry_s)


@storage_checks(lambda folder: bucket(folder))
def test_s3_conforms(check) -> None:
    check()


@storage_checks(lambda folder: ObjectStorage(folder, "memory:///"))
def test_memory_conforms(check) -> None:
    check()


def put(storage: ObjectStorage, prefix: str, text: bytes, n: int = 3) -> bool:
    stage = storage.stage(prefix)
    for i in range(n):
        (stage.path / f"part-{i}").write_bytes(text)
    (stage.path / MANIFEST).write_bytes(text)
    return storage.commit(prefix, stage)


def test_a_reader_during_a_writer_sees_all_or_nothing(tmp_path: Path) -> None:
    storage, reader = bucket(tmp_path, "reading"), bucket(tmp_path, "reading")
    seen = []
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(put, storage, "sets/one", b"x" * 10_000, 12)
        while not writing.done():
            seen.append(len(reader.list("sets")))
        assert writing.result()
    assert set(seen) <= {0, 13}
    assert len(reader.list("sets")) == 13
    assert reader.read("sets/one/part-7") == b"x" * 10_000


def test_another_process_opens_what_was_published(tmp_path: Path) -> None:
    storage = bucket(tmp_path)
    assert put(storage, "a/b", b"data")
    again = pickle.loads(pickle.dumps(storage))
    assert repr(again) == repr(storage)
    assert again.read("a/b/part-0") == b"data"
    assert not put(again, "a/b", b"other")
    with pytest.raises(
        StorageError, match="An object store in memory is of one process: set parallel.executor: serial"
    ):
        pickle.dumps(ObjectStorage(tmp_path, "memory:///"))


def test_a_deleted_manifest_unpublishes(tmp_path: Path) -> None:
    storage = bucket(tmp_path)
    assert put(storage, "a/b", b"data")
    for key in storage.list("a"):
        storage.delete(key)
    assert storage.list() == []
    assert put(storage, "a/b", b"new")
    assert bucket(tmp_path, storage._url.rpartition("/")[2]).read("a/b/part-1") == b"new"


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["unavailable", "dropped"])
def test_server_errors_and_dropped_connections_are_waited_out(tmp_path: Path, fault: str) -> None:
    with faulty_proxy(ADDRESS[0]) as (address, faults):
        storage = bucket(tmp_path, address=address)
        setattr(faults, fault, 3)
        assert put(storage, "sets/one", b"data")
        setattr(faults, fault, 2)
        assert storage.read("sets/one/part-2") == b"data"
        assert len(storage.list("sets")) == 4


def test_a_lost_answer_to_the_conditional_write_is_still_a_publication(tmp_path: Path) -> None:
    """The write goes through and its answer is lost: the attempt that follows meets its own commit."""
    with faulty_proxy(ADDRESS[0]) as (address, faults):
        storage = bucket(tmp_path, address=address)
        faults.lost, faults.only = 1, f"PUT {module.COMMIT}"
        assert put(storage, "sets/one", b"data")
        assert faults.lost == 0
        assert len(storage.list("sets")) == 4


def test_a_server_that_stays_away_is_named(tmp_path: Path) -> None:
    with faulty_proxy(ADDRESS[0]) as (address, faults):
        storage = bucket(tmp_path, address=address, retry_s=0.5)
        faults.unavailable = 10**6
        with pytest.raises(
            StorageError,
            match="Could not look for 'a/b' in s3://lake/.*Nothing half-written is visible; run the command again",
        ):
            put(storage, "a/b", b"data")
        faults.unavailable = 0
        assert storage.list() == []


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"])
def test_wrong_credentials(tmp_path: Path, code: str) -> None:
    with faulty_proxy(ADDRESS[0]) as (address, faults):
        storage = bucket(tmp_path, address=address)
        faults.denied = code
        for action in (lambda: storage.list("a"), lambda: storage.put_atomic("a", b"1")):
            with pytest.raises(
                StorageError, match="refuses to .*Look at the credentials in the environment .AWS_ACCESS_KEY_ID"
            ) as refused:
                action()
            assert "the-secret-of-a-test" not in str(refused.value)


def test_a_bucket_that_is_not_there(tmp_path: Path) -> None:
    storage = bucket(tmp_path, name="nowhere")
    with pytest.raises(StorageError, match="in s3://nowhere/.*The bucket must exist: vp makes none"):
        storage.put_atomic("a", b"1")
    with pytest.raises(StorageError, match="s3://nowhere"):
        storage.list("a")


@pytest.mark.slow
def test_kill_9_between_parts_leaves_nothing_to_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = bucket(tmp_path)
    code = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from vpcore_object_store.storage import ObjectStorage
        storage = ObjectStorage(Path({str(tmp_path / "dead")!r}), *{storage._made[1:]!r})
        real, n = storage._put, [0]
        def put(path, file, exclusive=False):
            n[0] += 1
            if n[0] == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path, file, exclusive)
        storage._put = put
        stage = storage.stage("sets/one")
        for i in range(5):
            (stage.path / f"part-{{i}}").write_bytes(b"dead")
        (stage.path / "manifest.json").write_bytes(b"dead")
        storage.commit("sets/one", stage)
    """)
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert storage.list() == []
    assert not storage.exists(f"sets/one/{MANIFEST}")
    left = {path for path, _ in storage._objects("sets")}
    assert len(left) == 2
    monkeypatch.setattr(module, "ABANDONED", datetime.timedelta(0))
    assert put(storage, "sets/one", b"alive")
    assert storage.read("sets/one/part-0") == b"alive"
    assert not left & {path for path, _ in storage._objects("sets")}


# -- in a workspace ----------------------------------------------------------------------------------------------------


def test_a_dataset_on_s3_is_the_dataset_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prefix = uuid4().hex
    made = {}
    for name in ("local", "first", "second"):
        workspace, _ = Workspace.create(tmp_path / name)
        start = START_NS // (86_400 * 10**9) * 86_400 * 10**9
        records = random_tape(3, 200, oddities=False)
        mapping = Mapping("ESZ3", INSTRUMENT, start, start + 86_400 * 10**9)
        header = encode_metadata(dataset="TEST", start_ns=start, end_ns=start + 86_400 * 10**9, mappings=[mapping])
        file = tmp_path / "local" / "lake" / "raw" / "a.dbn"
        if name == "local":
            with DbnWriter(file, header) as out:
                out.write(records)
        (workspace.configs / "pipelines" / "p.yaml").write_text(
            "name: p\ncapture: {symbol: ESZ3, date: 2023-11-14, start_time: '22:13:20', end_time: '22:13:23', timezone: UTC}\n"
            "pipeline: {grid_radius_ticks: 4}\n"
        )
        if name != "local":
            (workspace.configs / "workspace.yaml").write_text(
                f"storage: {{backend: object, options: {{url: 's3://lake/{prefix}', region: {REGION}, "
                f"endpoint: 'http://{ADDRESS[0]}', allow_http: true}}}}\n"
            )
        if name == "first":
            workspace.storage.put_atomic("raw/a.dbn", file)
        dataset_id = workspace.pipeline("p").dataset_id()
        made[name] = workspace.datasets.open(dataset_id) if name == "second" else generate(workspace, "p")
        if name != "local":
            assert not list(workspace.datasets_dir.glob("*/*"))
            assert workspace.datasets.ids() == [dataset_id]
    for name in ("first", "second"):
        assert np.array_equal(made[name]["pressure"], made["local"]["pressure"])


@pytest.mark.parametrize("options, message", [
    ({"url": "ftp://x"}, "storage.options.url must be a URL of s3, gs, az, memory, as s3://bucket/prefix, was 'ftp://x' .configs/workspace.yaml"),
    ({}, "storage.options.url must be a URL of s3, gs, az, memory"),
    ({"url": "memory:///", "retry_s": 0}, "storage.options.retry_s must be seconds above 0, at most 3,600, was 0"),
    ({"url": "s3:///"}, "The object store s3:/// cannot be opened: "),
])  # fmt: skip
def test_wrong_options(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ObjectStorage(tmp_path, **options)  # type: ignore[arg-type]


def test_the_storage_is_found_by_its_name(tmp_path: Path) -> None:
    assert Plugins().load("storage", "object") is ObjectStorage
    workspace, _ = Workspace.create(tmp_path / "ws")
    (workspace.configs / "workspace.yaml").write_text("storage: {backend: object, options: {bucket: x}}\n")
    with pytest.raises(ConfigError, match="bucket"):
        _ = workspace.storage
