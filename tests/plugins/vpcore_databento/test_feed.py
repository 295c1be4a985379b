"""The feed `databento` against a live gateway on loopback, with its faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import databento_dbn
import numpy as np
import pytest
from databento_history import KEY
from databento_live import NOW, LiveGateway, Script, failure, heartbeat, live_gateway, mapping, market, system
from markets import INSTRUMENT, START_NS, random_tape

from vpcore import ConfigError, SourceError
from vpcore.plugins.manager import Plugins
from vpcore_databento.feed import DatabentoFeed
from vpcore_serving.feed import Batch, FeedRequest, Lost
from vpcore_serving.testing import feed_checks

FAR = 4_000_000_000 * 10**9
TAPE = random_tape(5, 300, oddities=False)
OWN = TAPE[TAPE["instrument_id"] == INSTRUMENT]
HALF = len(OWN) // 2
SESSION = [mapping("ESH4", INSTRUMENT), market(OWN[:HALF]), heartbeat(), market(OWN[HALF:]), heartbeat()]
SLOW = databento_dbn.SystemCode.SLOW_READER_WARNING
Code = databento_dbn.ErrorCode


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABENTO_API_KEY", KEY)


def request(gateway: LiveGateway, symbol: str = "ESH4", end_ns: int = FAR, **options: object) -> FeedRequest:
    return FeedRequest(symbol, START_NS, end_ns, None, {"gateway": "127.0.0.1", "port": gateway.port, **options})


def read(asked: FeedRequest, events: int = 10**9) -> tuple[list[Batch | Lost], Exception | None]:
    """Return up to so many events, and the error that ended the iteration."""

    async def run() -> tuple[list[Batch | Lost], Exception | None]:
        feed = DatabentoFeed(asked)
        found: list[Batch | Lost] = []
        iterator = aiter(feed)
        error = None
        try:
            async with asyncio.timeout(120):
                while len(found) < events:
                    found.append(await anext(iterator))
        except StopAsyncIteration:
            pass
        except (ConfigError, SourceError) as raised:
            error = raised
        await iterator.aclose()
        await feed.close()
        return found, error

    return asyncio.run(run())


def records_of(events: list[Batch | Lost]) -> bytes:
    return b"".join(event.records.tobytes() for event in events if isinstance(event, Batch))


def test_the_feed_is_found_by_its_name() -> None:
    assert Plugins().load("feed", "databento") is DatabentoFeed


STEADY: list[LiveGateway] = []


@pytest.fixture(scope="module", autouse=True)
def _steady() -> Iterator[None]:
    with live_gateway(Script(SESSION)) as gateway:
        STEADY.append(gateway)
        yield
        STEADY.clear()


@pytest.fixture
def steady() -> LiveGateway:
    return STEADY[0]


@feed_checks(DatabentoFeed, lambda _: request(STEADY[0]), least=len(OWN))
def test_it_conforms(check):
    check()


def test_login_subscription_and_records(steady: LiveGateway) -> None:
    with live_gateway(Script([*SESSION, failure(Code.INTERNAL_ERROR, "bye")])) as gateway:
        events, _ = read(request(gateway))
    assert records_of(events) == OWN.tobytes()
    assert {event.instrument_id for event in events if isinstance(event, Batch)} == {INSTRUMENT}
    assert any(isinstance(event, Batch) and not len(event.records) for event in events)  # a heartbeat
    assert gateway.logins[0]["slow_reader_behavior"] == "warn"
    assert gateway.logins[0]["heartbeat_interval_s"] == "5"
    asked = gateway.subscriptions[0]
    assert (asked["schema"], asked["symbols"], asked["stype_in"], asked["snapshot"]) == (
        "mbo",
        "ESH4",
        "raw_symbol",
        "1",
    )
    assert KEY not in str(gateway.logins)


def test_a_continuous_symbol_follows_its_mapping() -> None:
    messages = [mapping("ESH4", INSTRUMENT, asked="ES.v.0"), market(OWN), failure(Code.INTERNAL_ERROR, "bye")]
    with live_gateway(Script(messages)) as gateway:
        events, _ = read(request(gateway, symbol="ES.v.0"))
    assert records_of(events) == OWN.tobytes()
    assert gateway.subscriptions[0]["stype_in"] == "continuous"


@pytest.mark.parametrize("cut", [1, 55, 56, 57, 4000])
def test_messages_cut_anywhere(cut: int) -> None:
    data = b"".join(SESSION) + failure(Code.INTERNAL_ERROR, "bye")
    with live_gateway(Script([data[:cut], data[cut:]], pause_s=0.02)) as gateway:
        events, _ = read(request(gateway))
    assert records_of(events) == OWN.tobytes()


@pytest.mark.parametrize(
    "then, said",
    [("close", "it closed the connection"), ("reset", "Connection reset by peer|it closed the connection")],
)
def test_a_dropped_connection_is_a_source_error_and_a_new_feed_starts_with_a_snapshot(then: str, said: str) -> None:
    with live_gateway(Script(SESSION[:2], then=then), Script(SESSION)) as gateway:
        events, error = read(request(gateway))
        assert isinstance(error, SourceError)
        with pytest.raises(SourceError, match=f"The connection to Databento's live gateway broke: .*({said})"):
            raise error
        assert OWN.tobytes().startswith(records_of(events))
        again, error = read(request(gateway), events=2)
    assert error is None
    assert np.array_equal(next(e.records[0] for e in again if isinstance(e, Batch) and len(e.records)), OWN[0])


@pytest.mark.parametrize("message, reason", [
    (system(SLOW, "You are slow"), "Databento's gateway says that this reader is too slow."),
    (failure(Code.SKIPPED_RECORDS_AFTER_SLOW_READING, "Skipped 31 records."), "Databento's gateway reports an error: Skipped 31 records."),
    (failure(Code.INTERNAL_ERROR, "Oops"), "Databento's gateway reports an error: Oops."),
    (failure(None, "No code"), "Databento's gateway reports an error: No code."),
])  # fmt: skip
def test_a_loss_follows_the_records_before_it_and_ends_the_connection(message: bytes, reason: str) -> None:
    with live_gateway(Script([SESSION[0], market(OWN[:HALF]), message, market(OWN[HALF:])])) as gateway:
        events, error = read(request(gateway))
    assert records_of(events) == OWN[:HALF].tobytes()
    assert events[-1] == Lost(reason, int(OWN["ts_recv"][HALF - 1]))
    with pytest.raises(SourceError, match="Databento's gateway"):
        raise error


@pytest.mark.parametrize("code, said", [
    (Code.SYMBOL_RESOLUTION_FAILED, "Failed to resolve symbol ESH9"),
    (Code.INVALID_SUBSCRIPTION, "Not authorized for mbo schema"),
    (Code.CONNECTION_LIMIT_EXCEEDED, "User has reached their open connection limit"),
    (Code.API_KEY_DEACTIVATED, f"The key {KEY} is off"),
])  # fmt: skip
def test_what_another_attempt_would_meet_again_is_final(code: databento_dbn.ErrorCode, said: str) -> None:
    with live_gateway(Script([failure(code, said)])) as gateway:
        _, error = read(request(gateway))
    with pytest.raises(
        ConfigError, match="Databento's live gateway refuses ESH4: (Failed|Not|User|The key .key. is off)"
    ):
        raise error
    assert KEY not in str(error)


def test_a_refused_login_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    with live_gateway(Script([], login="A live data license is required to access GLBX.MDP3.")) as gateway:
        _, error = read(request(gateway))
    with pytest.raises(ConfigError, match="refuses the login: A live data license is required to access GLBX.MDP3"):
        raise error
    monkeypatch.setenv("DATABENTO_API_KEY", "db-" + "w" * 29)
    with live_gateway(Script(SESSION)) as gateway:
        _, error = read(request(gateway))
    with pytest.raises(
        ConfigError, match="refuses the login: Authentication failed. Look at the key in DATABENTO_API_KEY"
    ):
        raise error


def test_no_key(monkeypatch: pytest.MonkeyPatch, steady: LiveGateway) -> None:
    monkeypatch.delenv("DATABENTO_API_KEY")
    with pytest.raises(ConfigError, match="DATABENTO_API_KEY is not set"):
        DatabentoFeed(request(steady))


def test_nobody_answers(steady: LiveGateway) -> None:
    _, error = read(FeedRequest("ESH4", START_NS, FAR, None, {"gateway": "127.0.0.1", "port": 9}))
    with pytest.raises(
        SourceError, match="live gateway did not answer, or broke off .Connection to 127.0.0.1:9 failed"
    ):
        raise error


def test_the_market_goes_on_after_the_window(steady: LiveGateway) -> None:
    events, error = read(request(steady, end_ns=NOW), events=2)
    assert error is None
    assert OWN.tobytes().startswith(records_of(events))


def test_closing_does_not_wait_for_a_gateway_that_is_silent() -> None:
    async def run(gateway: LiveGateway) -> float:
        feed = DatabentoFeed(request(gateway))
        loop = asyncio.get_running_loop()
        waiting = asyncio.ensure_future(anext(aiter(feed), None))
        while not gateway.accepted:
            await asyncio.sleep(0.01)
        began = loop.time()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await feed.close()
        took = loop.time() - began
        gateway.ended.set()  # the thread of the login ends with the connection
        return took

    with live_gateway(Script([], silent=True)) as gateway:
        assert asyncio.run(run(gateway)) < 20


def test_records_of_an_unknown_instrument_are_refused() -> None:
    with live_gateway(Script([market(OWN[:3])])) as gateway:
        _, error = read(request(gateway))
    with pytest.raises(SourceError, match="sent records before it said which instrument ESH4 is"):
        raise error


def test_a_reader_far_behind_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpcore_databento.feed.MOST_WAITING", 10)

    async def run(gateway: LiveGateway) -> None:
        feed = DatabentoFeed(request(gateway))
        last = None
        try:
            async for event in feed:
                last = event
                await asyncio.sleep(0.1)
        finally:
            assert isinstance(last, Lost)
            await feed.close()

    with (
        live_gateway(Script(SESSION)) as gateway,
        pytest.raises(SourceError, match="This reader is [0-9,]+ records behind"),
    ):
        asyncio.run(run(gateway))


def test_closing_closes_the_socket(steady: LiveGateway) -> None:
    with live_gateway(Script(SESSION)) as gateway:
        read(request(gateway), events=1)
        deadline = time.monotonic() + 60
        while not gateway.closed:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert gateway.closed == 1


@pytest.mark.parametrize("options, message", [
    ({"heartbeat_s": 1}, "The option 'heartbeat_s' of the feed 'databento' must be a whole number from 5 to 1800, was 1"),
    ({"port": 0}, "The option 'port' of the feed 'databento' must be a whole number from 1 to 65535, was 0"),
    ({"dataset": 7}, "The option 'dataset' of the feed 'databento' must be text, was 7"),
    ({"gatway": "x"}, "has no option 'gatway'. Did you mean 'gateway'\\? It has: dataset, gateway, heartbeat_s, port"),
])  # fmt: skip
def test_wrong_options(steady: LiveGateway, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DatabentoFeed(request(steady, **options))
