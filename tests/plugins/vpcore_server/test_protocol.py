"""Close codes, refusals, security and endpoints, on a server with one small session."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings, strategies as st
from live_server import LiveServer, Received, live_server, receive
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vpcore import ConfigError, Workspace
from vpcore_cli import app as cli
from vpcore_server import channel as channel_module, connection, server as server_module
from vpcore_server.client import StreamError
from vpcore_server.connection import BURST_FRAMES
from vpcore_server.security import Gate, read_token
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import published

TOKEN = "t" * 32


@pytest.fixture(scope="module")
def server(served: Workspace) -> Any:
    """The replay takes a minute and begins again, so that it outlasts the tests."""
    with live_server(served, ["erd"], options={"speed": 2}, loop=True, max_clients=6) as running:
        yield running


async def talk(server: LiveServer, query: str, *frames: str | bytes, **options: Any) -> tuple[int, str]:
    """Return the code and the message that a connection ends with."""
    said = ""
    async with connect(f"{server.url}/v1/stream{query}", max_size=None, **options) as socket_:
        with contextlib.suppress(ConnectionClosed):
            for frame in frames:
                await socket_.send(frame)
            async with asyncio.timeout(120):
                async for frame in socket_:
                    if isinstance(frame, str) and json.loads(frame)["type"] == "error":
                        said = json.loads(frame)["message"]
    assert socket_.close_code is not None
    return socket_.close_code, said


START = '{"op": "start"}'


def n_bins(found: Received) -> int:
    return sum(map(len, found.frames))


@pytest.mark.parametrize(
    ("query", "frames", "code", "message"),
    [
        ("", [START], 4400, "The query needs one serving=ALIAS_OR_ID, was 0."),
        ("?serving=erd&serving=ofi", [], 4400, "The query needs one serving=ALIAS_OR_ID, was 2."),
        ("?serving=erd&threshold=3", [], 4400, "The query has the key 'threshold'. It takes serving alone: a version cannot be overridden."),
        ("?servin=erd", [], 4400, "Did you mean 'serving'?"),
        ("?serving=edr", [START], 4404, "No serving version or alias is called 'edr'. Did you mean 'erd'?"),
        ("?serving=erd", ["{"], 4400, "A frame of a client must be a JSON object, was '{'."),
        ("?serving=erd", ["[1]"], 4400, "A frame of a client must be a JSON object, was '[1]'."),
        ("?serving=erd", [b"\x00\x01"], 4400, "A frame of a client must be text of at most 4096 bytes."),
        ("?serving=erd", ["[" * 4000], 4400, "A frame of a client must be a JSON object"),
        ("?serving=erd", ['{"op": "go"}'], 4400, 'op of the first frame must be the text start, was "go".'),
        ("?serving=erd", ['{"op": "start", "speed": 2}'], 4400, "The first frame has the key 'speed'. It takes: op, profile"),
        ("?serving=erd", ['{"op": "start", "profile": "full"}'], 4400, 'profile of the first frame must be history, view or exact, was "full".'),
        ("?serving=erd", ['{"op": "start", "profile": []}'], 4400, "profile of the first frame must be history, view or exact, was []."),
        ("?serving=erd", ['{"op": "start", "mode": "some"}'], 4400, 'mode of the first frame must be latest or every, was "some".'),
        ("?serving=erd", ['{"op": "start", "since": true}'], 4400, "since of the first frame must be the number of a bin, was true."),
        ("?serving=erd", ['{"op": "start", "window": 0}'], 4400, "window of the first frame must be a number of bins from 1 to 4096, was 0."),
        ("?serving=erd", ['{"op": "start", "last": -1}'], 4400, "last of the first frame must be a number of bins from 0, was -1."),
        ("?serving=erd", ['{"op": "start", "session": 7}'], 4400, "session of the first frame must be a session of hello, was 7."),
        ("?serving=erd", [START, '{"op": "ack"}'], 4400, 'Later frames must be {"op": "ack", "bin": N}, was {"op": "ack"}.'),
        ("?serving=erd", [START, '{"op": "ack", "bin": 1e3}'], 4400, 'Later frames must be {"op": "ack", "bin": N}'),
        ("?serving=erd", [START, *['{"op": "ack", "bin": 0}'] * (BURST_FRAMES + 40)], 4400, "A client may send 20 frames per second."),
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_closes_with_its_code(server, monkeypatch, query, frames, code, message) -> None:
    if query and len(frames) <= 2:  # no frame of the client is on its way when the server closes
        monkeypatch.setattr(connection, "PARTING_S", 0.01)
    found, said = asyncio.run(talk(server, query, *frames))
    assert found == code
    assert message in said


def test_a_frame_of_more_than_4_kb_ends_the_connection(server) -> None:
    assert asyncio.run(talk(server, "?serving=erd", "x" * 5000))[0] == 1009


def test_a_client_that_falls_behind_is_closed_with_4408(server, monkeypatch) -> None:
    monkeypatch.setattr(channel_module, "EVERY_BYTES", 5000)
    found, said = asyncio.run(talk(server, "?serving=erd", '{"op": "start", "mode": "every", "window": 1}'))
    assert (found, "Resume with since." in said) == (4408, True)


def test_a_client_that_reads_nothing_is_closed(server, monkeypatch) -> None:
    """Its socket takes no frame: the server ends the wait, and its other clients go on."""
    monkeypatch.setattr(channel_module, "STUCK_S", 0.3)
    monkeypatch.setattr(connection, "STUCK_S", 0.3)
    client = channel_module.Client("view", 8, False, None)
    client.put(b"\0" * 96)

    class Full:
        async def send(self, _: Any) -> None:
            await asyncio.Event().wait()

    async def run() -> None:
        listening = asyncio.create_task(asyncio.sleep(60))
        sending = asyncio.create_task(connection._send(Full(), client, listening))  # type: ignore[arg-type]
        while not sending.done():
            await asyncio.sleep(0.05)
            client.check_stuck()
        listening.cancel()
        await sending

    with pytest.raises(channel_module.Closed, match="The client has read nothing for 0.3 s.") as caught:
        asyncio.run(run())
    assert caught.value.code == 4408
    client.check_stuck()  # when it is gone, nothing is left to end


@pytest.mark.slow
def test_a_request_that_does_not_come_holds_no_connection(server, monkeypatch) -> None:
    monkeypatch.setattr(server_module, "REQUEST_S", 0.4)
    monkeypatch.setattr(server.config, "timeout_keep_alive", 1)
    whole = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    for first in (b"", b"GET / HTTP/1.1\r\nHost:", whole + b"GET / HTTP/1.1\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
            raw.sendall(first)
            answer = b""
            while part := raw.recv(4096):
                answer += part
            assert answer.startswith(b"HTTP/1.1 200") == first.startswith(whole)


def test_since_counts_in_its_session(server) -> None:
    """A number of another session means nothing: the client gets all of the present one, and is told."""

    async def run(**start: Any) -> Received:
        return await receive(server, "erd", profile="history", until=lambda found: bool(found.frames), **start)

    asyncio.run(receive(server, "erd", profile="history", until=lambda found: len(found.frames) > 8))
    for _ in range(3):  # the replay may begin anew meanwhile
        plain = asyncio.run(run(since=-1))
        session, behind = plain.hello["session"], int(plain.bins["bin_seq"][-1]) - 3
        same, other = (asyncio.run(run(since=behind, session=name)) for name in (session, "the day before"))
        if session == same.hello["session"] == other.hello["session"]:
            break
    assert session.startswith(f"{plain.hello['serving_id']}/ESU5/{plain.hello['start_ns']}/")
    assert [found.hello["resumed"] for found in (plain, same, other)] == [None, True, False]
    assert same.bins["bin_seq"][0] == behind + 1
    assert other.bins["bin_seq"][0] == plain.bins["bin_seq"][0]


def shake_hands(server: LiveServer) -> socket.socket:
    """Return the socket of a WebSocket without a library behind it."""
    raw = socket.socket()
    raw.settimeout(60)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before it connects: the system takes megabytes later
    raw.connect(("127.0.0.1", server.port))
    raw.sendall(
        f"GET /v1/stream?serving=erd HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    return raw


def frame_of(text: str) -> bytes:
    """Return a text frame of a client."""
    data = text.encode()
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


def wait_until_all_have_left(server: LiveServer) -> None:
    deadline = time.monotonic() + 60
    while server.call(lambda: server.hub.n_clients):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_garbage_harms_its_sender_alone(server) -> None:
    """It is refused; another client, which was there before, gets its bins afterwards too."""

    def send() -> bytes:
        said = b""
        with shake_hands(server) as bad:
            bad.sendall(frame_of("garbage") * 10_000)
            while b'"code": 4400' not in said and (part := bad.recv(65536)):
                said += part
        return said

    async def run() -> bytes:
        sending = asyncio.create_task(asyncio.to_thread(send))
        refused_at: list[int] = []

        def goes_on(found: Received) -> bool:
            if sending.done():
                refused_at.append(len(found.frames))
            return refused_at != [] and len(found.frames) > refused_at[0] + 5

        await receive(server, "erd", until=goes_on)
        return await sending

    assert b'"code": 4400' in asyncio.run(run())
    wait_until_all_have_left(server)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
start_frames = st.dictionaries(
    st.sampled_from(["op", "profile", "mode", "since", "session", "last", "window", "extra"]), json_values
).map(lambda keys: json.dumps({"op": "start", **keys}))
client_frames = st.one_of(st.text(max_size=50), st.binary(max_size=50), json_values.map(json.dumps), start_frames)


@pytest.mark.slow
@settings(max_examples=30)
@given(frames=st.lists(client_frames, min_size=1, max_size=3))
@example(frames=['{"op": "start", "profile": []}'])
@example(frames=['{"op": "start", "\\ud800": 1}'])
@example(frames=[START, '{"op": "ack", "bin": 1e400}'])
def test_any_frames_of_a_client_are_taken_or_refused(server, frames) -> None:
    """The last frame is refused, so every connection ends; none ends with an error of the server."""
    code, _ = asyncio.run(talk(server, "?serving=erd", *frames, "the end"))
    assert code == 4400


def test_no_frame_waits_for_the_acknowledgement_of_another() -> None:
    """Nagle's algorithm is off for accepted sockets: a bin would wait 40 ms."""
    with server_module.listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_server_has_a_most_of_clients(server) -> None:
    async def run() -> str:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(6):
                await stack.enter_async_context(connect(f"{server.url}/v1/stream?serving=erd"))
            code, said = await talk(server, "?serving=erd", START)
            assert code == 4429
            return said

    wait_until_all_have_left(server)
    assert asyncio.run(run()) == "The server has 6 clients, its most. Try again later."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "window", "message"),
    [("exact", 4096, "The client has read nothing for"), ("history", 1, "The client has acknowledged nothing for")],
)
def test_a_half_open_socket_holds_nobody_up(server, monkeypatch, profile, window, message) -> None:
    """A client that neither reads nor answers: the others get their bins, and it is noticed and dropped.

    One fills its socket. The other one has room in the socket, and a full window.
    """
    wait_until_all_have_left(server)
    with contextlib.closing(shake_hands(server)) as raw:
        raw.sendall(frame_of(json.dumps({"op": "start", "profile": profile, "window": window, "since": -1})))

        def stuck() -> list[channel_module.Client]:
            clients = [client for channel in server.hub.channels.values() for client in channel.clients]
            return [client for client in clients if client.profile == profile]

        found = asyncio.run(receive(server, "erd", until=lambda found: len(found.frames) > 20))
        assert len(found.frames) > 20
        (client,) = server.call(stuck)
        assert client.n_bytes <= window * {"exact": 14848, "history": 96}[profile]
        monkeypatch.setattr(channel_module, "STUCK_S", 0.5)
        wait_until_all_have_left(server)
        closed = server.call(lambda: client.closed)
        assert (closed.code, message in closed.message) == (4408, True)
        assert server.call(stuck) == []
        raw.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1 << 16):
                pass


def test_a_client_that_answers_no_ping_is_dropped(served: Workspace, monkeypatch) -> None:
    """Also if the session is over, and nothing is sent that could get stuck."""
    monkeypatch.setattr(server_module, "PING_S", 0.3)
    with live_server(served, options={"speed": "max"}) as server, contextlib.closing(shake_hands(server)) as raw:
        raw.sendall(frame_of(json.dumps({"op": "start", "profile": "history"})))
        deadline = time.monotonic() + 30
        while not server.call(lambda: server.hub.n_clients):
            assert time.monotonic() < deadline
        wait_until_all_have_left(server)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1 << 16):
                pass


# -- who may connect ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(served: Workspace) -> Any:
    with live_server(served, token=TOKEN, origins=("https://desk.example",)) as running:
        yield running


def test_the_token(locked, monkeypatch) -> None:
    monkeypatch.setattr(connection, "PARTING_S", 0.01)
    status, headers, _ = locked.get("/v1/servings")
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert locked.get("/v1/servings", authorization=f"Bearer {TOKEN}")[0] == 200
    assert locked.get("/v1/servings", authorization=f"Bearer {TOKEN}x")[0] == 401
    assert locked.get(f"/v1/servings?token={TOKEN}")[0] == 401
    for path in ("/", "/healthz", "/page/app.js"):
        assert locked.get(path)[0] == 200
    for path in ("/metrics", "/readyz", "/v1/experiments", "/v1/servings/erd/bins"):
        assert locked.get(path)[0] == 401
    assert asyncio.run(talk(locked, "?serving=erd")) == (4401, "The token is missing or wrong.")
    assert asyncio.run(talk(locked, f"?serving=erd&token={TOKEN}"))[0] == 4401
    wrong = {"subprotocols": ["vp1", "token." + "x" * 32]}
    assert asyncio.run(talk(locked, "?serving=erd", **wrong))[0] == 4401
    right = {"subprotocols": ["vp1", "token." + TOKEN]}
    assert asyncio.run(talk(locked, "?serving=nobody", START, **right))[0] == 4404
    header = {"additional_headers": {"Authorization": f"bearer {TOKEN}"}}
    assert asyncio.run(talk(locked, "?serving=nobody", START, **header))[0] == 4404


def test_the_origin(locked, monkeypatch) -> None:
    monkeypatch.setattr(connection, "PARTING_S", 0.01)
    own = {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}}
    for origin, code in (
        (f"http://127.0.0.1:{locked.port}", 4404),
        ("https://desk.example", 4404),
        ("https://evil.example", 4403),
        ("null", 4403),
    ):
        frames = [START] if code == 4404 else []  # a refused origin is closed before its first frame
        found, said = asyncio.run(talk(locked, "?serving=nobody", *frames, origin=origin, **own))
        assert found == code
        assert code == 4404 or "may not connect" in said


def test_the_host_header(locked, server) -> None:
    for name in ("evil.example", f"evil.example:{server.port}", "127.0.0.1"):
        assert server.get("/healthz", host=name)[0] == 421
    assert server.get("/healthz", host=f"localhost:{server.port}")[0] == 200
    assert locked.get("/healthz", host="desk.example")[0] == 200

    async def run() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /v1/stream?serving=erd HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()

    asyncio.run(run())


def test_every_answer_has_its_headers_and_is_read_only(server) -> None:
    for path in ("/", "/page/app.js", "/v1/servings", "/metrics", "/nothing", "/page/..%2fapp.py"):
        _, headers, _ = server.get(path)
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "access-control-allow-origin" not in headers
        assert "set-cookie" not in headers
    assert server.get("/page/..%2fapp.py")[0] == 404
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(
            f"POST /v1/servings HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 405")


def test_a_server_for_the_network_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="A server on 0.0.0.0 is open to the network, so it needs --token-file"):
        read_token(None, "0.0.0.0")
    file = tmp_path / "token"
    file.write_text("short\n")
    with pytest.raises(
        ConfigError, match="must be at least 32 characters without space, quote, comma and semicolon, was 5 characters"
    ):
        read_token(file, "0.0.0.0")
    file.write_text(TOKEN + "\n")
    assert read_token(file, "0.0.0.0") == TOKEN
    with pytest.raises(ConfigError, match="The token file .* cannot be read"):
        read_token(tmp_path / "none", "127.0.0.1")
    for name in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        assert read_token(None, name) is None
    for origin in ("desk.example", "https://desk.example/", "ftp://desk.example", "*"):
        with pytest.raises(ConfigError, match="--origin must be of the form https://name or https://name:port, was"):
            Gate.of("127.0.0.1", 1, [origin], None)


# -- endpoints ---------------------------------------------------------------------------------------------------------


def test_the_endpoints(server, served: Workspace) -> None:
    found = asyncio.run(receive(server, "erd", profile="history", since=-1, until=lambda found: n_bins(found) > 20))
    assert found.hello["serving_id"] == registry_of(served).aliases()["erd"]
    listed = server.json("/v1/servings")
    assert listed["aliases"] == registry_of(served).aliases()
    assert {v["serving_id"] for v in listed["versions"] if v["running"]} >= {found.hello["serving_id"]}
    about = server.json("/v1/servings/erd")
    for name in (
        "signal",
        "symbol",
        "tick_size",
        "multiplier",
        "timezone",
        "threshold",
        "barriers",
        "verdict",
        "reasons",
        "weaknesses",
    ):
        assert about[name] == found.hello[name]
    evidence = published(registry_of(served), "erd").evidence
    assert (evidence.verdict, len(evidence.weaknesses) > 0) == ("unproven", True)
    assert found.hello["reasons"] == list(evidence.reasons)
    assert found.hello["weaknesses"] == list(evidence.weaknesses)
    assert about["channel"]["bins"] > 20
    table = pa.ipc.open_stream(io.BytesIO(server.get("/v1/servings/erd/bins?last=10")[2])).read_all()
    assert table.num_rows == 10
    seqs = table["bin_seq"].to_pylist()
    assert seqs == list(range(seqs[0], seqs[0] + 10))
    assert len(table["bid_depth"][0].as_py()) == found.hello["n_cells"]
    for query in ("last=0", "last=x", "last=99999999", "first=3"):
        assert server.get(f"/v1/servings/erd/bins?{query}")[0] == 400
    status, _, body = server.get("/v1/servings/nobody")
    assert (status, json.loads(body)["error"]["code"]) == (404, 4404)
    text = server.get("/metrics")[2].decode()
    assert f'vp_bins_total{{serving="{about["serving_id"]}"}}' in text
    assert "vp_feed_age_seconds{" in text
    assert server.get("/healthz")[2] == b"ok\n"
    status, _, body = server.get("/readyz")
    assert (status == 200) == (json.loads(body)["reasons"] == [])


@pytest.mark.slow
def test_the_experiments(server, served: Workspace) -> None:
    assert server.json("/v1/experiments") == {"experiments": ["erd", "ofi"]}
    board = server.json("/v1/experiments/erd/rows")
    (row,) = board["rows"]
    figures = dict(zip(board["columns"], row, strict=True))
    assert board["aliases"] == {figures["row"]: "erd", **{k: v for k, v in board["aliases"].items() if v != "erd"}}
    answer = server.json(f"/v1/rows/{figures['row']}")
    assert answer["n_trades"] == len(answer["trades"]) == figures["n_signals"]
    net = answer["columns"].index("net_pnl_ticks")
    assert sum(trade[net] for trade in answer["trades"]) / answer["n_trades"] == pytest.approx(figures["net_pnl_ticks"])
    for path, said in (
        ("/v1/experiments/edr/rows", "No experiment is called 'edr'. Did you mean 'erd'?"),
        ("/v1/rows/ffffffff", "ffffffff"),
    ):
        status, _, body = server.get(path)
        assert status == 404
        assert said in json.loads(body)["error"]["message"]


# -- versions that cannot be served ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_versions_that_cannot_be_served(served: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    shutil.copytree(served.root, root)
    workspace = Workspace(root)
    path = registry_of(workspace).file_of(registry_of(workspace).aliases()["ofi"])

    async def refused(server: LiveServer, name: str) -> StreamError:
        with pytest.raises(StreamError) as caught:
            await receive(server, name)
        return caught.value

    with live_server(workspace, symbol="ESZ5", options={"speed": "max"}) as server:
        error = asyncio.run(refused(server, "erd"))
        assert (error.code, "ESZ5" in error.message) == (4409, True)
        # A channel that failed is gone: the next client starts another one.
        deadline = time.monotonic() + 60
        while server.call(lambda: dict(server.hub.channels)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        path.write_bytes(path.read_bytes() + b"\n")
        error = asyncio.run(refused(server, "ofi"))
        assert (error.code, "was changed: its sha256" in error.message) == (4410, True)


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--serving", "edr"], "No serving version or alias is called 'edr'. Did you mean 'erd'?"),
        (["--feed", "replai"], "No feed is called 'replai' (--feed). Did you mean 'replay'?"),
        (["--speed", "fast"], "--speed must be a number above 0, or max, was 'fast'."),
        (["--feed-option", "speed"], "--feed-option must be NAME=VALUE, was 'speed'."),
        (["--feed-option", "sped=2"], "The feed 'replay' has no option 'sped'. Did you mean 'speed'?"),
        (["--files", "/no/file"], "There is no file /no/file (--files)."),
        (["--from", "09:31"], "--from needs --serving: its session is that of the version"),
        (["--serving", "erd", "--from", "noon"], "--from must be a time such as 09:45 or 2025-07-01T09:45, was 'noon'."),
        (["--serving", "erd", "--symbol", "NQU5"], "was evaluated on ESU5 must be a contract of ES, was NQU5."),
        (["--host", "0.0.0.0"], "is open to the network, so it needs --token-file"),
        (["--host", "203.0.113.7", "--token-file", "TOKEN"], "The server cannot listen on 203.0.113.7:8765: Cannot assign requested address. Choose another --port or --host."),
    ],
)  # fmt: skip
def test_the_command_refuses_before_it_starts(served: Workspace, tmp_path, capsys, arguments, message) -> None:
    (tmp_path / "token").write_text(TOKEN)
    arguments = [str(tmp_path / "token") if text == "TOKEN" else text for text in arguments]
    assert cli.run(["serve", *arguments, "--root", str(served.root)]) == 2
    assert message in capsys.readouterr().err


def test_the_port_is_taken(served: Workspace, server, capsys) -> None:
    assert cli.run(["serve", "--port", str(server.port), "--root", str(served.root)]) == 2
    assert f"The server cannot listen on 127.0.0.1:{server.port}: Address already in use." in capsys.readouterr().err


def test_wrong_hosts_never_reach_a_handshake(server) -> None:
    async def run() -> None:
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://127.0.0.1:{server.port}/v1/nothing"):
                pass

    asyncio.run(run())


def test_the_documents_name_every_option_and_code() -> None:
    import inspect
    import re

    from vpcore_server import channel, client, commands, connection, hub, security, worker

    docs = Path(__file__).parents[3] / "docs"
    text = "".join((docs / page).read_text() for page in ("how-to/serving.md", "reference/wire-protocol.md"))
    options = set(re.findall(r'"(--[a-z-]+)"', inspect.getsource(commands.serve)))
    assert {option for option in options if option not in text} == set()
    modules = (channel, client, connection, hub, security, worker)
    codes = set(re.findall(r"\b4[45]\d\d\b", "".join(map(inspect.getsource, modules))))
    assert codes == set(re.findall(r"\b4[45]\d\d\b", text))
