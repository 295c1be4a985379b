"""Signals to trades to sums: crossings, first touch of the barriers, and the tally of many trials.

Prices and results are whole numbers here (ticks or half-ticks), so that every sum is exact in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit

TAKE_PROFIT = 1
STOP_LOSS = -1
TIMEOUT = 0
NO_TRADE = 2
"""Codes of `outcome`. `NO_TRADE`: nothing can be entered at this bin."""

_Array = npt.NDArray[Any]

NEVER = 2**31 - 1
"""In place of a bin: the barrier is not touched within the hold."""

N_UP, N_DOWN, N_DROPPED, N_TP, N_SL, N_TIMEOUT, N_TIE, SUM_NET, SUM_GROSS, SUM_SPREAD, MAX_OPEN, TWICE_MEDIAN = range(
    12
)
N_SUMS = 12
"""Columns of `sums` in `tally`."""


@jit
def crossings(
    values: _Array, valid: _Array, opened: _Array, bin_seq: _Array, upper: float, lower: float, first_seq: int,
    bins: _Array, sides: _Array,
) -> int:  # fmt: skip
    """Write the crossings of a threshold and return their number.

    Parameters
    ----------
    values : float64[n_bins]
        NaN where the signal is undefined.
    valid : bool[n_bins]
        Values of other bins are ignored.
    opened : bool[n_bins]
        Crossings in other bins are left out, but their values count for "after".
    bin_seq : int64[n_bins]
        Number of the bin.
    upper, lower : float
        A long crossing is ``value >= upper`` after ``value < upper``; a short one ``value <= lower`` after ``value >
        lower``. "After" refers to the last finite value in a valid bin; the first such value is no crossing.
    first_seq : int
        Crossings in earlier bins are left out, but their values count for "after".
    bins : int64[n_bins], written
        Indices of the crossings, ascending.
    sides : int8[n_bins], written
        +1 long, -1 short.
    """
    count = 0
    before = np.nan
    for i in range(values.shape[0]):
        value = values[i]
        if not valid[i] or np.isnan(value):
            continue
        if bin_seq[i] >= first_seq and opened[i]:
            if value >= upper and before < upper:
                bins[count] = i
                sides[count] = 1
                count += 1
            elif value <= lower and before > lower:
                bins[count] = i
                sides[count] = -1
                count += 1
        before = value
    return count


@jit
def beyond(
    values: _Array, valid: _Array, opened: _Array, bin_seq: _Array, upper: float, lower: float, first_seq: int,
    bins: _Array, sides: _Array,
) -> int:  # fmt: skip
    """Write the bins whose value lies beyond a threshold and return their number. Parameters as in `crossings`."""
    count = 0
    for i in range(values.shape[0]):
        if valid[i] and opened[i] and bin_seq[i] >= first_seq and (values[i] >= upper or values[i] <= lower):
            bins[count] = i
            sides[count] = 1 if values[i] >= upper else -1
            count += 1
    return count


@jit
def one_at_a_time(bins: _Array, sides: _Array, latency: int, resolved_at: _Array, kept: _Array) -> None:
    """Mark the signals that come while no earlier kept signal waits for its entry or has an open trade.

    Parameters
    ----------
    bins, sides : int64[n_signals], int8[n_signals]
        Decision bins of one trial, ascending.
    latency : int
        Bins from decision to entry.
    resolved_at : int32[2, n_bins]
        Of the outcome table; row 0 long, row 1 short.
    kept : bool[n_signals], written
        A signal in the bin that closes a trade, or in which an entry fails, is dropped like those before.
    """
    free = -1
    for s in range(bins.shape[0]):
        kept[s] = bins[s] > free
        if not kept[s]:
            continue
        side = 0 if sides[s] > 0 else 1
        free = bins[s] + latency
        if free < resolved_at.shape[1]:
            free = resolved_at[side, free]


@jit
def accept(
    bins: _Array, sides: _Array, bin_seq: _Array, cooldown: int, accepted_bins: _Array, accepted_sides: _Array
) -> int:
    """Copy the crossings that lie at least `cooldown` bins after the last copy, and return their number.

    A crossing inside the cooldown is lost and leaves the cooldown as it is. `bins` and `sides` come from `crossings`;
    `accepted_bins` (int64) and `accepted_sides` (int8) are written and have room for all of them.
    """
    count = 0
    last = 0
    for c in range(bins.shape[0]):
        seq = bin_seq[bins[c]]
        if count == 0 or seq - last >= cooldown:
            accepted_bins[count] = bins[c]
            accepted_sides[count] = sides[c]
            count += 1
            last = seq
    return count


@jit
def touch_times(
    entry: _Array, extreme: _Array, valid: _Array, sign: int, distance: int, hold: int, touched: _Array
) -> None:
    """Write for every bin when the price first comes as far from that bin's entry price as a distance.

    A barrier's touch times are independent of the other barrier: a grid of 25 take-profits and 40 stops needs 65
    computations per side for its 1,000 combinations.

    Parameters
    ----------
    entry : int64[n_bins]
        Price paid at the end of the bin.
    extreme : int64[n_bins]
        Extreme inside the bin, towards the barrier, of the price at which the trade is closed.
    valid : bool[n_bins]
        Other bins are skipped.
    sign : int
        +1 for a barrier above, -1 for one below.
    distance : int
        At least 1, in the unit of the prices.
    hold : int
        Number of bins after the entry in which the barrier is tested.
    touched : int32[n_bins], written
        The first of these bins that touches it, else `NEVER`.

    Notes
    -----
    Runs backwards with a stack of the later bins that reach further than all bins between: the possible first touches
    at any distance. The time is independent of hold and distance; a forward scan that skipped blocks of 32 bins by
    their extremes took four times as long at a hold of 1,200 bins.
    """
    n_bins = entry.shape[0]
    heights = np.empty(n_bins, np.int64)  # the highest first, which is the furthest away
    places = np.empty(n_bins, np.int32)
    size = 0
    reaching = 0  # how many of them reach the target: sought from where it was, as prices move little from bin to bin
    for e in range(n_bins - 1, -1, -1):
        target = sign * entry[e] + distance
        reaching = min(reaching, size)
        while reaching < size and heights[reaching] >= target:
            reaching += 1
        while reaching > 0 and heights[reaching - 1] < target:
            reaching -= 1
        touched[e] = places[reaching - 1] if reaching > 0 and places[reaching - 1] - e <= hold else NEVER
        if valid[e]:
            height = sign * extreme[e]
            while size > 0 and heights[size - 1] <= height:
                size -= 1
            heights[size] = height
            places[size] = e
            size += 1


@jit
def touch_times_from(
    start: _Array, order: _Array, entry: _Array, extreme: _Array, valid: _Array, sign: int, distance: int,
    touched: _Array,
) -> None:  # fmt: skip
    """Write for every trade when the price first comes as far from its entry price as a distance.

    Like `touch_times`, for trades whose bins of entry come in any order and whose hold is tested elsewhere.

    Parameters
    ----------
    start : int64[n_trades]
        First bin in which the barrier is tested; it may lie past the last bin.
    order : int64[n_trades]
        The trades by `start`, ascending.
    entry : int64[n_trades]
        Price paid.
    extreme, valid : int64[n_bins], bool[n_bins]
        As in `touch_times`.
    sign, distance : int
        As in `touch_times`.
    touched : int32[n_trades], written
        The first bin from `start` on that touches the barrier, else `NEVER`.
    """
    n_bins = extreme.shape[0]
    heights = np.empty(n_bins, np.int64)  # the highest first, as in `touch_times`
    places = np.empty(n_bins, np.int32)
    size = 0
    q = start.shape[0] - 1
    while q >= 0 and start[order[q]] >= n_bins:
        touched[order[q]] = NEVER
        q -= 1
    for e in range(n_bins - 1, -1, -1):
        if valid[e]:
            height = sign * extreme[e]
            while size > 0 and heights[size - 1] <= height:
                size -= 1
            heights[size] = height
            places[size] = e
            size += 1
        while q >= 0 and start[order[q]] == e:
            trade = order[q]
            target = sign * entry[trade] + distance
            low, high = 0, size  # the heights fall: those before `low` reach the target
            while low < high:
                middle = (low + high) >> 1
                if heights[middle] >= target:
                    low = middle + 1
                else:
                    high = middle
            touched[trade] = places[low - 1] if low > 0 else NEVER
            q -= 1


@jit
def first_touch(
    entry: _Array, adverse: _Array, last: _Array, mid2: _Array, opened: _Array, spread: _Array, until: _Array,
    leaves: _Array, known: _Array, taken: _Array, stopped: _Array, sign: int, tp: int, widest: int, half_ticks: int,
    outcome: _Array, tie: _Array, exit_bin: _Array, resolved_at: _Array, net: _Array, gross: _Array,
) -> None:  # fmt: skip
    """Write the outcome of a trade of one side entered at the end of every bin.

    Parameters
    ----------
    entry : int64[n_bins]
        Price paid at the end of the bin.
    adverse : int64[n_bins]
        Extreme inside the bin, away from the take-profit, of the price at which the trade is closed.
    last : int64[n_bins]
        Price at which the trade is closed at the end of the bin.
    mid2 : int64[n_bins]
        Mid at the end of the bin, in half-ticks.
    opened : bool[n_bins]
        Where a trade may be entered, if the spread is less than `widest`.
    spread : int64[n_bins]
        At the end of the bin.
    until : int32[n_bins]
        Last bin in which the barriers of a trade entered here are tested.
    leaves, known : int32[n_bins]
        Bin at whose price the trade leaves at a timeout, and bin at whose end this is known.
    taken, stopped : int32[n_bins]
        From `touch_times`: of the take-profit and of the stop.
    sign : int
        +1 long, -1 short.
    tp : int
        Distance of the take-profit in the unit of the prices.
    widest : int
        See above.
    half_ticks : int
        Per unit of the prices.
    outcome : int8[n_bins], written
        `TAKE_PROFIT`, `STOP_LOSS`, `TIMEOUT` or `NO_TRADE`.
    tie : bool[n_bins], written
        The bin of the stop also touched the take-profit.
    exit_bin : int32[n_bins], written
        The bin whose price closed the trade.
    resolved_at : int32[n_bins], written
        The bin at whose end the outcome is known.
    net : int32[n_bins], written
        Net PnL of the trade in half-ticks: `tp` at a take-profit, the adverse extreme of the bin at a stop, the price
        at the end of the exit bin at a timeout.
    gross : int32[n_bins], written
        Mid at the end of the exit bin less mid at entry, in the trade's direction, half-ticks.
    """
    # Two loops without branches: which barrier comes first is as good as random, and the first loop runs in vectors.
    n_bins = entry.shape[0]
    for e in range(n_bins):
        enters = opened[e] & (spread[e] < widest)
        touched = min(stopped[e], taken[e])
        touches = touched <= until[e]  # `until` is less than `NEVER`
        stops = touches & (stopped[e] <= taken[e])
        result = np.int8(STOP_LOSS) if stops else np.int8(TAKE_PROFIT)
        result = result if touches else np.int8(TIMEOUT)
        x = touched if touches else leaves[e]
        done = touched if touches else known[e]
        outcome[e] = result if enters else np.int8(NO_TRADE)
        tie[e] = enters & stops & (stopped[e] == taken[e])
        exit_bin[e] = x if enters else np.int32(e)
        resolved_at[e] = done if enters else np.int32(e)
    for e in range(n_bins):
        x = np.uint32(exit_bin[e])
        result = outcome[e]
        worst = adverse[x]
        price = last[x]
        price = worst if result == STOP_LOSS else price
        pays = sign * (price - entry[e])
        pays = tp if result == TAKE_PROFIT else pays
        net[e] = pays * half_ticks if result != NO_TRADE else 0
        gross[e] = sign * (mid2[x] - mid2[e])


@jit
def tally(
    bins: _Array, sides: _Array, offsets: _Array, latency: int, spread: _Array, block_of: _Array, bin_start_ns: _Array,
    width_ns: int, outcome: _Array, tie: _Array, opened_at: _Array, exit_bin: _Array, resolved_at: _Array, net: _Array,
    gross: _Array, sums: _Array, n_eff: _Array, block_net: _Array, block_trades: _Array, trades: _Array, bounds: _Array,
) -> None:  # fmt: skip
    """List and add up the trades of many trials that share one outcome table.

    Parameters
    ----------
    bins, sides : int64[n_signals], int8[n_signals]
        Decision bins of all trials, one trial after the other. Within a trial the trades open in this order.
    offsets : int64[n_trials + 1]
        Where each trial begins in `bins`.
    latency : int
        Bins from decision to entry.
    spread : int64[n_bins]
        At the end of the bin, ticks.
    block_of : int64[n_bins]
        The block of the PnL vector to which a trade opened in this bin belongs.
    bin_start_ns : int64[n_bins]
        Start of the bin.
    width_ns : int
        Width of a bin.
    outcome, tie, opened_at, exit_bin, resolved_at, net, gross : arrays of shape (2, n_bins)
        Outcome table by entry bin; row 0 long, row 1 short. `net` and `gross` in half-ticks.
    sums : int64[n_trials, N_SUMS], written
        Counts, sums in half-ticks (`SUM_SPREAD` in ticks), `MAX_OPEN`, and `TWICE_MEDIAN`: twice the median number of
        bins from entry to the end of the trade.
    n_eff : float64[n_trials], written
        Sum over trades of the mean share of the bins it is open that is its own (1 / trades open in that bin).
    block_net, block_trades : int64[n_trials, n_blocks], written
        Net half-ticks and number of trades per block of entry.
    trades : int64[n_signals, 4], written
        End of the entry bin (ns), side, end of the exit bin (ns) and net half-ticks of each trade, in the order of its
        signals. The rows after the last trade stay as they are.
    bounds : int64[n_trials + 1], written
        Where the trades of each trial begin in `trades`.
    """
    n_bins = spread.shape[0]
    longest = 0
    for t in range(sums.shape[0]):
        longest = max(longest, offsets[t + 1] - offsets[t])
    durations = np.empty(longest, dtype=np.int64)
    # The open trades, by end, are [closed:n]. An insertion from behind beats sorting: ends come nearly in order.
    ends = np.empty(longest, dtype=np.int64)
    entries = np.empty(longest, dtype=np.int64)
    at_entry = np.empty(longest, dtype=np.float64)
    lasting = np.empty(n_bins, dtype=np.int64)  # trades per duration, for durations below `counted`
    counted = 0  # longest duration so far + 1; to clear all bins of a session costs more than to count its trades
    bounds[0] = 0
    for t in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            sums[t, c] = 0
        for b in range(block_net.shape[1]):
            block_net[t, b] = 0
            block_trades[t, b] = 0
        n = 0
        closed = 0
        now = 0
        share = 0.0
        total = 0.0
        for s in range(offsets[t], offsets[t + 1]):
            side = 0 if sides[s] > 0 else 1
            sums[t, N_UP + side] += 1
            e = bins[s] + latency
            if e >= n_bins or outcome[side, e] == NO_TRADE:
                sums[t, N_DROPPED] += 1
                continue
            result = outcome[side, e]
            if result == TAKE_PROFIT:
                sums[t, N_TP] += 1
            elif result == STOP_LOSS:
                sums[t, N_SL] += 1
                if tie[side, e]:
                    sums[t, N_TIE] += 1
            else:
                sums[t, N_TIMEOUT] += 1
            sums[t, SUM_NET] += net[side, e]
            sums[t, SUM_GROSS] += gross[side, e]
            sums[t, SUM_SPREAD] += spread[e]
            pays = net[side, e]
            end = min(resolved_at[side, e], n_bins - 1)
            row = bounds[t] + n
            trades[row, 1] = sides[s]
            trades[row, 2] = bin_start_ns[exit_bin[side, e]] + width_ns
            trades[row, 3] = pays
            e = opened_at[side, e]
            trades[row, 0] = bin_start_ns[e] + width_ns
            block_net[t, block_of[e]] += pays
            block_trades[t, block_of[e]] += 1
            durations[n] = end - e
            while counted <= end - e:
                lasting[counted] = 0
                counted += 1
            lasting[end - e] += 1
            end = max(end, e + 1)  # a trade entered in the last bin is open for an instant, not for none
            while closed < n and ends[closed] <= e:
                share += (ends[closed] - now) / (n - closed)
                now = ends[closed]
                total += (share - at_entry[closed]) / (ends[closed] - entries[closed])
                closed += 1
            if n > closed:
                share += (e - now) / (n - closed)
            now = e
            j = n
            while j > closed and ends[j - 1] > end:
                ends[j] = ends[j - 1]
                entries[j] = entries[j - 1]
                at_entry[j] = at_entry[j - 1]
                j -= 1
            ends[j] = end
            entries[j] = e
            at_entry[j] = share
            n += 1
            sums[t, MAX_OPEN] = max(sums[t, MAX_OPEN], n - closed)
        while closed < n:
            share += (ends[closed] - now) / (n - closed)
            now = ends[closed]
            total += (share - at_entry[closed]) / (ends[closed] - entries[closed])
            closed += 1
        n_eff[t] = total
        bounds[t + 1] = bounds[t] + n
        if n > 0:
            below = 0
            duration = -1
            while below <= (n - 1) // 2:
                duration += 1
                below += lasting[duration]
            sums[t, TWICE_MEDIAN] = duration
            while below <= n // 2:
                duration += 1
                below += lasting[duration]
            sums[t, TWICE_MEDIAN] += duration
        for i in range(n):
            lasting[durations[i]] = 0
