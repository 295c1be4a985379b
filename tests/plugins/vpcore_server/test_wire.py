"""Frames, byte by byte."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from live_world import PARAMS, live, tape
from markets import START_NS, TICK_INT

from vpcore.canonical import bytes_digest
from vpcore.projection import ProjectionConfig
from vpcore.schema import GRID_VALUES
from vpcore_server.client import dtype_of
from vpcore_server.wire import PROFILES, VIEW_COLUMNS, Encoder, layout, record_dtype

CELLS = PARAMS.n_cells
HORIZONS = ProjectionConfig(horizons_ms=(200, 500))
GOLDEN = {
    "view": "865e3e2fe245baa212b0050f8a2c930aee7481914a03f3137c7b2304a62beb46",
    "exact": "0c658c89c95fe05408cd3a28502be9263f252fc31242fa5c0261bb9a4494dadd",
}
"""sha256 of the frames of one tape, without the bits of the platform's libm: counts, depths and prices."""


@pytest.fixture(scope="module")
def bins():
    """A session that is lost in the middle."""
    pipeline, records = live(projection=HORIZONS), tape()
    made = pipeline.push(records[:400])
    pipeline.lost()
    return made + pipeline.push(records[400:])


def encoded(bin, flags=0):
    return Encoder(CELLS, 2, TICK_INT).encode(bin, 123_456_789, flags)


def test_the_header_is_where_the_documents_say(bins):
    seen = set()
    for number, bin in enumerate(bins):
        raw = encoded(bin, 4)[0][:96]
        magic, version, flags, skipped, seq, end_ns, closed_ns, value, mid = struct.unpack_from("<HBBIqqqdd", raw)
        prices = struct.unpack_from("<11i", raw, 48)
        entry, n_exits, reserved = struct.unpack_from("<bBH", raw, 92)
        b = bin.frame.bins
        assert (magic, version, skipped, reserved) == (0x5056, 1, 0, 0)
        assert flags == 4 + bin.valid + 2 * bin.ready
        assert (seq, end_ns, closed_ns) == (number, START_NS + (number + 1) * 10**8, 123_456_789)
        assert struct.pack("<dd", value, mid) == struct.pack("<dd", bin.value, b["mid_price"])
        assert prices == (
            b["best_bid_price_int"] // TICK_INT, b["best_ask_price_int"] // TICK_INT, b["best_bid_size"], b["best_ask_size"],
            b["mid2_high"], b["mid2_low"], b["buy_volume"], b["sell_volume"], b["cross_volume"], b["trade_count"], b["bin_event_count"],
        )  # fmt: skip
        assert (entry, n_exits) == (bin.entry, len(bin.exits))
        seen.add(bin.valid)
    assert seen == {True, False}


@pytest.mark.parametrize("profile", PROFILES)
def test_hello_describes_the_layout(profile):
    for cells, horizons in ((1, 1), (25, 4), (101, 3)):
        dtype = record_dtype(profile, cells, horizons)
        hello = json.loads(json.dumps({"layout": layout(dtype), "record_bytes": dtype.itemsize}))
        assert dtype_of(hello) == dtype
        assert dtype.itemsize % 8 == 0
        ends = 0
        for field in hello["layout"]:
            assert field["offset"] >= ends
            assert field["offset"] < 96 or field["offset"] % 8 == 0
            ends = field["offset"] + np.dtype(field["type"]).itemsize * int(np.prod(field["shape"], dtype=int))
        assert ends <= dtype.itemsize < ends + 8
    assert record_dtype("view", 101, 4).itemsize == 3872
    assert record_dtype("exact", 101, 4).itemsize == 14848


def test_the_columns_are_those_of_the_bin(bins):
    for bin in bins:
        view, exact = (
            np.frombuffer(raw, record_dtype(name, CELLS, 2))[0]
            for name, raw in zip(("view", "exact"), encoded(bin), strict=True)
        )
        for name in GRID_VALUES:
            assert exact[name].tobytes() == bin.frame.grid[name].tobytes()
        for name in VIEW_COLUMNS:
            assert view[name].tobytes() == bin.frame.grid[name].tobytes()
        assert exact["score"].tobytes() == bin.score.tobytes()
        assert exact["projection"].tobytes() == bin.projection.tobytes()
        assert exact["state"].tobytes() == view["state"].tobytes() == bin.state.tobytes()
        assert (view["score"] == bin.score.astype(np.float32)).all()
        assert np.abs(view["projection"] / 127 - bin.projection).max() <= 0.5 / 127 + 1e-12


def test_golden_frames(bins):
    for name, place in (("view", 0), ("exact", 1)):
        raw = bytearray(b"".join(encoded(bin)[place] for bin in bins))
        records = np.frombuffer(raw, record_dtype(name, CELLS, 2))
        for column in records.dtype.names:
            if column not in ("bid_depth", "ask_depth") and records.dtype[column].shape:
                records[column] = 0
        records["value"] = 0
        assert bytes_digest(bytes(raw)) == GOLDEN[name]
