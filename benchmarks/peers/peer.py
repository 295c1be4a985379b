"""One measurement of another library, in its own environment: prints seconds of CPU and how much was done, as JSON.

peer.py nautilus FILE | hftbacktest FILE | vectorbt ARRAYS | queue ORDERS
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from typing import Any

F_LAST = 128
TICK = 0.25


def nautilus(path: str) -> dict[str, Any]:
    """Load the records as objects, then keep an L3 book with them."""
    from nautilus_trader.adapters.databento.loaders import DatabentoDataLoader
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.enums import BookType
    from nautilus_trader.model.identifiers import InstrumentId

    instrument = InstrumentId.from_str("ESU5.GLBX")
    began = time.process_time()
    loaded = DatabentoDataLoader().from_dbn_file(
        path, instrument_id=instrument, price_precision=2, include_trades=False, as_legacy_cython=True
    )
    load = time.process_time() - began
    book = OrderBook(instrument, BookType.L3_MBO)
    began = time.process_time()
    for delta in loaded:
        book.apply(delta)
    return {
        "work": len(loaded),
        "seconds": {"load": load, "book": time.process_time() - began},
        "touch": [float(book.best_bid_price()), float(book.best_ask_price())],
    }


def hftbacktest(path: str) -> dict[str, Any]:
    """Convert the file, then replay it with an L3 book, 100 ms at a time."""
    from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
    from hftbacktest.data.utils import databento

    began = time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        events = databento.convert(path, None)
    convert = time.process_time() - began
    whole_cancels(events)

    def replay() -> Any:
        asset = (
            BacktestAsset()
            .data(events)
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .l3_fifo_queue_model()
            .no_partial_fill_exchange()
            .tick_size(0.25)
            .lot_size(1.0)
        )
        backtest = HashMapMarketDepthBacktest([asset])
        while (code := backtest.elapse(100_000_000)) == 0:
            pass
        if code != 1:  # 1: the end of the data
            raise RuntimeError(f"hftbacktest stopped with code {code} at {backtest.current_timestamp}")
        depth = backtest.depth(0)
        touch = [float(depth.best_bid), float(depth.best_ask)]
        backtest.close()
        return touch

    replay()  # compiles
    began = time.process_time()
    touch = replay()
    return {
        "work": len(events),
        "seconds": {"convert": convert, "replay": time.process_time() - began},
        "touch": touch,
    }


def queue(path: str) -> dict[str, Any]:
    """Place orders of one contract in an L3 FIFO queue model; return the time of each fill, 0 without one.

    Once with the records as they are, and once more with each of our readings.
    """
    import numpy as np
    from hftbacktest.data.utils import databento

    with np.load(path) as given:
        file, symbol, clock = str(given["records"]), str(given["symbol"]), given["clock"]
        orders = given["at"], given["buys"], given["prices"]
    with contextlib.redirect_stdout(sys.stderr):
        events = databento.convert(file, symbol)
    whole_cancels(events)
    if len(events) != len(clock):
        raise RuntimeError(f"hftbacktest converts {len(clock)} records to {len(events)} events")
    events["exch_ts"] = events["local_ts"] = clock
    fills = [queue_fills(read_as_we_do(events, readings), *orders) for readings in range(4)]
    return {"work": len(clock), "seconds": {}, "fills": fills}


def queue_fills(events: Any, at: Any, buys: Any, prices: Any) -> list[int]:
    import numpy as np
    from hftbacktest import GTC, LIMIT, BacktestAsset, HashMapMarketDepthBacktest
    from hftbacktest.order import FILLED

    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .tick_size(TICK)
        .lot_size(1.0)
    )
    backtest = HashMapMarketDepthBacktest([asset])
    backtest.elapse(1)
    for i in np.argsort(at, kind="stable"):
        if at[i] > backtest.current_timestamp and backtest.elapse(int(at[i] - backtest.current_timestamp)) != 0:
            break
        submit = backtest.submit_buy_order if buys[i] else backtest.submit_sell_order
        submit(0, int(i) + 1, float(prices[i]), 1.0, GTC, LIMIT, False)
    while (code := backtest.elapse(1_000_000_000)) == 0:
        pass
    if code != 1:  # 1: the end of the data
        raise RuntimeError(f"hftbacktest stopped with code {code} at {backtest.current_timestamp}")
    fills = [0] * len(at)
    orders = backtest.orders(0)
    for i in range(len(at)):
        order = orders.get(i + 1)
        if order is not None and order.status == FILLED:
            fills[i] = int(order.exch_timestamp)
    backtest.close()
    return fills


def read_as_we_do(events: Any, readings: int) -> Any:
    """Rewrite the events so that the first `readings` of our three readings hold there too.

    1. A fill record of an order that trades in the same event as the aggressor says nothing about its place.
    2. An order filled for more than it showed is loaded anew, at the end of the queue.
    3. A trade fills the bids above its price and the asks below it. Written as an order that rests there for a moment.
    """
    import numpy as np
    from hftbacktest.types import (
        ADD_ORDER_EVENT,
        BUY_EVENT,
        CANCEL_ORDER_EVENT,
        FILL_EVENT,
        MODIFY_ORDER_EVENT,
        SELL_EVENT,
        TRADE_EVENT,
    )

    add, cancel, modify, fill, trade = (
        kind & 0xFF for kind in (ADD_ORDER_EVENT, CANCEL_ORDER_EVENT, MODIFY_ORDER_EVENT, FILL_EVENT, TRADE_EVENT)
    )
    sides = BUY_EVENT | SELL_EVENT
    out: list[Any] = []
    shown: dict[int, Any] = {}  # the last add or modify of each order

    def write(row: Any, *kinds: int, **changes: Any) -> None:
        for kind in kinds:
            out.append(row.copy())
            for name, value in changes.items():
                out[-1][name] = value
            out[-1]["ev"] = int(out[-1]["ev"]) & ~0xFF | kind

    def rest_a_moment(row: Any, side: int, price: float, *kinds: int) -> None:
        write(row, *kinds, ev=int(row["ev"]) & ~sides | side, px=price, qty=1.0, order_id=2**62)

    for event in np.split(events, np.flatnonzero(events["ival"] & F_LAST) + 1):
        kinds, ids = (event["ev"] & 0xFF).tolist(), event["order_id"].tolist()
        aggressors = {order for kind, order in zip(kinds, ids, strict=True) if kind == trade} - {0}
        left: dict[int, float] = {}
        for row, kind, order in zip(event, kinds, ids, strict=True):
            if kind == fill and order in aggressors and readings >= 1:
                continue
            out.append(row)
            if kind == fill and order in shown:
                left[order] = left.get(order, 0.0) + row["qty"]
                if left[order] > shown[order]["qty"] and readings >= 2:
                    rest_a_moment(row, int(shown[order]["ev"]) & sides, shown[order]["px"], add, fill, cancel)
            elif kind == trade and readings >= 3 and row["px"] == row["px"]:
                rest_a_moment(row, SELL_EVENT, row["px"] + TICK, add, cancel)
                rest_a_moment(row, BUY_EVENT, row["px"] - TICK, add, cancel)
            elif kind in (add, modify, cancel):
                before = shown.pop(order, None)
                if before is not None and order in left:
                    stays = kind == modify and before["px"] == row["px"]
                    left[order] -= max(before["qty"] - row["qty"], 0.0) if stays else before["qty"]
                if kind != cancel:
                    shown[order] = row
        for order, size in left.items():
            if size > 0 and order in shown and readings >= 2:
                write(shown[order], cancel, add, exch_ts=row["exch_ts"], local_ts=row["local_ts"])
    return np.array(out, events.dtype)


def whole_cancels(events: Any) -> None:
    """Write partial cancels as modifies: a cancel removes the whole order there. Not timed."""
    from hftbacktest.types import ADD_ORDER_EVENT, CANCEL_ORDER_EVENT, MODIFY_ORDER_EVENT

    sizes: dict[int, float] = {}
    for row in events:
        kind, order = int(row["ev"]) & 0xFF, int(row["order_id"])
        if kind in (ADD_ORDER_EVENT & 0xFF, MODIFY_ORDER_EVENT & 0xFF):
            sizes[order] = float(row["qty"])
        elif kind == CANCEL_ORDER_EVENT & 0xFF:
            left = sizes.get(order, 0.0) - float(row["qty"])
            if left > 0:
                row["ev"] = int(row["ev"]) & ~0xFF | MODIFY_ORDER_EVENT & 0xFF
                row["qty"] = sizes[order] = left
            else:
                sizes.pop(order, None)


def vectorbt(path: str) -> dict[str, Any]:
    """Run take-profit and stop over all pairs, one column each."""
    import numpy as np
    import vectorbt as vbt

    with np.load(path) as file:
        mid, high, low, bins, pairs = (file[name] for name in ("mid", "high", "low", "bins", "pairs"))
    entries = np.zeros(len(mid), np.bool_)
    entries[bins] = True

    def run(n: int) -> None:
        shape = (len(mid), n)
        vbt.Portfolio.from_signals(
            np.broadcast_to(mid[:, None], shape),
            np.broadcast_to(entries[:, None], shape),
            np.zeros(shape, np.bool_),
            high=np.broadcast_to(high[:, None], shape),
            low=np.broadcast_to(low[:, None], shape),
            open=np.broadcast_to(mid[:, None], shape),
            tp_stop=pairs[None, :n, 0] * 0.25 / mid[0],
            sl_stop=pairs[None, :n, 1] * 0.25 / mid[0],
            freq="100ms",
        ).total_profit()

    run(2)  # compiles
    count = 100
    began = time.process_time()
    run(count)
    return {"work": count, "seconds": {"run": time.process_time() - began}}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    found = {"nautilus": nautilus, "hftbacktest": hftbacktest, "vectorbt": vectorbt, "queue": queue}[sys.argv[1]](
        sys.argv[2]
    )
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps(found))
