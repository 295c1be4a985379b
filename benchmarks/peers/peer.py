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
    """Place orders of one contract in an L3 FIFO queue model; return the time of each fill, 0 without one."""
    import numpy as np
    from hftbacktest import GTC, LIMIT, BacktestAsset, HashMapMarketDepthBacktest
    from hftbacktest.data.utils import databento
    from hftbacktest.order import FILLED

    with np.load(path) as given:
        file, at, buys, prices = str(given["records"]), given["at"], given["buys"], given["prices"]
        symbol = str(given["symbol"])
    with contextlib.redirect_stdout(sys.stderr):
        events = databento.convert(file, symbol)
    whole_cancels(events)
    events["exch_ts"] = events["local_ts"]  # one clock, the receive time
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
    backtest.elapse(1)
    for i in np.argsort(at, kind="stable"):
        if at[i] > backtest.current_timestamp and backtest.elapse(int(at[i] - backtest.current_timestamp)) != 0:
            break
        submit = backtest.submit_buy_order if buys[i] else backtest.submit_sell_order
        submit(0, int(i) + 1, float(prices[i]), 1.0, GTC, LIMIT, False)
    while backtest.elapse(1_000_000_000) == 0:
        pass
    fills = [0] * len(at)
    orders = backtest.orders(0)
    for i in range(len(at)):
        order = orders.get(i + 1)
        if order is not None and order.status == FILLED:
            fills[i] = int(order.exch_timestamp)
    backtest.close()
    return {"work": len(at), "seconds": {}, "fills": fills}


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
