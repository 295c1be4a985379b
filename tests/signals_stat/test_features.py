"""Features are causal, mirror-consistent, the same bits bin by bin, and what the registry says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpcore import CausalityError, ConfigError, Signal, SignalContext, SignalError
from vpcore.kernels.jit import jit
from vpcore.signal.conformance.checks import GATE, Subject, run_check
from vpcore.testing import SessionData, synthetic_dataset
from vpcore_signals_stat import feature_table, registered
from vpcore_signals_stat.features import GROUPS, FeatureSet
from vpcore_signals_stat.groups import Feature, Group
from vpcore_signals_stat.microprice import Microprice
from vpcore_signals_stat.msd import Msd


def probe(features):
    """Return a signal whose value mixes some features: what one of them does wrong, the value does too."""
    feature_set = FeatureSet(features, "Probe")
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(feature_set.names))

    class Probe(Signal):
        columns = feature_set.columns

        def start(self, context):
            return feature_set.start(context)

        def warmup_bins(self, context):
            return feature_set.warmup(context)

        def step(self, state, frame):
            value = 0.0
            for weight, feature in zip(weights, feature_set.row(state, frame, 250_000_000), strict=True):
                value += weight * feature
            return value

        def compute(self, dataset):
            total = np.zeros(int(dataset.valid.sum()))
            for weight, feature in zip(weights, feature_set.matrix(dataset).T, strict=True):
                total += weight * feature
            values = np.full(dataset.n_bins, np.nan)
            values[dataset.valid] = total
            return self.result(values)

        @staticmethod
        def result(values):
            from vpcore import SignalResult

            return SignalResult(values)

    return Probe()


def scored(data):
    score = data.grid("composite_d1").astype(float)
    code = (score > 0.2).astype("int8") - (score < -0.2).astype("int8")
    return data.with_grid({"flow_score": score, "flow_state_code": code})


@pytest.mark.parametrize("check", GATE)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_a_feature_is_checked_like_a_signal(group, check):
    signal = probe(tuple(feature.name for feature in group.features))
    data = SessionData.collect(scored(synthetic_dataset(5, 300)), signal.columns)
    assert run_check(check, Subject(signal, data)) == ""


@pytest.fixture(scope="module", params=GROUPS, ids=lambda group: group.name)
def case(request):
    """A group, and a session with its columns and their partners under mirroring."""
    columns = (*FeatureSet([f.name for f in request.param.features], "t").columns, "mid_price")
    partners = {"bid_depth", "ask_depth", "best_bid_size", "best_ask_size", "buy_volume", "sell_volume"}
    return request.param, SessionData.collect(
        scored(synthetic_dataset(5, 700)), (*dict.fromkeys((*columns, *partners)),)
    )


def test_the_mirrored_market_has_the_mirrored_features(case):
    group, data = case
    names = [feature.name for feature in group.features]
    partner = [names.index(feature.partner) for feature in group.features]
    matrix, mirrored = group.matrix(data), group.matrix(data.mirrored())
    expected = matrix[:, partner] * [feature.sign for feature in group.features]
    np.testing.assert_allclose(mirrored, expected, rtol=1e-9, atol=1e-12)
    assert [partner[place] for place in partner] == list(range(len(names)))


def test_each_is_there_after_its_warm_up_and_varies(case):
    group, data = case
    for feature, values in zip(group.features, group.matrix(data).T, strict=True):
        assert np.isnan(values[: feature.warmup]).all(), feature.name
        assert np.isfinite(values[feature.warmup :]).all(), feature.name
        assert values[feature.warmup :].std() > 0, feature.name


def naive_lean(bid, ask):
    size = np.abs(bid).sum() + np.abs(ask).sum()
    return (bid.sum() - ask.sum()) / size if size > 0 else 0.0


def test_against_formulas_written_down_once_more():
    data = scored(synthetic_dataset(8, 500))
    feature_set = FeatureSet(tuple(registered()), "t")
    rows = np.flatnonzero(data.valid)
    g = {
        name: data.grid(name)[rows].astype(float)
        for name in feature_set.columns
        if not name.startswith(("best", "buy", "sell"))
    }
    bid, ask = (data.bin(f"best_{side}_price_int")[rows] // data.tick_int for side in ("bid", "ask"))
    mid2, middle = bid + ask, data.n_cells // 2
    buys, sells = data.bin("buy_volume")[rows].astype(float), data.bin("sell_volume")[rows].astype(float)
    found = dict(zip(feature_set.names, feature_set.matrix(data).T, strict=True))
    net, i = g["pressure"] - g["vacuum"], 350

    def lean(values, at, near=1, far=3):
        cells = values[at]
        return naive_lean(cells[middle - far : middle - near + 1], cells[middle + near : middle + far + 1])

    def history(values, n, near=1, far=3):
        return np.array([lean(values, at, near, far) for at in range(i - n + 1, i + 1)])

    def slope(name, n, far=3):
        return np.polyfit(np.arange(n), history(g[name], n, 1, far), 1)[0]

    def flow(n):
        last = slice(i - n + 1, i + 1)
        return (buys - sells)[last].sum() / (buys + sells)[last].sum()

    def side(values, at, sign, far):
        return values[at, middle + sign * np.arange(1, far + 1)]

    def tilt(values, at, difference):
        w = 1 / np.arange(1, 11)
        above, below = (side(values, at, sign, 10) @ w / w.sum() for sign in (1, -1))
        return above - below if difference else above + below

    def ratio(at, sign):
        add, pull, fill = (side(g[name], at, sign, 5).mean() for name in ("v_add", "v_pull", "v_fill"))
        return (add + 0.1) / (pull + fill + 0.1)

    def asymmetry(at):
        new = g["v_add"] - g["v_pull"]
        found = [
            (
                side(new, at, -1, far)[near - 1 :].mean() - side(new, at, 1, far)[near - 1 :].mean(),
                (far - near + 1) ** -0.5,
            )
            for near, far in ((1, 3), (4, 11), (12, 23))
        ]
        return np.average([x for x, _ in found], weights=[w for _, w in found])

    codes = np.delete(g["flow_state_code"][i, middle - 20 : middle + 21], 20)
    shares = [(np.sign(codes) == s).mean() for s in (-1, 0, 1)]
    returns = np.diff(mid2[i - 100 : i + 1]).astype(float)
    bands = history(net, 50, 4, 10)
    sizes = [data.bin(f"best_{side}_size")[rows].astype(float) for side in ("bid", "ask")]
    touch = (sizes[0] - sizes[1]) / (sizes[0] + sizes[1])
    p, v = g["pressure"][i], g["vacuum"][i]
    expected = {
        "lean_j_add_10": lean(g["j_add"], i, 1, 10),
        "lean_v_pull_3": lean(g["v_pull"], i),
        "slope10_v_pull": slope("v_pull", 10),
        "slope50_v_pull": slope("v_pull", 50),
        "mean50_vacuum": history(g["vacuum"], 50).mean(),
        "slope10_v_add_3": slope("v_add", 10),
        "slope25_a_pull_3": slope("a_pull", 25),
        "slope50_j_pull_10": slope("j_pull", 50, 10),
        "spot_3": lean(net, i),
        "spot_10": lean(net, i, 1, 10),
        "spot_mean_10": history(net, 10).mean(),
        "spot_mean_50": history(net, 50).mean(),
        "return_20": mid2[i] - mid2[i - 20],
        "return_100": mid2[i] - mid2[i - 100],
        "deviation_50": returns[-50:].std(),
        "deviation_100": returns.std(),
        "skew_100": np.mean((returns - returns.mean()) ** 3) / returns.std() ** 3,
        "spread": (ask - bid)[i],
        "spread_50": (ask - bid)[i - 49 : i + 1].mean(),
        "touch": touch[i],
        "touch_20": touch[i - 19 : i + 1].mean(),
        "depth_10": naive_lean(g["bid_depth"][i, middle - 10 : middle], g["ask_depth"][i, middle + 1 : middle + 11]),
        "flow_20": flow(20),
        "flow_100": flow(100),
        "volume_100": np.log1p((buys + sells)[i - 99 : i + 1].mean()),
        "bid_6": (p[middle - 6] - v[middle - 6]) / (p[middle - 6] + v[middle - 6] + 1e-3),
        "ask_15": (p[middle + 15] - v[middle + 15]) / (p[middle + 15] + v[middle + 15] + 1e-3),
        "band_2": bands[-1],
        "band_mean_2": bands.mean(),
        "band_deviation_2": bands.std(),
        "asymmetry_23": asymmetry(i),
        "vacuum_share_10": (tilt(g["vacuum"], i, 1) / (tilt(g["vacuum"], i, 0) + 0.5)),
        "arrival_ratio_5": np.log(ratio(i, -1)) - np.log(ratio(i, 1)),
        "acceleration_10": -tilt(g["a_add"] - g["a_pull"], i, 1),
        "jerk_10": -10 * tilt(g["j_add"] - g["j_pull"], i, 1),
        "gradient_8": np.polyfit(np.arange(8), side(net, i, 1, 8), 1)[0]
        - np.polyfit(np.arange(8), side(net, i, -1, 8), 1)[0],
        "curvature_3": side(net, i, -1, 3) @ [1, -2, 1] - side(net, i, 1, 3) @ [1, -2, 1],
        "entropy_20": -sum(s * np.log(s) for s in shares if s > 0) / np.log(3),
        "pressure_-3": p[middle - 3],
        "score_8": g["flow_score"][i, middle + 8],
    }
    for name, value in expected.items():
        assert found[name][i] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_a_statistical_signal_is_a_feature():
    data = synthetic_dataset(5, 300)
    stacked = FeatureSet(("touch_20", Microprice(), "spot_3"), "Stacked")
    assert stacked.names == ("touch_20", "microprice", "spot_3")
    matrix = stacked.matrix(data)
    assert matrix[:, 1].tobytes() == Microprice().compute(data).values[data.valid].tobytes()
    assert set(Microprice.columns) <= set(stacked.columns)


def test_signals_and_the_registry_have_the_same_numbers():
    data = synthetic_dataset(5, 300)
    found = FeatureSet(("vacuum_share_10", "touch", "spread"), "t").matrix(data).T
    assert found[0].tobytes() == Msd().compute(data).values[data.valid].tobytes()
    assert (found[1] * found[2] / 2).tobytes() == Microprice().compute(data).values[data.valid].tobytes()


@jit
def _peek(state, grid, numbers, out):
    for i in range(grid.shape[0]):
        out[i, 0] = numbers[min(i + 1, grid.shape[0] - 1), 0]


def test_a_feature_that_looks_ahead_is_refused():
    feature = Feature("next_mid", "state", "the next mid", 0, -1, "next_mid")
    group = Group("next", (feature,), (), 0, lambda radius: np.zeros(1), _peek)
    with pytest.raises(
        CausalityError, match=r"Feature 'next_mid' looks ahead: valid bin \d+ is \d+ when the data ends"
    ):
        group.matrix(synthetic_dataset(5, 300))


def test_what_is_no_feature_is_refused():
    with pytest.raises(
        SignalError, match="No feature is called 'spot_2' .features of signal 'T'.. Did you mean 'spot_"
    ):
        FeatureSet(("spot_2",), "T")
    with pytest.raises(SignalError, match="features of signal 'T' has 'touch' twice"):
        FeatureSet(("touch", "spread", "touch"), "T")
    for nothing in ((), "touch"):
        with pytest.raises(SignalError, match="features of signal 'T' must be a tuple of names and signals, was"):
            FeatureSet(nothing, "T")


def test_a_grid_that_is_too_small_is_refused():
    context = SignalContext(np.arange(-9, 10, dtype=np.int16), 10**8, 1)
    with pytest.raises(ConfigError, match="reads cells up to 10 ticks from the mid, but the grid's radius is 9 ticks"):
        FeatureSet(("depth_3",), "t").require(context, "logit")


def test_the_documents_have_every_feature():
    document = Path(__file__).parents[2] / "docs" / "reference" / "features.md"
    assert feature_table() in document.read_text()
