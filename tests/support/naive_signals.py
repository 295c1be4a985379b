"""The signals' docstrings once more: numpy, whole windows, no shared code. One function per signal, (data, params)."""

from __future__ import annotations

import numpy as np


def robust_z(series, window, floor):
    """z of each value against the last `window`, itself included; NaN until the window is full."""
    out = np.full(len(series), np.nan)
    for i in range(window - 1, len(series)):
        part = series[i - window + 1 : i + 1]
        if np.isnan(part).any():
            continue
        scale = 1.4826 * np.median(np.abs(part - np.median(part)))
        out[i] = 0.0 if scale <= floor else (part[-1] - np.median(part)) / scale
    return out


def ads(data, p):
    middle = data.n_cells // 2
    v_add, v_pull = (data.grid(name)[data.valid].astype(float) for name in ("v_add", "v_pull"))
    asymmetry, total = np.zeros(len(v_add)), 0.0
    for near, far in ((1, 3), (4, 11), (12, 23)):
        bid, ask = slice(middle - far, middle - near + 1), slice(middle + near, middle + far + 1)
        weight = (far - near + 1) ** -0.5
        difference = [x[:, bid].mean(axis=1) - x[:, ask].mean(axis=1) for x in (v_add, v_pull)]
        asymmetry += weight * (difference[0] - difference[1])
        total += weight
    asymmetry /= total
    blend = np.zeros(len(v_add))
    for n, weight in zip(p.slope_windows, p.blend_weights, strict=True):
        slope = np.full(len(v_add), np.nan)
        for i in range(n - 1, len(v_add)):
            slope[i] = np.polyfit(np.arange(n) * data.cell_width_ns / 1e9, asymmetry[i - n + 1 : i + 1], 1)[0]
        blend += weight * np.tanh(robust_z(slope, p.zscore_window, p.zscore_scale_floor) / p.tanh_scale)
    return _placed(data, blend / sum(p.blend_weights))


def erd(data, p):
    middle = data.n_cells // 2
    score, code = data.grid("flow_score")[data.valid], data.grid("flow_state_code")[data.valid]
    bid, ask = np.arange(middle - p.band_ticks, middle), np.arange(middle + 1, middle + 1 + p.band_ticks)

    def entropy(cells):
        share = np.array([(code[:, cells] == state).mean(axis=1) for state in (-1, 0, 1)])
        with np.errstate(all="ignore"):
            return -np.where(share > 0, share * np.log(share), 0.0).sum(axis=0) / np.log(3)

    gate = np.tanh(np.maximum(robust_z(entropy(np.concatenate([bid, ask])), p.zscore_window, 1e-6) - p.spike_z, 0))
    if p.variant == "a":
        direction = (score[:, bid].mean(axis=1) - score[:, ask].mean(axis=1)) / 2
    else:
        direction = entropy(ask) - entropy(bid)
    return _placed(data, gate * direction)


def derivative(data, p):
    radius, dt = data.n_cells // 2, data.cell_width_ns / 1e9
    columns = ("bin_seq", "best_bid_price_int", "best_ask_price_int", "state_above", "state_below")
    memory, last_seq, smooth, history, out = {}, None, None, [], []
    series = [[], [], []]
    for seq, bid, ask, above, below in zip(*(data.bin(name)[data.valid].tolist() for name in columns), strict=True):
        gap = 1 if last_seq is None else seq - last_seq
        mid2 = (bid + ask) // data.tick_int
        cells = {}  # price level -> k, by the definition
        for x in range(mid2 // 2 - radius - 2, mid2 // 2 + radius + 3):
            d = 2 * x - mid2
            k = int(np.sign(d) * np.ceil(abs(d) / 2))
            if abs(k) <= radius:
                cells[x] = k
        keep = np.exp(-gap * dt / (p.memory_ms / 1000))
        memory = {x: (memory[x][0] * keep, memory[x][1]) if x in memory else (0.0, 0) for x in cells}
        for x, k in cells.items():
            label = above if k > 0 else below
            if k != 0 and label:
                memory[x] = (1.0, label)
        weight = {
            k: np.exp(-p.spatial_decay * (abs(k) - 1)) if abs(k) > p.center_exclusion else 0.0 for k in cells.values()
        }
        counts = {2: p.vacuum_weight, 1: p.pressure_weight, 0: 0.0}
        told = {x: q * counts[abs(label)] * np.sign(label) for x, (q, label) in memory.items()}
        mixed = 1 - sum(weight[k] * memory[x][0] for x, k in cells.items()) / sum(weight.values())
        intensity = sum(weight[k] * told[x] for x, k in cells.items()) / sum(weight.values())
        intensity *= 1 - p.mixed_damping * mixed
        alpha = 1 - np.exp(-gap * dt / (p.smoothing_ms / 1000))
        smooth = intensity if smooth is None else smooth + alpha * (intensity - smooth)
        history = [smooth] * 4 if last_seq is None or gap > 1 else [*history[1:], smooth]
        differences = np.array(history)
        value, total = 0.0, 0.0
        for order in range(3):
            differences = np.diff(differences) / dt
            series[order].append(differences[-1])
            window = np.array(series[order][-p.rms_window :])
            rms = np.sqrt((window**2).mean()) if len(window) == p.rms_window else np.nan
            scale = p.tanh_scale * max(rms, p.rms_floor[order]) if not np.isnan(rms) else np.nan
            value += p.derivative_weights[order] * np.tanh(differences[-1] / scale)
            total += p.derivative_weights[order]
        out.append(value / total)
        last_seq = seq
    return _placed(data, np.array(out))


def _placed(data, values):
    out = np.full(data.n_bins, np.nan)
    out[data.valid] = values
    return out


def _sides(x):
    """Return both sides of a grid column's valid rows outwards from the touch: index 0 is distance 1."""
    middle = x.shape[1] // 2
    return x[:, :middle][:, ::-1], x[:, middle + 1 :]


def _rows(data, *names):
    return [data.grid(name)[data.valid].astype(float) for name in names]


def _ema(series, milliseconds, data):
    keep = np.exp(-data.cell_width_ns / 1e6 / milliseconds)
    out = np.array(series, dtype=float)
    for i in range(1, len(out)):
        out[i] = keep * out[i - 1] + (1 - keep) * series[i]
    return out


def _bins(milliseconds, data):
    return max(1, round(milliseconds * 1e6 / data.cell_width_ns))


def msd(data, p):
    (vacuum,) = _rows(data, "vacuum")
    distance = np.arange(1, p.band_ticks + 1)
    weights = 1 / distance if p.weighting == "inverse" else np.ones(p.band_ticks)
    below, above = (np.average(side[:, : p.band_ticks], axis=1, weights=weights) for side in _sides(vacuum))
    return _placed(data, (above - below) / (above + below + p.floor))


def spg(data, p):
    pressure, vacuum = _rows(data, "pressure", "vacuum")
    bid, ask = _sides(pressure - p.vacuum_weight * vacuum)
    distance = np.arange(1, p.band_ticks + 1)
    bid_slope, ask_slope = (np.polyfit(distance, side[:, : p.band_ticks].T, 1)[0] for side in (bid, ask))
    bid_curve, ask_curve = (side[:, 0] - 2 * side[:, 1] + side[:, 2] for side in (bid, ask))
    gradient = ask_slope - bid_slope
    fast = _ema(gradient, p.fast_ms, data)
    parts = (fast, fast - _ema(gradient, p.slow_ms, data), _ema(bid_curve - ask_curve, p.fast_ms, data))
    value = np.zeros(len(fast))
    for x, weight in zip(parts, p.blend_weights, strict=True):
        rms = np.full(len(x), np.nan)
        for i in range(p.rms_window - 1, len(x)):
            rms[i] = np.sqrt((x[i - p.rms_window + 1 : i + 1] ** 2).mean())
        value += weight * np.tanh(x / (p.tanh_scale * np.maximum(rms, p.rms_floor)))
    return _placed(data, value / sum(p.blend_weights))


def pfp(data, p):
    v_add, v_pull, v_fill = _rows(data, "v_add", "v_pull", "v_fill")
    seq, lag, settle = data.bin("bin_seq")[data.valid], _bins(p.lag_ms, data), _bins(p.average_ms, data)
    leads = []
    for activity in (v_add + v_fill, v_pull):
        for side in _sides(activity):
            inner, outer = side[:, 0:3].mean(axis=1), side[:, 4:12].mean(axis=1)
            # Only where the last `lag` bins are all there, so that "L bins ago" is the bin L before.
            usable = [t for t in range(lag, len(seq)) if seq[t] - seq[t - lag] == lag]
            ahead, behind = np.zeros(len(seq)), np.zeros(len(seq))
            if usable:
                products = np.array([[inner[t - lag] * outer[t], inner[t] * outer[t - lag]] for t in usable])
                averages = np.stack([_ema(column, p.average_ms, data) for column in products.T])
                for t in range(usable[0], len(seq)):
                    ahead[t], behind[t] = averages[:, np.searchsorted(usable, t, side="right") - 1]
            leads.append((ahead - behind) / (ahead + behind + p.floor))
    front, retreat = leads[0] - leads[1], leads[2] - leads[3]
    value = ((1 - p.pull_weight) * front - p.pull_weight * retreat) / 2
    value[: lag + settle] = np.nan
    return _placed(data, value)


def iirc(data, p):
    v_add, v_pull, v_fill = (_sides(x) for x in _rows(data, "v_add", "v_pull", "v_fill"))
    ratio = []
    for side in (0, 1):
        arriving, pulled, filled = (x[side][:, : p.band_ticks].mean(axis=1) for x in (v_add, v_pull, v_fill))
        ratio.append(np.log((arriving + p.intensity_floor) / (pulled + filled + p.intensity_floor)))
    x = ratio[0] - ratio[1]
    value = np.zeros(len(x))
    for n, weight in ((p.fast_window, 1 - p.slow_weight), (p.slow_window, p.slow_weight)):
        slope = np.full(len(x), np.nan)
        for i in range(n - 1, len(x)):
            slope[i] = np.polyfit(np.arange(n) * data.cell_width_ns / 1e9, x[i - n + 1 : i + 1], 1)[0]
        value += weight * np.tanh(np.sign(slope) * np.maximum(np.abs(slope) - p.noise_floor, 0) / p.slope_scale)
    return _placed(data, value)


def jad(data, p):
    a_add, a_pull, j_add, j_pull = _rows(data, "a_add", "a_pull", "j_add", "j_pull")
    weights = 1 / np.arange(1, p.band_ticks + 1)

    def lean(x):
        bid, ask = (np.average(side[:, : p.band_ticks], axis=1, weights=weights) for side in _sides(x))
        return bid - ask

    acceleration, jerk = lean(a_add - a_pull), 10 * lean(j_add - j_pull)
    share = np.where(acceleration * jerk > 0, p.agree_weight, p.diverge_weight)
    x = (1 - share) * acceleration + share * jerk
    return _placed(data, np.tanh(robust_z(x, p.zscore_window, p.zscore_scale_floor) / p.tanh_scale))


def _levels(data, levels):
    """Return the sizes 0 to `levels` - 1 ticks behind the best bid and ask, by looking each price's cell up."""
    bids, asks = (data.bin(f"best_{side}_price_int")[data.valid] // data.tick_int for side in ("bid", "ask"))
    sizes = np.zeros((2, len(bids), levels))
    depths = _rows(data, "bid_depth", "ask_depth")
    for i, (bid, ask) in enumerate(zip(bids.tolist(), asks.tolist(), strict=True)):
        for m in range(levels):
            for side, price in enumerate((bid - m, ask + m)):
                half_ticks = 2 * price - (bid + ask)
                k = int(np.sign(half_ticks) * np.ceil(abs(half_ticks) / 2))
                cell = k + data.n_cells // 2
                if 0 <= cell < data.n_cells:
                    sizes[side, i, m] = depths[side][i, cell]
    for side, name in enumerate(("best_bid_size", "best_ask_size")):
        sizes[side, :, 0] = data.bin(name)[data.valid]
    return bids, asks, sizes


def microprice(data, p):
    bids, asks, sizes = _levels(data, p.levels)
    bid, ask = (sizes / np.arange(1, p.levels + 1)).sum(axis=2)
    with np.errstate(invalid="ignore"):
        weighted_mid = (asks * bid + bids * ask) / (bid + ask)
    return _placed(data, np.where(bid + ask > 0, weighted_mid - (bids + asks) / 2, 0.0))


def ofi(data, p):
    bids, asks, sizes = _levels(data, p.levels)
    seq = data.bin("bin_seq")[data.valid]
    weights = 1 / np.arange(1, p.levels + 1)
    flow = np.zeros(len(seq))
    for t in range(1, len(seq)):
        if seq[t] != seq[t - 1] + 1:
            continue
        for m in range(p.levels):
            (bid_was, bid), (ask_was, ask) = (sizes[side, t - 1 : t + 1, m] for side in (0, 1))
            e = bid * (bids[t] >= bids[t - 1]) - bid_was * (bids[t] <= bids[t - 1])
            e += -ask * (asks[t] <= asks[t - 1]) + ask_was * (asks[t] >= asks[t - 1])
            flow[t] += weights[m] * e / weights.sum()
    depth = np.average(sizes.mean(axis=0), axis=1, weights=weights)
    value = np.full(len(seq), np.nan)
    for i in range(p.window_bins - 1, len(seq)):
        window = slice(i - p.window_bins + 1, i + 1)
        value[i] = flow[window].sum() / (2 * depth[window].mean()) if depth[window].any() else 0.0
    return _placed(data, value)


def composite(data, p):
    from vpcore_signals_stat.ads import Ads
    from vpcore_signals_stat.msd import Msd
    from vpcore_signals_stat.pfp import Pfp

    windows = [_bins(ms, data) for ms in p.slope_ms]
    slope = Ads.Params(
        slope_windows=windows, blend_weights=[1.0] * len(windows), zscore_window=_bins(p.zscore_ms, data)
    )
    front = Pfp.Params(lag_ms=p.lag_ms, average_ms=p.average_ms)
    blend, total = np.zeros(data.n_bins), np.zeros(data.n_bins)
    values = (ads(data, slope), pfp(data, front), msd(data, Msd.Params()))
    for x, weight in zip(values, p.weights, strict=True):
        warm = np.flatnonzero(~np.isnan(x))
        magnitude = np.sqrt(_ema(x[warm] ** 2, p.magnitude_ms, data))
        voice = np.tanh(x[warm] / (p.tanh_scale * np.maximum(magnitude, 1e-3)))
        settled = _bins(p.magnitude_ms, data) - 1
        blend[warm[settled:]] += weight * voice[settled:]
        total[warm[settled:]] += weight
    with np.errstate(invalid="ignore"):
        return blend / total


ORACLES = {
    "ads": ads,
    "composite": composite,
    "derivative": derivative,
    "erd": erd,
    "iirc": iirc,
    "jad": jad,
    "microprice": microprice,
    "msd": msd,
    "ofi": ofi,
    "pfp": pfp,
    "spg": spg,
}
