"""Features are causal, mirror-consistent, the same bits bin by bin, and what their tables say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vpcore import ConfigError, SignalContext
from vpcore.signal import SignalFrame
from vpcore.testing import SessionData, synthetic_dataset
from vpcore_signals_ml import compact_features, flow_features, snap_features
from vpcore_signals_ml.compact_features import AD, CL, DER
from vpcore_signals_ml.flow_features import MF, SP
from vpcore_signals_ml.snap_features import SNAP
from vpcore_signals_ml.walk import columns_of

SETS = [MF, SP, SNAP, DER, CL, AD]


@pytest.fixture(scope="module", params=SETS, ids=lambda features: features.name)
def case(request):
    """A set, and a session with its columns and their partners under mirroring."""
    columns = (*columns_of(request.param), "mid_price")
    return request.param, SessionData.collect(synthetic_dataset(5, 700), columns)


def test_row_by_row_is_the_same_bits(case):
    features, data = case
    matrix = features.matrix(data)
    state = features.start()
    columns = columns_of(features)
    for r, i in enumerate(np.flatnonzero(data.valid)):
        frame = SignalFrame(
            columns,
            {name: data.grids[name][i] for name in features.grid},
            {name: data.bins[name][i] for name in columns if name in data.bins},
            owner="t",
            bin_seq=int(i),
            valid=True,
        )
        assert features.row(state, frame, data.tick_int).tobytes() == matrix[r].tobytes()


def test_the_future_does_not_matter(case):
    features, data = case
    whole = features.matrix(data)
    part = features.matrix(data.prefix(400))
    assert whole[: len(part)].tobytes() == part.tobytes()


def test_the_mirrored_market_has_the_mirrored_features(case):
    features, data = case
    matrix, mirrored = features.matrix(data), features.matrix(data.mirrored())
    expected = matrix[:, features.partner] * features.sign
    assert np.isnan(mirrored).any() == (features.warmup > 0)
    np.testing.assert_allclose(mirrored, expected, rtol=1e-9, atol=1e-12)
    assert (features.partner[features.partner] == np.arange(len(features.names))).all()


def test_they_are_finite_after_the_warm_up_and_all_vary(case):
    features, data = case
    matrix = features.matrix(data)
    assert np.isnan(matrix[: features.warmup]).all()
    late = matrix[features.warmup :]
    assert np.isfinite(late).all()
    assert (late.std(axis=0) > 0).all()
    assert len(set(features.names)) == len(features.names) == matrix.shape[1]


def naive_lean(bid, ask):
    size = np.abs(bid).sum() + np.abs(ask).sum()
    return (bid.sum() - ask.sum()) / size if size > 0 else 0.0


def test_against_formulas_written_down_once_more():
    data = SessionData.collect(synthetic_dataset(8, 500), (*columns_of(MF), *columns_of(SP)))
    rows = np.flatnonzero(data.valid)
    g = {name: data.grids[name][rows].astype(float) for name in MF.grid}
    bid, ask = (data.bins[f"best_{side}_price_int"][rows] // data.tick_int for side in ("bid", "ask"))
    mid2, middle = bid + ask, data.n_cells // 2
    buys, sells = data.bins["buy_volume"][rows], data.bins["sell_volume"][rows]
    mf = dict(zip(MF.names, MF.matrix(data).T, strict=True))
    sp = dict(zip(SP.names, SP.matrix(data).T, strict=True))
    i = 350

    def sides(values, near, far):
        return values[middle - far : middle - near + 1], values[middle + near : middle + far + 1]

    def lean_at(name, at, near=1, far=3):
        return naive_lean(*sides(g[name][at], near, far))

    history = np.array([lean_at("v_pull", at) for at in range(i - 49, i + 1)])
    returns = np.diff(mid2[i - 100 : i + 1]).astype(float)
    net = g["pressure"] - g["vacuum"]
    bands = np.array([naive_lean(*sides(net[at], 4, 10)) for at in range(i - 49, i + 1)])
    touch = (data.bins["best_bid_size"][rows] - data.bins["best_ask_size"][rows]) / (
        data.bins["best_bid_size"][rows] + data.bins["best_ask_size"][rows]
    )
    expected = {
        "lean_j_add_10": lean_at("j_add", i, 1, 10),
        "lean_v_pull_3": lean_at("v_pull", i),
        "slope10_v_pull": np.polyfit(np.arange(10), history[-10:], 1)[0],
        "slope50_v_pull": np.polyfit(np.arange(50), history, 1)[0],
        "mean50_v_pull": history.mean(),
        "mean50_vacuum": np.mean([lean_at("vacuum", at) for at in range(i - 49, i + 1)]),
        "spot_10": naive_lean(*sides(net[i], 1, 10)),
        "return_20": mid2[i] - mid2[i - 20],
        "deviation_100": returns.std(),
        "skew_100": np.mean((returns - returns.mean()) ** 3) / returns.std() ** 3,
        "spread_50": (ask - bid)[i - 49 : i + 1].mean(),
        "touch_20": touch[i - 19 : i + 1].mean(),
        "depth_10": naive_lean(sides(g["bid_depth"][i], 1, 10)[0], sides(g["ask_depth"][i], 1, 10)[1]),
        "flow_100": (buys - sells)[i - 99 : i + 1].sum() / (buys + sells)[i - 99 : i + 1].sum(),
        "volume_100": np.log1p((buys + sells)[i - 99 : i + 1].mean()),
    }
    for name, value in expected.items():
        assert mf[name][i] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    p, v = g["pressure"][i], g["vacuum"][i]
    for name, cell in (("bid_6", middle - 6), ("ask_15", middle + 15)):
        assert sp[name][i] == pytest.approx((p[cell] - v[cell]) / (p[cell] + v[cell] + 1e-3))
    assert sp["band_mean_2"][i] == pytest.approx(bands.mean())
    assert sp["band_deviation_2"][i] == pytest.approx(bands.std())
    assert sp["return_100"][i] == mid2[i] - mid2[i - 100]


def test_compact_sets_against_formulas_written_down_once_more():
    columns = dict.fromkeys((*columns_of(DER), *columns_of(CL), *columns_of(AD)))
    data = SessionData.collect(synthetic_dataset(9, 300), tuple(columns))
    rows = np.flatnonzero(data.valid)
    g = {name: data.grids[name][rows].astype(float) for name in data.grids}
    bins = {name: data.bins[name][rows].astype(float) for name in data.bins}
    bid, ask = (data.bins[f"best_{side}_price_int"][rows] // data.tick_int for side in ("bid", "ask"))
    mid2, middle, i = bid + ask, data.n_cells // 2, 200
    net = g["pressure"] - g["vacuum"]

    def lean(values, at, far):
        cells = values[at]
        return naive_lean(cells[middle - far : middle], cells[middle + 1 : middle + far + 1])

    spots = np.array([lean(net, at, 3) for at in range(i - 49, i + 1)])

    def slope(name, n, far):
        return np.polyfit(np.arange(n), [lean(g[name], at, far) for at in range(i - n + 1, i + 1)], 1)[0]

    touch = (bins["best_bid_size"] - bins["best_ask_size"]) / (bins["best_bid_size"] + bins["best_ask_size"])
    buys, sells = bins["buy_volume"][i - 19 : i + 1].sum(), bins["sell_volume"][i - 19 : i + 1].sum()
    expected = {
        "slope10_v_add_3": slope("v_add", 10, 3),
        "slope25_a_pull_3": slope("a_pull", 25, 3),
        "slope50_j_pull_10": slope("j_pull", 50, 10),
        "slope10_v_fill_10": slope("v_fill", 10, 10),
        "spot_mean_10": spots[-10:].mean(),
        "spot_mean_50": spots.mean(),
        "wide": lean(net, i, 10),
        "touch_20": touch[i - 19 : i + 1].mean(),
        "depth": naive_lean(g["bid_depth"][i, middle - 10 : middle], g["ask_depth"][i, middle + 1 : middle + 11]),
        "flow_20": (buys - sells) / (buys + sells),
        "return_10": mid2[i] - mid2[i - 10],
        "return_50": mid2[i] - mid2[i - 50],
        "deviation_50": np.diff(mid2[i - 50 : i + 1]).std(),
    }
    found = {
        name: value
        for features in (DER, CL)
        for name, value in zip(features.names, features.matrix(data)[i], strict=True)
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    profile = dict(zip(AD.names, AD.matrix(data)[i], strict=True))
    p, v = g["pressure"][i], g["vacuum"][i]
    for name, cell in (("bid_1", middle - 1), ("bid_20", middle - 20), ("ask_7", middle + 7)):
        assert profile[name] == pytest.approx((p[cell] - v[cell]) / (p[cell] + v[cell] + 1e-3))
    assert profile["spot"] == pytest.approx(spots[-1])


def test_a_grid_that_is_too_small_is_refused():
    context = SignalContext(np.arange(-9, 10, dtype=np.int16), 10**8, 1)
    with pytest.raises(ConfigError, match="reads cells up to 10 ticks from the mid, but the grid's radius is 9 ticks"):
        MF.require(context, "logit")


def test_every_feature_is_documented():
    stands_for = {"<column>": "[a-z]+_?[a-z]*", "<d>": r"\d+", "<b>": r"\d+", "<k>": r"-?\d+", "<n>": r"\d+"}
    for module, sets in ((flow_features, (MF, SP)), (snap_features, (SNAP,)), (compact_features, (DER, CL, AD))):
        patterns = []
        for line in re.findall(r"^\| (``.*?) \|", module.__doc__ or "", re.MULTILINE):
            first, *others = re.findall(r"``([a-z_0-9<>]+)``", line)
            # A further name that begins with an underscore is another ending of the first one.
            written = (first, *(re.sub(r"_\d+$", "", first) + o if o[0] == "_" else o for o in others))
            patterns += [re.sub(r"<\w+>", lambda found: stands_for[found[0]], name) for name in written]
        for name in (name for features in sets for name in features.names):
            assert any(re.fullmatch(pattern, name) for pattern in patterns), name
