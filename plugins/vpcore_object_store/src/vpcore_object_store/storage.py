"""The storage `object`: finished files as objects of a bucket.

A collection is uploaded below a folder of its own, ``<prefix>/.tmp-<id>/``, and then published by one conditional
write of ``<prefix>/.tmp-commit``, which holds the id. Keys of users never contain ``.tmp-``, so the two cannot meet. Of
several writers one gets the conditional write, and what a killed writer left is seen by no reader.

``<prefix>/.tmp-<id>.blocks`` has the digests of the collection's blocks: a range is read by whole blocks, and checked.
"""

from __future__ import annotations

import builtins
import datetime
import hashlib
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from vpcore.canonical import canonical_json, sealed, unsealed
from vpcore.errors import ConfigError, StorageError
from vpcore.storage import LocalStorage, Stage, Stat, Storage
from vpcore.storage.protocol import MANIFEST, TEMPORARY, check_key

COMMIT = f"{TEMPORARY}commit"
ABANDONED = datetime.timedelta(days=1)
"""Age from which the parts of an unpublished collection are removed by the next publication beside them."""

SCHEMES = ("s3", "gs", "az", "memory")
MOST_DEEP = 2
"""Most folders between a collection and its files."""

BLOCK_BYTES = 1 << 16
_DIGEST_BYTES = 16
_T = TypeVar("_T")


class ObjectStorage(Storage):
    """Objects below a URL.

    Parameters
    ----------
    root : Path
        ``lake/`` of this machine, where nothing is written.
    url : str
        ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``, or ``memory:///``.
    region, endpoint : str
        Of an S3 service; by default those of the environment.
    allow_http : bool
        Allow an endpoint without TLS.
    retry_s : float
        How long server errors and dropped connections are retried, s.
    cache_gb : float
        Most GB that copies of columns and source files take on each machine; 0 for no limit.

    Raises
    ------
    ConfigError
        If the URL is none of these, or a number is out of range.
    """

    def __init__(
        self,
        root: Path,
        url: str = "",
        region: str = "",
        endpoint: str = "",
        allow_http: bool = False,
        retry_s: float = 60.0,
        cache_gb: float = 0.0,
    ) -> None:
        if url.partition("://")[0] not in SCHEMES:
            raise ConfigError(
                "storage.options.url",
                where="configs/workspace.yaml",
                required=f"a URL of {', '.join(SCHEMES)}, as s3://bucket/prefix",
                was=f"'{url}'",
            )
        _number("retry_s", retry_s, 1e-3, 3600, "seconds above 0, at most 3,600")
        _number("cache_gb", cache_gb, 0, 1e6, "GB from 0 (no limit) to 1,000,000")
        self.cache_bytes = int(cache_gb * 1e9) or None
        self._made = (Path(root), url, region, endpoint, allow_http, retry_s, cache_gb)
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme}://{rest.rstrip('/')}"
        config = {name: value for name, value in (("region", region), ("endpoint", endpoint)) if value}
        try:
            self._store: Any = (
                from_url(
                    url,
                    config=config or None,
                    client_options={"allow_http": True} if allow_http else None,
                    retry_config={"retry_timeout": datetime.timedelta(seconds=retry_s), "max_retries": 10},
                )
                if not url.startswith("memory")
                else from_url(url)
            )
        except (BaseError, ValueError) as error:
            raise ConfigError(f"The object store {url} cannot be opened: {_brief(error)}") from None
        self._stages = LocalStorage(self.cache / "stages")
        self._known: dict[str, str] = {}  # published collections and their ids
        self._digests: dict[str, dict[str, str]] = {}  # of the blocks of their files, by id

    def __repr__(self) -> str:
        return f"ObjectStorage({self._url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._url.startswith("memory"):
            raise StorageError("An object store in memory is of one process: set parallel.executor: serial.")
        return _opened, self._made

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, key: str) -> bytes:
        """Return the bytes of a file. A missing file is a `StorageError` that names the key."""
        data = self._get(check_key(key))
        if data is None and (found := self._in_collection(key)) is not None:
            data = self._get(found)
        if data is None:
            raise StorageError(f"There is no '{key}' in {self._url}.")
        return data

    def _get(self, path: str, doing: str = "") -> bytes | None:
        def get() -> bytes | None:
            try:
                return bytes(obstore.get(self._store, path).bytes())
            except (NotFoundError, FileNotFoundError) as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

        return self._call(doing or f"read '{path}'", get)

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> builtins.list[bytes]:
        """Return the bytes of a file from each start to each end; of a collection, checked against its digests."""
        path, stat = self._found(check_key(key)) or (None, None)
        if path is None or stat is None:
            raise StorageError(f"There is no '{key}' in {self._url}.")
        starts = [start // BLOCK_BYTES * BLOCK_BYTES for start, _ in spans]
        ends = [min(stat.size, -(-end // BLOCK_BYTES) * BLOCK_BYTES) for _, end in spans]
        blocks = [
            bytes(data)
            for data in self._call(
                f"read '{key}'", lambda: obstore.get_ranges(self._store, path, starts=starts, ends=ends)
            )
        ]
        digests = bytes.fromhex(self._digests_of(path))
        for at, data in zip(starts, blocks, strict=True) if digests else ():
            place = at // BLOCK_BYTES * _DIGEST_BYTES
            found = _block_digests(data)
            if digests[place : place + len(found)] != found:
                raise StorageError(
                    f"'{key}' in {self._url} was changed since it was written: bytes {at:,} to {at + len(data):,}. "
                    "Delete the dataset there and generate it again, or restore it from a backup."
                )
        return [data[start - at : end - at] for (start, end), at, data in zip(spans, starts, blocks, strict=True)]

    def _digests_of(self, path: str) -> str:
        """Return the digests of the blocks of a collection's file; empty for any other file."""
        collection, _, rest = path.partition(f"/{TEMPORARY}")
        commit, _, name = rest.partition("/")
        if not name:
            return ""
        if commit not in self._digests:
            stored = f"{collection}/{TEMPORARY}{commit}.blocks"
            found = unsealed(self._get(stored) or b"")
            if found is None:
                raise StorageError(f"The digests of '{collection}' in {self._url} are damaged or missing ({stored}).")
            self._digests[commit] = found["files"]
        return self._digests[commit][name]

    def exists(self, key: str) -> bool:
        """Return True if a finished file is stored under `key`."""
        return self.stat(key) is not None

    def stat(self, key: str) -> Stat | None:
        """Return size and time of a file, or None if it is missing."""
        found = self._found(check_key(key))
        return None if found is None else found[1]

    def list(self, prefix: str = "") -> builtins.list[str]:
        """Return the sorted keys of every finished file below `prefix`; empty for an unknown prefix."""
        base = f"{check_key(prefix)}/" if prefix else ""
        known = -1
        objects: builtins.list[tuple[str, datetime.datetime]] = []
        while known != len(self._known):
            # A collection that was published meanwhile may have been listed in part: then its objects are listed again.
            known = len(self._known)
            objects = self._objects(base)
            for path, _ in objects:
                if path.endswith(f"/{COMMIT}"):
                    self._commit_of(path.removesuffix(f"/{COMMIT}"))
        found = set()
        for path, _ in objects:
            collection, _, rest = path.partition(f"/{TEMPORARY}")
            if not rest:
                found.add(path)
            elif "/" in rest and self._known.get(collection) == rest.partition("/")[0]:
                found.add(f"{collection}/{rest.partition('/')[2]}")
        return sorted(found)

    def _objects(self, base: str) -> builtins.list[tuple[str, datetime.datetime]]:
        def all_of_them() -> builtins.list[tuple[str, datetime.datetime]]:
            pages = obstore.list(self._store, prefix=base or None)
            return [(item["path"], item["last_modified"]) for page in pages for item in page]

        # A prefix of the client is a folder; some stores also answer with names that only begin alike.
        return [pair for pair in self._call(f"list '{base}'", all_of_them) if pair[0].startswith(base)]

    def _found(self, key: str) -> tuple[str, Stat] | None:
        """Return path, size and time of the object that holds a finished file, or None."""
        stat = self._head(key)
        if stat is not None:
            return key, stat
        path = self._in_collection(key)
        stat = None if path is None else self._head(path)
        return None if path is None or stat is None else (path, stat)

    def _in_collection(self, key: str) -> str | None:
        """Return the path of a key inside the published collection that it would be in, or None."""
        parts = key.split("/")
        for depth in range(len(parts) - 1, max(0, len(parts) - 1 - MOST_DEEP), -1):
            collection = "/".join(parts[:depth])
            commit = self._commit_of(collection)
            if commit is not None:
                return "/".join([collection, f"{TEMPORARY}{commit}", *parts[depth:]])
        return None

    def _head(self, path: str) -> Stat | None:
        def head() -> Stat | None:
            try:
                about = obstore.head(self._store, path)
            except (NotFoundError, FileNotFoundError):
                return None
            return Stat(about["size"], int(about["last_modified"].timestamp()) * 10**9)

        return self._call(f"look for '{path}'", head)

    def _commit_of(self, collection: str) -> str | None:
        """Return the id of a published collection, or None."""
        if collection not in self._known:
            commit = self._get(f"{collection}/{COMMIT}", f"look for '{collection}'")
            if commit is None:
                return None
            self._known[collection] = commit.decode()
        return self._known[collection]

    # -- writing -------------------------------------------------------------------------------------------------------

    def put_atomic(self, key: str, file: Path | bytes, *, exclusive: bool = False) -> bool:
        """Store a copy of a file, or bytes, under `key`; see `Storage.put_atomic`.

        With `exclusive`, bytes that are stored already count as stored by this call: the answer to its first attempt
        may have been lost.
        """
        return self._put(check_key(key), file, exclusive) or self._get(key) == file

    def _put(self, path: str, file: Path | bytes, exclusive: bool = False) -> bool:
        def put() -> bool:
            try:
                if exclusive:  # a condition needs a single request
                    obstore.put(self._store, path, file, mode="create", use_multipart=False)
                else:
                    obstore.put(self._store, path, file)
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        return self._call(f"write '{path}'", put)

    def delete(self, key: str) -> None:
        """Remove a file. A missing file is accepted. Without its manifest a collection is no longer published."""
        path, _ = self._found(check_key(key)) or (None, None)
        if path is None:
            return
        collection, _, rest = path.partition(f"/{TEMPORARY}")
        if rest.partition("/")[2] == MANIFEST:
            self._remove(f"{collection}/{COMMIT}")
            self._known.pop(collection, None)
        self._remove(path)

    def _remove(self, path: str) -> None:
        def remove() -> None:
            try:
                obstore.delete(self._store, path)
            except (NotFoundError, FileNotFoundError):
                pass

        self._call(f"remove '{path}'", remove)

    def stage(self, prefix: str) -> Stage:
        """Return a local folder to write a collection into; see `Storage.stage`."""
        return self._stages.stage(check_key(prefix))

    def commit(self, prefix: str, stage: Stage, manifest_last: str = MANIFEST, *, replace: bool = False) -> bool:
        """Upload a staged folder and publish it with one write, conditional unless `replace`; see `Storage.commit`.

        Readers of a replaced collection go on to read its old files, which a later publication removes after a day.
        """
        check_key(prefix)
        with stage:
            files = sorted(path for path in stage.path.rglob("*") if path.is_file())
            if stage.path / manifest_last not in files:
                raise StorageError(f"'{prefix}' cannot be published: it has no {manifest_last}.")
            if not replace and self._commit_of(prefix) is not None:
                return False
            commit = secrets.token_hex(8)
            names = [path.relative_to(stage.path).as_posix() for path in files]
            if any(name.count("/") >= MOST_DEEP for name in names):
                raise StorageError(f"'{prefix}' cannot be published: its files lie more than {MOST_DEEP} folders deep.")
            digests = {name: _file_digests(path) for name, path in zip(names, files, strict=True)}
            blocks = f"{prefix}/{TEMPORARY}{commit}.blocks"
            self._put(blocks, canonical_json(sealed({"files": digests})))
            own = [f"{prefix}/{TEMPORARY}{commit}/{name}" for name in names]
            for path, file in zip(own, files, strict=True):
                self._put(path, file)
            # A request whose answer was lost may have published: what is stored decides, not the answer.
            if (
                not self._put(f"{prefix}/{COMMIT}", commit.encode(), exclusive=not replace)
                and self._commit_of(prefix) != commit
            ):
                for path in (*own, blocks):
                    self._remove(path)
                return False
            self._known[prefix] = commit
            self._sweep(prefix, commit)
            return True

    def _sweep(self, prefix: str, commit: str) -> None:
        """Remove what dead writers of a published collection left."""
        now = datetime.datetime.now(datetime.UTC)
        for path, changed in self._objects(f"{prefix}/"):
            collection, _, rest = path.partition(f"/{TEMPORARY}")
            parts = collection == prefix and f"{TEMPORARY}{rest}" != COMMIT
            if parts and rest and not rest.startswith((f"{commit}/", f"{commit}.")) and now - changed > ABANDONED:
                self._remove(path)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _call(self, doing: str, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise self._denied(doing, error) from None
        except (NotFoundError, FileNotFoundError) as error:
            raise self._no_bucket(doing, error) from None
        except (BaseError, OSError) as error:
            if "status code: 404" in str(error):  # of a listing
                raise self._no_bucket(doing, error) from None
            if "status code: 403" in str(error) or "status code: 401" in str(error):  # of a listing
                raise self._denied(doing, error) from None
            raise StorageError(
                f"Could not {doing} in {self._url}: {_brief(error)}. Nothing half-written is visible; run the command "
                "again."
            ) from None

    def _no_bucket(self, doing: str, error: BaseException) -> StorageError:
        return StorageError(f"Could not {doing} in {self._url}: {_brief(error)}. The bucket must exist: vp makes none.")

    def _denied(self, doing: str, error: BaseException) -> StorageError:
        return StorageError(
            f"The object store {self._url} refuses to {doing}: {_brief(error)}. Look at the credentials in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3), and at the rights of the account."
        )


@lru_cache(maxsize=8)
def _opened(*made: Any) -> ObjectStorage:
    """Return the one storage of a process with these arguments: connections and known collections are shared."""
    return ObjectStorage(*made)


def _number(name: str, value: object, least: float, most: float, required: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        where = "configs/workspace.yaml"
        raise ConfigError(f"storage.options.{name}", where=where, required=required, was=str(value))


def _block_digests(data: bytes) -> bytes:
    view = memoryview(data)
    starts = range(0, len(data), BLOCK_BYTES)
    return b"".join(hashlib.sha256(view[at : at + BLOCK_BYTES]).digest()[:_DIGEST_BYTES] for at in starts)


def _file_digests(path: Path) -> str:
    with path.open("rb") as file:
        return b"".join(_block_digests(data) for data in iter(lambda: file.read(BLOCK_BYTES), b"")).hex()


def _brief(error: BaseException) -> str:
    """Return the first line of an error of obstore, which adds a dump of its structures."""
    text = str(error).partition("\n\nDebug source")[0]
    return " ".join(text.split())[:300].rstrip(".")
