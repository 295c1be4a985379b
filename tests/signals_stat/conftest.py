"""Independent implementations of the docstrings' formulas: numpy, whole windows, no shared code."""

from __future__ import annotations

import numpy as np
import pytest


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
        memory = {x: memory.get(x, 0.0) * np.exp(-gap * dt / (p.memory_ms / 1000)) for x in cells}
        for x, k in cells.items():
            if k > 0 and above:
                memory[x] = above / 2
            if k < 0 and below:
                memory[x] = below / 2
        weight = {
            k: np.exp(-p.spatial_decay * (abs(k) - 1)) if abs(k) > p.center_exclusion else 0.0 for k in cells.values()
        }
        intensity = sum(weight[k] * memory[x] for x, k in cells.items()) / sum(weight.values())
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


@pytest.fixture(scope="session")
def oracles():
    """The formula of each signal, as a function of data and parameters."""
    return {"ads": ads, "erd": erd, "derivative": derivative}
