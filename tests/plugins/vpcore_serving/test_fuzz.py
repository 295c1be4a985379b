"""Anything may be in the file of a version or of an export: it is read, or refused in one sentence."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from byte_edits import Edit, edited, edits, few
from hypothesis import given, strategies as st

from vpcore.errors import VpError
from vpcore_serving.registry import PublishedVersion, read_export


@few(40)
@given(data=st.binary(max_size=200), changes=edits)
def test_any_bytes_are_an_export_a_version_or_are_refused(tmp_path: Path, data: bytes, changes: list[Edit]) -> None:
    path = tmp_path / "file"
    version = b"runtime: {a: 1}\nevidence: {b: [1, 2]}\n"
    export = PublishedVersion("base__ofi__0123456789ab", version, "0" * 64).export()
    for content in (data, edited(export, changes), edited(version, changes)):
        path.write_bytes(content)
        with contextlib.suppress(VpError):
            read_export(path)
        with contextlib.suppress(VpError):
            PublishedVersion.from_bytes("base__ofi__0123456789ab", content, "here")
    assert os.listdir(tmp_path) == ["file"]
