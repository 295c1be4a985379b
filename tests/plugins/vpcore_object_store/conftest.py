"""An S3 server for all tests, and machines that share its bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from s3_server import REGION, make_bucket, s3_server
from sweep_workspace import (  # noqa: F401
    edit,
    frames,
    importable,
    make_proven,
    make_workspace,
    paths,
    proofs,
    workspace,
)

from vpcore_object_store.storage import ObjectStorage


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Address of a server with the bucket `lake`."""
    with s3_server() as address:
        make_bucket(address, "lake")
        yield address


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "HTTP_PROXY", "http_proxy"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-id-of-a-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-a-test")


class Machine(ObjectStorage):
    """The storage as one of several machines has it: with a cache folder of its own."""

    home: Path

    @property
    def cache(self) -> Path:
        return self.home


@pytest.fixture
def machine(server: str, tmp_path: Path):
    """Make machines that share a prefix of the bucket."""
    prefix = uuid4().hex

    def make(name: str, address: str = "", bucket: str = "lake", **options: float) -> Machine:
        Machine.home = tmp_path / name / "cache"
        made = Machine(
            tmp_path / name, f"s3://{bucket}/{prefix}", REGION, f"http://{address or server}", True, **options
        )
        made.home = tmp_path / name / "cache"
        return made

    return make
