"""Whether a dataset is still what it was: with a source that reads files, whose answers are remembered."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from markets import START_NS
from tape_source import TapeSource

from vpcore.api import generate
from vpcore.dataset import verify_files
from vpcore.errors import DatasetError
from vpcore.generation import sources as provenance
from vpcore.generation.generate import closed_stretches, data_warnings, generate_dataset

COUNTERS = (
    "invalid_bins", "crossed_events", "one_sided_events", "bad_book_spans", "trade_events", "unbalanced_trade_events",
    "carried_orders", "carried_orders_missing", "carried_orders_extra", "carried_orders_changed",
)  # fmt: skip
QUALITY = {"began_without_book": False, "cold_start": False, "unknown_order_rate": 0.0} | dict.fromkeys(COUNTERS, 0)


@pytest.fixture
def made(workspace, put_tape, put_pipeline):
    put_tape()
    return generate(workspace, put_pipeline())


@pytest.fixture
def hashed(monkeypatch):
    """How often the files of a dataset were hashed."""
    calls = []
    monkeypatch.setattr(provenance, "verify_files", lambda path: calls.append(path) or verify_files(path))
    return calls


def test_files_that_stand_still_are_hashed_once(workspace, made, hashed):
    for _ in range(3):
        assert generate_dataset(workspace, "p").warnings == ()
    assert len(hashed) == 1


def test_a_changed_source_is_found_although_its_size_and_times_are_kept(workspace, made, hashed):
    generate_dataset(workspace, "p")
    path = workspace.raw / "a.npy"
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for _ in range(2):  # what is wrong is not remembered as right
        with pytest.raises(DatasetError, match=r"was made from another a\.npy: its sha256 was \w+ then"):
            generate_dataset(workspace, "p")


def test_a_second_file_for_the_window_is_found(workspace, made, put_tape):
    generate_dataset(workspace, "p")
    put_tape("b.npy", seed=2)
    with pytest.raises(DatasetError, match=r"the window is now read from a\.npy .*, b\.npy"):
        generate_dataset(workspace, "p")


def test_a_source_that_reads_no_files_is_asked_every_time(workspace, made, hashed, monkeypatch):
    monkeypatch.setattr(TapeSource, "reads_files", False)
    for _ in range(3):
        assert generate_dataset(workspace, "p").warnings == ()
    assert len(hashed) == 3


def test_a_file_of_the_dataset_changed_by_hand_is_found(workspace, made):
    generate_dataset(workspace, "p")
    path = made.path / "grid_clean.parquet"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"is not as it was written: grid_clean\.parquet is changed\. Move its fold"):
        generate_dataset(workspace, "p")


def test_other_code_is_said_every_time(workspace, made, monkeypatch, hashed):
    generate_dataset(workspace, "p")
    monkeypatch.setattr(provenance, "engine_code", lambda: "0" * 64)
    for _ in range(2):
        (warning,) = generate_dataset(workspace, "p").warnings
        assert "engine's code has changed" in warning
    assert len(hashed) == 2  # once for each code


def test_a_stamp_that_cannot_be_read_or_written_is_done_without(workspace, made, hashed):
    folder = workspace.cache_dir / provenance.CHECKED
    generate_dataset(workspace, "p")
    (stamp,) = folder.iterdir()
    for text in ("{", "[]", "{}"):
        stamp.write_text(text)
        assert generate_dataset(workspace, "p").warnings == ()
    stamp.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert generate_dataset(workspace, "p").warnings == ()
    assert len(hashed) == 5


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({}, []),
        ({"invalid_bins": 5}, []),
        (
            {"invalid_bins": 92, "crossed_events": 1234, "bad_book_spans": 2},
            [
                r"92.0% of the bins are invalid. Since the files began: the book was crossed after 1,234 events, the feed called .* 2 times"
            ],
        ),
        ({"invalid_bins": 100}, ["No bin of the dataset is valid: at the end of every bin the book was crossed"]),
        (
            {"invalid_bins": 100, "began_without_book": True},
            ["The records began without a snapshot", "no book ever arrived. .* set capture.cold_book: build"],
        ),
        (
            {"unknown_order_rate": 0.0426},
            ["4.3% of the cancels and modifies were of .*: records are missing or out of"],
        ),
        (
            {"unknown_order_rate": 0.0426, "began_without_book": True, "cold_start": True},
            ["4.3% of the cancels .* orders are older than the file, which began without a snapshot"],
        ),
        ({"trade_events": 100, "unbalanced_trade_events": 1}, []),
        (
            {"trade_events": 106, "unbalanced_trade_events": 106},
            ["In 106 of 106 events with trades the fills do not add up .* set capture.events: sequence"],
        ),
        ({"carried_orders": 1000, "carried_orders_missing": 6, "carried_orders_extra": 4}, []),
        (
            {"carried_orders": 1000, "carried_orders_missing": 6, "carried_orders_changed": 5},
            ["snapshot contradicts the book .* in 11 of 1,000 orders"],
        ),
    ],
)
def test_what_a_user_is_told_of_the_data(quality, said):
    told = data_warnings(QUALITY | quality, 100, np.ones(100, np.int64))
    assert len(told) == len(said)
    assert all(re.search(pattern, text) for pattern, text in zip(said, told, strict=True))


def test_stretches_without_an_event_are_named():
    counts, minute = np.ones(5000, np.int64), 600  # bins of 100 ms
    assert closed_stretches(counts, START_NS, 10**8) == []
    counts[100 : 100 + minute - 1] = 0
    assert closed_stretches(counts, START_NS, 10**8) == []
    counts[1000 : 1000 + minute] = 0
    (text,) = closed_stretches(counts, START_NS, 10**8)
    assert "a minute or more: 2023-11-14 22:15:00 to 2023-11-14 22:16:00. The market" in text
    for first in (2000, 3000, 4400):
        counts[first : first + minute] = 0
    counts[2000 : 2000 + minute + 1] = 0
    (text,) = closed_stretches(counts, START_NS, 10**8)
    assert text.count(" to ") == 3
    assert "and 1 shorter one." in text
    (text,) = closed_stretches(np.zeros(601, np.int64), START_NS, 10**8)
    assert "2023-11-14 22:13:20 to 2023-11-14 22:14:20.1" in text
