"""`Engine`: one instrument's records in, frames out. The same object serves generate and live use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vpcore.engine.frames import FrameBlock
from vpcore.engine.params import EngineParams
from vpcore.engine.quality import quality_block
from vpcore.errors import EngineError
from vpcore.kernels import bins as bn, state as bk, stream as sk, virtual_orders as vo
from vpcore.kernels.flow import make_flow
from vpcore.kernels.frame import N_GRID, make_params
from vpcore.kernels.hashing import ROW
from vpcore.kernels.levels import date_levels
from vpcore.kernels.mechanics import chain_coefficients
from vpcore.kernels.records import MBO_DTYPE
from vpcore.schema import BIN_COLUMNS, GRID_VALUES
from vpcore.units import NS_PER_S, PRICE_SCALE, int_to_price, ms_to_ns

__all__ = ["ColdBook", "Engine"]

ColdBook = Literal["refuse", "build"]

_WORDS = MBO_DTYPE.itemsize // 8
_NO_WORDS = np.zeros((0, _WORDS), np.int64)
_NO_WORDS.flags.writeable = False
BLOCK_BINS = 64
"""Most bins of a block."""
_NO_LIMIT = 2**62
_NS_PER_DAY = 86_400 * NS_PER_S
_MOST_AHEAD_NS = 31 * _NS_PER_DAY
_MAX_EVENT_RECORDS = 1 << 22
_PRICES = [bn.B_BID, bn.B_ASK, bn.B_BID_HIGH, bn.B_BID_LOW, bn.B_ASK_HIGH, bn.B_ASK_LOW]
"""Bin columns that the kernels count in ticks."""


class Engine:
    """Streams market-by-order records of one instrument into frames of fixed-width bins.

    Parameters
    ----------
    params : EngineParams
        Bin width, grid, time constants and weights.
    tick_int : int
        Tick size of the instrument, in 1e-9.
    start_ns : int
        Start of bin 0, ns since the epoch. Earlier records only build the book.
    end_ns : int, optional
        End of the last bin; a whole number of bins after the start. By default the bins are endless.
    cold_book : {'refuse', 'build'}
        Meaning of a stream that lacks a clear or snapshot at its start: bins stay invalid until a book arrives, or the
        book counts from the first event with both sides.
    symbol : str
        For messages.
    virtual_bins : int
        Follow a virtual order per side and bin, of the last so many bins: see `fills`. Frames stay the same.

    Raises
    ------
    EngineError
        Unless the tick is positive and the window a whole, positive number of bins.

    Notes
    -----
    Memory grows with the number of live orders and of price levels ever touched. Cost is a fraction of a microsecond
    per record and about ten per bin of 101 cells, on a core of 2020's server class.
    """

    def __init__(
        self,
        params: EngineParams,
        *,
        tick_int: int,
        start_ns: int,
        end_ns: int | None = None,
        cold_book: ColdBook = "refuse",
        symbol: str = "",
        virtual_bins: int = 0,
    ) -> None:
        width = ms_to_ns(params.cell_width_ms)
        if tick_int <= 0:
            raise EngineError(f"The tick size must be greater than 0, was {int_to_price(tick_int)}.")
        if end_ns is not None and (end_ns <= start_ns or (end_ns - start_ns) % width):
            raise EngineError(
                f"The window must be a whole, positive number of bins of {params.cell_width_ms} ms, "
                f"was {(end_ns - start_ns) / NS_PER_S} s long."
            )
        if cold_book not in ("refuse", "build"):
            raise EngineError(f"cold_book must be 'refuse' or 'build', was {cold_book!r}.")
        self.params = params
        self.tick_int = tick_int
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.symbol = symbol
        self._columns = params.grid_columns
        self._carried_book: npt.NDArray[np.int64] | None = None
        self._carried = {
            "carried_snapshots": 0,
            "carried_orders": 0,
            "carried_orders_missing": 0,
            "carried_orders_extra": 0,
            "carried_orders_changed": 0,
        }
        taus = (params.tau_velocity, params.tau_acceleration, params.tau_jerk, params.tau_rest_decay)
        self._book = bk.make_book(1 << 13, 64, np.array([tau * NS_PER_S for tau in taus], np.float64))
        band = params.grid_radius_ticks + params.band_margin_ticks
        self._flow = make_flow(2 * band + 1, params.flow_windows)
        slots = [self._columns.index(name) if name in self._columns else -1 for name in GRID_VALUES]
        assert len(slots) == N_GRID
        self._par = make_params(
            chain_coefficients(params.tau_velocity, params.tau_acceleration, params.tau_jerk),
            np.array([getattr(params, f"c{i}") for i in range(1, 8)] + [params.composite_floor], np.float64),
            params.grid_radius_ticks,
            params.band_margin_ticks,
            1000.0 / params.cell_width_ms,
            slots,
        )
        scalars = np.zeros(bn.N_SCALARS, np.int64)
        scalars[bn.START] = start_ns
        scalars[bn.WIDTH] = width
        scalars[bn.MAX_BINS] = _NO_LIMIT if end_ns is None else (end_ns - start_ns) // width
        scalars[bn.TICK_INT] = tick_int
        scalars[bn.NEXT_END] = start_ns
        scalars[bn.BUILD_COLD] = cold_book == "build"
        scalars[bn.PUBLISHER] = bn.NO_PUBLISHER
        virtual = vo.make_virtual_orders(virtual_bins, len(self._book.levels))
        self._stream = _with_held(bn.Stream(scalars, np.zeros(bn.N_COUNTERS, np.int64), None, None, virtual), 256)
        self._out: npt.NDArray[np.float32] = np.zeros((len(self._columns), 0, params.n_cells), np.float32)
        self._bins: npt.NDArray[np.int64] = np.zeros((0, bn.N_BIN), np.int64)
        self._units = np.ones((bn.N_BIN, 1), np.int64)
        self._units[_PRICES] = tick_int

    # -- feeding -----------------------------------------------------------------------------------------------------

    def feed(self, records: npt.NDArray[Any], instrument_id: int, *, first_record: int = 0) -> FrameBlock:
        """Apply records and return the frames of every bin they complete.

        Parameters
        ----------
        records : ndarray of MBO_DTYPE, shape (n_records,)
            In file order. Records of other instruments are skipped.
        instrument_id : int
            The instrument to apply.
        first_record : int
            Number of ``records[0]`` in its file, for messages.

        Raises
        ------
        EngineError
            If a record is top-of-book, comes from a second publisher, or has a price off the tick, or, without an
            `end_ns`, a receive time more than 31 days ahead.
        """
        blocks = list(self.blocks(records, instrument_id, first_record=first_record))
        return FrameBlock.concatenate(blocks, self._columns, self.params.n_cells)

    def blocks(self, records: npt.NDArray[Any], instrument_id: int, *, first_record: int = 0) -> Iterator[FrameBlock]:
        """Like `feed`, in blocks of at most 64 bins; records are applied as the iteration proceeds."""
        words = self._as_words(records)
        at = 0
        while True:
            self._reserve()
            at, code = self._run(words, at, instrument_id, sk.RECORDS_ONLY)
            if code == sk.USED_UP or code == sk.DONE:
                break
            if code == bn.BLOCK_FULL:
                self._require_near(int(records["ts_recv"][at]), self._place(first_record + at))
                yield self._take()
            elif code in (sk.SNAPSHOT_BEGINS, sk.SNAPSHOT_ENDED):
                self._compare_carried(code)
            elif code == sk.FIRST_TIME:
                self._date(int(records["ts_recv"][at]))
            elif code in (sk.OFF_TICK, sk.TOP_OF_BOOK, sk.OTHER_PUBLISHER):
                raise self._refusal(code, records, at, first_record)
            else:
                self._grow(code)
        if self._stream.scalars[bn.OUT_ROWS]:
            yield self._take()

    def begin_file(self) -> None:
        """Say that a later file of the same window begins: its leading snapshot is compared with the carried book."""
        if self._stream.scalars[bn.SEEN]:
            self._stream.scalars[bn.COMPARE] = bn.ARMED

    def advance(self, now_ns: int) -> FrameBlock:
        """Assert that all records before `now_ns` have arrived, and return the frames of every bin that ended by then.

        A later record that contradicts it is clamped to `now_ns` and counted.
        """
        blocks = list(self.advance_blocks(now_ns))
        return FrameBlock.concatenate(blocks, self._columns, self.params.n_cells)

    def advance_blocks(self, now_ns: int) -> Iterator[FrameBlock]:
        """Like `advance`, in blocks of at most 64 bins."""
        while True:
            self._reserve()
            _, code = self._run(_NO_WORDS, 0, 0, now_ns)
            if code != bn.BLOCK_FULL:
                break
            self._require_near(now_ns, "the time of advance()")
            yield self._take()
        scalars = self._stream.scalars
        scalars[bn.CLOCK] = max(int(scalars[bn.CLOCK]), now_ns)
        if scalars[bn.OUT_ROWS]:
            yield self._take()

    def lose(self) -> None:
        """Say that records were lost: the book is unknown, and no bin is valid, until a snapshot or a clear arrives.

        An event in progress is dropped.
        """
        scalars = self._stream.scalars
        scalars[bn.BAD_BOOK] = 1
        scalars[bn.VALID] = 0
        for place in (bn.EVENT_RECORDS, bn.EVENT_HELD, bn.EVENT_TRADES, bn.EVENT_FILLS):
            scalars[place] = 0

    def finish(self, covered_end_ns: int | None) -> Iterator[FrameBlock]:
        """Yield the bins after the last record, if the files cover the window to its end.

        Parameters
        ----------
        covered_end_ns : int or None
            End of the span in the files' own metadata, None where unknown.
        """
        if self.end_ns is not None and covered_end_ns is not None and covered_end_ns >= self.end_ns:
            yield from self.advance_blocks(self.end_ns)

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """True once every bin of the window has been emitted."""
        return bool(self._stream.scalars[bn.SEQ] >= self._stream.scalars[bn.MAX_BINS])

    @property
    def bins_emitted(self) -> int:
        """Bins emitted so far."""
        return int(self._stream.scalars[bn.SEQ])

    @property
    def clock_ns(self) -> int:
        """The engine's clock: the latest receive time applied, or asserted by `advance`."""
        return int(self._stream.scalars[bn.CLOCK])

    def quality(self) -> dict[str, Any]:
        """Return the data-quality counters since the stream began, warm-up included."""
        return quality_block(self._stream, self._book, self._carried)

    def order_counts(self) -> tuple[int, int]:
        """Return the number of cancels and modifies so far, and of those among them that were of unknown orders."""
        counts, ints = self._stream.counts, self._book.ints
        asked = int(counts[bn.K_CANCEL] + counts[bn.K_MODIFY])
        return asked, int(ints[bk.C_UNKNOWN_CANCEL] + ints[bk.C_UNKNOWN_MODIFY])

    def touch(self) -> tuple[int, int] | None:
        """Return best bid and best ask in ticks after the last completed event, or None if the book is invalid."""
        if not self._stream.scalars[bn.VALID]:
            return None
        return int(self._book.ints[bk.BEST_BID]), int(self._book.ints[bk.BEST_ASK])

    def fills(self) -> npt.NDArray[np.int64]:
        """Return the virtual orders: int64[2, virtual_bins, 4], long and short, by bin modulo `virtual_bins`.

        One contract joins the queue of the best bid (long) and of the best ask (short) at the end of every bin, behind
        every order of the queue. The columns: its tick; the bin of its fill, or `WAITING` (-1), `NOT_PLACED` (-2, the
        bin is invalid) or `GONE` (-3, the venue cleared the book); the time of the fill, ns; the reason of the fill
        (`vpcore.kernels.virtual_orders`).
        """
        columns = [vo.V_TICK, vo.V_FILLED, vo.V_TIME, vo.V_REASON]
        found: npt.NDArray[np.int64] = self._stream.virtual.orders[:, :, columns]
        return found

    def filled(self, side: int, seq: int) -> int:
        """Return the bin of the fill of the virtual order that joined a side (+1 bid, -1 ask) at the end of bin `seq`.

        Negative without a fill so far, as in `fills`, or if the bin is older than the last `virtual_bins`.
        """
        orders = self._stream.virtual.orders
        order = orders[int(side < 0), seq % orders.shape[1]]
        return int(order[vo.V_FILLED]) if order[vo.V_BIN] == seq else vo.GONE

    def orders(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the live orders, by id: ``order_id, tick, size, side`` (0 bid, 1 ask), int64[n_orders] each."""
        table = self._orders()
        return {name: table[:, i] for i, name in enumerate(("order_id", "tick", "size", "side"))}

    def levels(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return every level ever touched: ``tick, bid_depth, ask_depth, add, pull, fill``, int64[n_levels] each.

        ``add``, ``pull`` and ``fill`` are contracts since the stream began.
        """
        book, n_pages = self._book, int(self._book.ints[bk.N_PAGES])
        order = np.argsort(book.pages[:n_pages, bk.P_NUMBER])
        first = book.page_levels[order][:, :, None].astype(np.int64) - 1
        rows = np.where(first < 0, -1, first + np.arange(bk.GROUP)).ravel()
        ticks = (book.pages[order, bk.P_NUMBER, None] * bk.PAGE + np.arange(bk.PAGE)).ravel()
        levels = book.levels[rows[rows >= 0]]
        held = {"bid_depth": bk.L_BID, "ask_depth": bk.L_ASK}
        flows = {"add": bk.L_FLOW + bk.Q_ADD, "pull": bk.L_FLOW + bk.Q_PULL, "fill": bk.L_FLOW + bk.Q_FILL}
        columns = {"tick": ticks[rows >= 0]} | {name: levels[:, i] for name, i in (held | flows).items()}
        seen = np.any(levels[:, list((held | flows).values())], axis=1)
        return {name: column[seen] for name, column in columns.items()}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _run(self, words: npt.NDArray[np.int64], at: int, instrument_id: int, until: int) -> tuple[int, int]:
        return sk.run(
            self._stream, self._book, self._flow, self._par, words, at, instrument_id, until, self._out, self._bins
        )

    def _as_words(self, records: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        if records.dtype != MBO_DTYPE or records.ndim != 1:
            raise EngineError(
                f"Records must be a one-dimensional array of MBO_DTYPE, were of dtype {records.dtype} "
                f"and shape {records.shape}."
            )
        words = np.ascontiguousarray(records).view(np.int64)
        if not words.flags.aligned:  # of records, which are packed, the flag says nothing
            words = words.copy()
        words = words.reshape(-1, _WORDS)
        words.flags.writeable = False  # one type of array, so one compiled version
        return words

    def _reserve(self) -> None:
        """Make room for a block of bins; the last block's arrays belong to whoever took it."""
        if len(self._bins) == 0:
            self._out = np.empty((len(self._columns), BLOCK_BINS, self.params.n_cells), np.float32)
            self._bins = np.empty((BLOCK_BINS, bn.N_BIN), np.int64)

    def _take(self) -> FrameBlock:
        n = int(self._stream.scalars[bn.OUT_ROWS])
        self._stream.scalars[bn.OUT_ROWS] = 0
        table = np.multiply(self._bins[:n].T, self._units, order="C")
        cast: dict[str, npt.NDArray[Any]] = {
            dtype: table.astype(dtype, copy=False) for dtype in ("bool", "int32", "int64")
        }
        cast["float64"] = table * (self.tick_int / (2 * PRICE_SCALE))
        bins = {name: cast[dtype][i] for i, (name, dtype) in enumerate(BIN_COLUMNS.items())}
        if n == BLOCK_BINS:
            out, self._out, self._bins = self._out, self._out[:, :0], self._bins[:0]
        else:  # a few bins of a large block: copy them and keep the block
            out = self._out[:, :n].copy()
        grid = {name: out[i] for i, name in enumerate(self._columns)}
        return FrameBlock(bins, grid)

    def _date(self, first_ns: int) -> None:
        """Give the first usable time to every record before it: bins that ended earlier came out empty."""
        scalars = self._stream.scalars
        scalars[bn.DATED] = 1
        date_levels(self._book, max(int(scalars[bn.CLOCK]), first_ns))

    def _grow(self, code: int) -> None:
        if code == sk.GROW_ORDERS:
            self._book = bk.grow_orders(self._book)
        elif code == sk.GROW_LEVELS:
            self._book = bk.grow_levels(self._book)
            virtual = vo.grow_virtual_orders(self._stream.virtual, len(self._book.levels))
            self._stream = self._stream._replace(virtual=virtual)
        elif code == sk.GROW_FILLS:
            self._book = bk.grow_fills(self._book)
        else:
            length = 2 * len(self._stream.held)
            if length > _MAX_EVENT_RECORDS:
                raise EngineError(
                    f"{self.symbol or 'The stream'} has an event of more than {_MAX_EVENT_RECORDS // 2:,} records "
                    "without F_LAST: its records are not grouped into events as market-by-order data are."
                )
            self._stream = _with_held(self._stream, length)

    def _orders(self) -> npt.NDArray[np.int64]:
        rows = self._book.table[:, ROW]
        pool = self._book.pool[rows[rows > 0] - 1]
        place = pool[:, bk.O_PLACE]
        table = np.column_stack([pool[:, bk.O_ID], place >> 1, pool[:, bk.O_SIZE], place & 1])
        ordered: npt.NDArray[np.int64] = table[np.argsort(table[:, 0])]
        return ordered

    def _compare_carried(self, code: int) -> None:
        scalars = self._stream.scalars
        if code == sk.SNAPSHOT_BEGINS:
            self._carried_book = self._orders()
            scalars[bn.COMPARE] = bn.CARRIED
            return
        scalars[bn.COMPARE] = bn.NOT_COMPARING
        if self._carried_book is None:
            return
        old, new = self._carried_book, self._orders()
        self._carried_book = None
        _, in_old, in_new = np.intersect1d(old[:, 0], new[:, 0], assume_unique=True, return_indices=True)
        self._carried["carried_snapshots"] += 1
        self._carried["carried_orders"] += len(old)
        self._carried["carried_orders_missing"] += len(old) - len(in_old)
        self._carried["carried_orders_extra"] += len(new) - len(in_new)
        self._carried["carried_orders_changed"] += int((old[in_old] != new[in_new]).any(axis=1).sum())

    def _require_near(self, now_ns: int, place: str) -> None:
        """Refuse a time that would make millions of bins of nothing; a window has an end, an endless stream has not."""
        ahead = now_ns - int(self._stream.scalars[bn.NEXT_END])
        if self.end_ns is None and ahead > _MOST_AHEAD_NS:
            raise EngineError(
                f"The distance of {place} from the records before it",
                required=f"at most {_MOST_AHEAD_NS // _NS_PER_DAY} days",
                was=f"{ahead / _NS_PER_DAY:,.0f} days",
                fix="Leave the record out, or begin a new stream.",
            )

    def _place(self, number: int) -> str:
        return f"record {number:,}" + (f" of {self.symbol}" if self.symbol else "")

    def _refusal(self, code: int, records: npt.NDArray[Any], at: int, first_record: int) -> EngineError:
        where = self._place(first_record + at)
        record = records[at]
        if code == sk.OFF_TICK:
            return EngineError(
                f"The price of {where} was {int_to_price(int(record['price']))}, which is not a multiple of the tick "
                f"size {int_to_price(self.tick_int)}. Check tick_size in the instrument's configuration."
            )
        if code == sk.TOP_OF_BOOK:
            return EngineError(
                f"{where[0].upper()}{where[1:]} carries the flags {int(record['flags'])} (top of book or aggregated by "
                "price). The engine follows single orders: use a full-depth market-by-order feed."
            )
        return EngineError(
            f"{where[0].upper()}{where[1:]} comes from publisher {int(record['publisher_id'])}, earlier ones from "
            f"publisher {int(self._stream.scalars[bn.PUBLISHER])}. One book is one publisher's: use a file with a "
            "single venue."
        )


def _with_held(stream: bn.Stream, length: int) -> bn.Stream:
    held = np.zeros((length, _WORDS), np.int64)
    if stream.held is not None:
        held[: len(stream.held)] = stream.held
    view = held.view()
    view.flags.writeable = False
    return stream._replace(held=held, held_view=view)
