"""The storage `object`: finished files as objects of a bucket.

A collection is uploaded below a folder of its own, ``<prefix>/.tmp-<id>/``, and then published by one conditional
write of ``<prefix>/.tmp-commit``, which holds the id. Keys of users never contain ``.tmp-``, so the two cannot meet. Of
several writers one gets the conditional write, and what a killed writer left is seen by no reader.
"""

from __future__ import annotations

import builtins
import datetime
import secrets
from collections.abc import Callable
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

from vpcore.errors import ConfigError, StorageError
from vpcore.storage import LocalStorage, Stage, Storage
from vpcore.storage.protocol import MANIFEST, TEMPORARY, check_key

COMMIT = f"{TEMPORARY}commit"
ABANDONED = datetime.timedelta(days=1)
"""Age from which the parts of an unpublished collection are removed by the next publication beside them."""

SCHEMES = ("s3", "gs", "az", "memory")
_STAGES = "cache/object-stages"
_T = TypeVar("_T")


class ObjectStorage(Storage):
    """Objects below a URL.

    Parameters
    ----------
    root : Path
        ``lake/`` of this machine: collections are put together there before their upload.
    url : str
        ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``, or ``memory:///``.
    region, endpoint : str
        Of an S3 service; by default those of the environment.
    allow_http : bool
        Allow an endpoint without TLS.
    retry_s : float
        How long server errors and dropped connections are retried, s.

    Raises
    ------
    ConfigError
        If the URL is none of these.
    """

    def __init__(
        self,
        root: Path,
        url: str = "",
        region: str = "",
        endpoint: str = "",
        allow_http: bool = False,
        retry_s: float = 60.0,
    ) -> None:
        if url.partition("://")[0] not in SCHEMES:
            raise ConfigError(
                "storage.options.url",
                where="configs/workspace.yaml",
                required=f"a URL of {', '.join(SCHEMES)}, as s3://bucket/prefix",
                was=f"'{url}'",
            )
        if isinstance(retry_s, bool) or not isinstance(retry_s, (int, float)) or not 0 < retry_s <= 3600:
            required = "seconds above 0, at most 3,600"
            raise ConfigError(
                "storage.options.retry_s", where="configs/workspace.yaml", required=required, was=str(retry_s)
            )
        self._made = (Path(root), url, region, endpoint, allow_http, retry_s)
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
        self._stages = LocalStorage(Path(root) / _STAGES)
        self._known: dict[str, str] = {}  # published collections and their ids, which never change

    def __repr__(self) -> str:
        return f"ObjectStorage({self._url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._url.startswith("memory"):
            raise StorageError("An object store in memory is of one process: set parallel.executor: serial.")
        return type(self), self._made

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, key: str) -> bytes:
        """Return the bytes of a file. A missing file is a `StorageError` that names the key."""
        found = self._found(check_key(key))
        if found is None:
            raise StorageError(f"There is no '{key}' in {self._url}.")
        return self._call(f"read '{key}'", lambda: bytes(obstore.get(self._store, found).bytes()))

    def exists(self, key: str) -> bool:
        """Return True if a finished file is stored under `key`."""
        return self._found(check_key(key)) is not None

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

    def _found(self, key: str) -> str | None:
        """Return the path of the object that holds a finished file, or None."""
        if self._has(key):
            return key
        parts = key.split("/")
        for depth in range(len(parts) - 1, 0, -1):
            collection = "/".join(parts[:depth])
            commit = self._commit_of(collection)
            if commit is not None:
                path = "/".join([collection, f"{TEMPORARY}{commit}", *parts[depth:]])
                return path if self._has(path) else None
        return None

    def _has(self, path: str) -> bool:
        def head() -> bool:
            try:
                obstore.head(self._store, path)
            except (NotFoundError, FileNotFoundError):
                return False
            return True

        return self._call(f"look for '{path}'", head)

    def _commit_of(self, collection: str) -> str | None:
        """Return the id of a published collection, or None."""
        if collection not in self._known:

            def get() -> str | None:
                try:
                    return bytes(obstore.get(self._store, f"{collection}/{COMMIT}").bytes()).decode()
                except (NotFoundError, FileNotFoundError):
                    return None

            commit = self._call(f"look for '{collection}'", get)
            if commit is None:
                return None
            self._known[collection] = commit
        return self._known[collection]

    # -- writing -------------------------------------------------------------------------------------------------------

    def put_atomic(self, key: str, file: Path | bytes, *, exclusive: bool = False) -> bool:
        """Store a copy of a file, or bytes, under `key`; see `Storage.put_atomic`."""
        return self._put(check_key(key), file, exclusive)

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
        found = self._found(check_key(key))
        if found is None:
            return
        collection, _, rest = found.partition(f"/{TEMPORARY}")
        if rest.partition("/")[2] == MANIFEST:
            self._remove(f"{collection}/{COMMIT}")
            self._known.pop(collection, None)
        self._remove(found)

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

    def commit(self, prefix: str, stage: Stage, manifest_last: str = MANIFEST) -> bool:
        """Upload a staged folder and publish it with one conditional write; see `Storage.commit`."""
        check_key(prefix)
        with stage:
            files = sorted(path for path in stage.path.rglob("*") if path.is_file())
            if stage.path / manifest_last not in files:
                raise StorageError(f"'{prefix}' cannot be published: it has no {manifest_last}.")
            if self._commit_of(prefix) is not None:
                return False
            commit = secrets.token_hex(8)
            own = [f"{prefix}/{TEMPORARY}{commit}/{path.relative_to(stage.path).as_posix()}" for path in files]
            for path, file in zip(own, files, strict=True):
                self._put(path, file)
            # A request whose answer was lost may have published: what is stored decides, not the answer.
            if (
                not self._put(f"{prefix}/{COMMIT}", commit.encode(), exclusive=True)
                and self._commit_of(prefix) != commit
            ):
                for path in own:
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
            parts = collection == prefix and "/" in rest
            if parts and not rest.startswith(f"{commit}/") and now - changed > ABANDONED:
                self._remove(path)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _call(self, doing: str, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise self._denied(doing, error) from None
        except (NotFoundError, FileNotFoundError) as error:
            raise StorageError(
                f"Could not {doing} in {self._url}: {_brief(error)}. The bucket must exist: vp makes none."
            ) from None
        except (BaseError, OSError) as error:
            if "status code: 403" in str(error) or "status code: 401" in str(error):  # of a listing
                raise self._denied(doing, error) from None
            raise StorageError(
                f"Could not {doing} in {self._url}: {_brief(error)}. Nothing half-written is visible; run the command "
                "again."
            ) from None

    def _denied(self, doing: str, error: BaseException) -> StorageError:
        return StorageError(
            f"The object store {self._url} refuses to {doing}: {_brief(error)}. Look at the credentials in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3), and at the rights of the account."
        )


def _brief(error: BaseException) -> str:
    """Return the first line of an error of obstore, which adds a dump of its structures."""
    text = str(error).partition("\n\nDebug source")[0]
    return " ".join(text.split())[:300].rstrip(".")
