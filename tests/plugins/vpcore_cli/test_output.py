"""Files that a user names."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vpcore.errors import StorageError
from vpcore.storage.atomic import storage_errors
from vpcore_cli.output import write_output


def test_an_output_keeps_links_and_devices(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "page.html", tmp_path / "page.html"
    real.parent.mkdir()
    link.symlink_to(real)
    assert write_output(link, b"one")  # the link dangles
    assert write_output(link, b"two")
    assert not write_output(link, b"three", exclusive=True)
    assert (link.is_symlink(), real.read_bytes()) == (True, b"two")
    assert [path.name for path in real.parent.iterdir()] == ["page.html"]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        assert write_output(pipe, b"four")
        assert read.result(timeout=60) == b"four"
    assert pipe.is_fifo()
    with pytest.raises(IsADirectoryError):
        write_output(tmp_path, b"five")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_is_a_full_disk_and_stays_a_device() -> None:
    device = Path("/dev/full")
    with (
        pytest.raises(StorageError, match="The disk is full: could not write the page"),
        storage_errors(device, "write the page"),
    ):
        write_output(device, b"x")
    assert device.is_char_device()
