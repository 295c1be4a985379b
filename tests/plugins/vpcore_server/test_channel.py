"""What waits for a client: order, windows, skipped bins, bounds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from hypothesis import given, settings, strategies as st

from vpcore_server import channel as channel_module
from vpcore_server.channel import EVENTS, MOST_TOGETHER, Client, Hello, _frame
from vpcore_server.wire import record_dtype

SIZE = record_dtype("history", 1, 1).itemsize


def record(seq: int) -> bytes:
    made = bytearray(SIZE)
    struct.pack_into("<q", made, 8, seq)
    return bytes(made)


def bins_of(frame: bytes) -> list[tuple[int, int, int]]:
    """Number, skipped and flags of every bin of a frame."""
    found = np.frombuffer(frame, record_dtype("history", 1, 1))
    return [(int(b["bin_seq"]), int(b["skipped"]), int(b["flags"])) for b in found]


def drain(client: Client) -> list[Any]:
    found = []
    while (frame := client.take()) is not None:
        found.append(frame if isinstance(frame, str) else bins_of(frame))
    return found


steps = st.lists(
    st.one_of(st.sampled_from(["bin", "text", "take", "full", "empty"]), st.tuples(st.just("ack"), st.integers(0, 30))),
    max_size=80,
)


@settings(max_examples=80)
@given(steps, st.integers(1, 9), st.booleans(), st.integers(0, 5), st.booleans())
def test_no_bin_is_lost_twice_or_out_of_order(script, window, every, n_stored, direct):
    """Also where some bins and texts go to the socket at once, and it is full at times."""
    client = Client("history", window, every, None)
    full = False

    def write(frame: bytes) -> bool:
        if not full:
            take([frame[2:].decode() if frame[0] == 0x81 else bins_of(frame[2:])])
        return not full

    def take(frames: list[Any]) -> None:
        for frame in frames:
            if isinstance(frame, str):
                said.append(frame)
                if frame != "hello" and every:
                    assert sum(1 + skipped for _, skipped, _ in sent) == int(frame.split()[1])
                continue
            assert len(frame) <= MOST_TOGETHER
            sent.extend(frame)
        new = [seq for seq, _, flags in sent if not flags & 16 and seq > acknowledged]
        assert len(new) <= window

    client.write = write if direct else None
    client.put_text("hello")
    client.put_stored([record(seq) for seq in range(n_stored)])
    put, texts = n_stored, ["hello"]
    sent: list[tuple[int, int, int]] = []
    said: list[str] = []
    acknowledged = -1
    for step in script:
        if step == "bin":
            client.put(record(put), _frame(record(put)))
            put += 1
        elif step == "text":
            texts.append(f"after {put}")
            client.put_text(texts[-1], _frame(texts[-1]))
        elif step == "take":
            if not full:
                take(drain(client))
        elif step in ("full", "empty"):
            full = step == "full"
        else:
            acknowledged = max(acknowledged, step[1])
            client.acknowledge(step[1])
    # Every bin up to the last one sent came, or was counted as skipped by the next one.
    at = 0
    for seq, skipped, flags in sent:
        assert bool(flags & 16) == (seq < n_stored)
        assert seq == at + skipped
        assert not (every and skipped)
        at = seq + 1
    assert said == texts[: len(said)]
    assert client.closed is None
    client.acknowledge(10**6)
    rest = [frame for frame in drain(client) if not isinstance(frame, str)]
    if every:
        client.acknowledge(10**6)
        while more := [frame for frame in drain(client) if not isinstance(frame, str)]:
            rest += more
            client.acknowledge(10**6)
        assert [seq for frame in rest for seq, _, _ in frame] == list(range(at, put))
    elif put > at:
        assert rest[-1][-1][0] == put - 1  # the newest bin


def test_a_bin_goes_to_the_socket_at_once():
    """Without a turn of the loop, and never past what waits."""
    client = Client("history", 2, False, None)
    written: list[bytes] = []
    client.write = lambda frame: written.append(frame) or True
    for seq in range(4):
        client.put(record(seq), _frame(record(seq)))
    client.put_text("after 4", _frame("after 4"))
    assert written == [_frame(record(0)), _frame(record(1))]  # the window is full
    client.acknowledge(1)
    assert drain(client) == [[(2, 0, 0), (3, 0, 0)], "after 4"]
    client.acknowledge(3)
    client.put(record(4), _frame(record(4)))
    assert written[2:] == [_frame(record(4))]


def test_a_client_that_falls_behind_is_closed(monkeypatch):
    monkeypatch.setattr(channel_module, "EVERY_BYTES", 10 * SIZE)
    client = Client("history", 4, True, None)
    for seq in range(10):
        client.put(record(seq))
    assert client.closed is None
    client.put(record(10))
    assert (client.closed.code, "Resume with since" in client.closed.message) == (4408, True)
    latest = Client("history", 4, False, None)
    for seq in range(1000):
        latest.put(record(seq))
    assert latest.closed is None
    assert latest.n_bytes == 4 * SIZE
    for _ in range(EVENTS + 200):
        latest.put_text("x")
    assert (latest.closed.code, latest.closed.message) == (4408, "The client does not read.")


def test_acknowledgements_begin_anew_with_a_session():
    """A client may never acknowledge the last bins of the session before: it has dropped them."""
    client = Client("history", 2, False, None)
    client.put_text(Hello("yesterday"))
    for seq in (1198, 1199):
        client.put(record(seq))
    assert drain(client) == ["yesterday", [(1198, 0, 0), (1199, 0, 0)]]
    client.put_text(Hello("today"))
    for seq in (0, 1):
        client.put(record(seq))
    assert drain(client) == ["today", [(0, 0, 0), (1, 0, 0)]]


def test_a_frame_has_a_most_of_bytes():
    client = Client("exact", 64, True, None)
    big = bytes(100_000)
    client.put_stored([big] * 5)
    for _ in range(5):
        client.put(big)
    sizes = [len(frame) for frame in iter(client.take, None)]
    assert sizes == [200_000, 200_000, 100_000] * 2


def test_a_client_without_acknowledgements_is_closed(monkeypatch):
    monkeypatch.setattr(channel_module, "STUCK_S", 0.0)
    client = Client("history", 2, False, None)
    for seq in range(4):
        client.put(record(seq))
        client.take()
    client.check_stuck()
    assert client.closed.code == 4408
    assert "has acknowledged nothing for 0 s" in client.closed.message
