"""Tear sheets against alphalens-reloaded and against plain loops, and their page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import vpcore as vp
from vpcore_report.tearsheet import Settings, TearSheet, tearsheet

Call = Callable[..., tuple[str, str]]
TICK = 250_000_000
WIDTH = 100_000_000


def dataset_of(mid: Any, valid: Any = None, counts: Any = None) -> vp.Dataset:
    """A market with a spread of one tick around a mid in ticks."""
    n = len(mid)
    twice = np.rint(2 * np.asarray(mid)).astype(np.int64) + 8000
    bid = (twice - 1) // 2
    bins = {
        "bin_seq": np.arange(n),
        "bin_start_ns": np.arange(n) * WIDTH,
        "bin_end_ns": (np.arange(n) + 1) * WIDTH,
        "book_valid": np.ones(n, bool) if valid is None else valid,
        "bin_event_count": np.ones(n, np.int64) if counts is None else counts,
        "best_bid_price_int": bid * TICK,
        "best_ask_price_int": (twice - bid) * TICK,
    }
    grid = {"pressure": np.zeros((n, 3), np.float32)}
    return vp.Dataset.from_arrays(bins, grid, dataset_id="made", cell_width_ns=WIDTH, tick_int=TICK)


def formula() -> tuple[Any, Any]:
    """A mid and values that need no generator."""
    i = np.arange(900)
    mid = np.cumsum((i * i * 7919 + i * 104729) % 11 - 5) / 2.0
    ahead = np.concatenate([mid[3:], mid[-1:].repeat(3)])
    return mid, np.sin(i * 0.37) + np.cumsum((i * 31) % 17 - 8) / 40.0 + ahead / 60


def test_figures_are_those_of_alphalens() -> None:
    """The constants are alphalens-reloaded 0.5.1 on the same arrays: one date, the bins as assets, 5 quantiles."""
    mid, values = formula()
    sheet = vp.tearsheet(dataset_of(mid), values, Settings(horizons_ms=[500, 3000], warmup_bins=100, draws=0))
    assert isinstance(sheet, TearSheet)
    assert sheet.ic["horizon_bins"].to_list() == [5, 30]
    assert sheet.ic["ic"].to_list() == pytest.approx([0.00636960637789438, -0.035513177774240866], rel=1e-12)
    known = {
        5: [
            -0.06289308176100629,
            0.059748427672955975,
            0.18238993710691823,
            -0.11320754716981132,
            0.031446540880503145,
        ],
        30: [0.10714285714285714, 0.0, 0.025974025974025976, 0.18181818181818182, -0.31493506493506496],
    }
    for horizon, means in known.items():
        found = sheet.quantiles.filter(sheet.quantiles["horizon_bins"] == horizon)
        assert found["mean_ticks"].to_list() == pytest.approx(means, rel=1e-12, abs=1e-15)
    last = sheet.turnover.row(1, named=True)
    assert last["autocorrelation"] == pytest.approx(0.09347110060553665, rel=1e-12)
    assert (last["top"], last["bottom"]) == (pytest.approx(0.9407894736842105, rel=1e-12), 1.0)


def naive_ranks(values: list[float]) -> list[float]:
    return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]


def naive_correlation(x: list[float], y: list[float]) -> float:
    if len(x) < 3:
        return math.nan
    a, b = naive_ranks(x), naive_ranks(y)
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    above = sum((p - ma) * (q - mb) for p, q in zip(a, b, strict=True))
    below = sum((p - ma) ** 2 for p in a) * sum((q - mb) ** 2 for q in b)
    return above / math.sqrt(below) if below else math.nan


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), ties=st.booleans())
def test_figures_are_those_of_a_plain_loop(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    n, stale = 160, 2
    mid = np.cumsum(rng.integers(-2, 3, n)) / 2.0
    valid, counts = rng.random(n) > 0.1, rng.integers(0, 2, n)
    values = rng.integers(-2, 3, n).astype(float) if ties else rng.normal(size=n)
    values[rng.random(n) < 0.1] = np.nan
    data = dataset_of(mid, valid, counts)
    sheet = tearsheet(
        data, values, Settings([100, 700], horizon_ms=300, quantiles=3, warmup_bins=10, stale_after_ms=200, draws=0),
        others={"twice": 2 * values, "none": np.full(n, np.nan)},
    )  # fmt: skip

    def is_open(i: int) -> bool:
        recent = [j for j in range(i + 1) if counts[j] > 0]
        return bool(valid[i]) and i - (recent[-1] if recent else -1) <= stale

    known = [i for i in range(10, n) if is_open(i) and not math.isnan(values[i])]
    assert sheet.n_bins == len(known)

    def pairs(horizon: int, lag: int = 0) -> list[tuple[float, float]]:
        later = [(i, i + lag, i + lag + horizon) for i in known if i + lag + horizon < n]
        return [(values[i], mid[c] - mid[b]) for i, b, c in later if is_open(b) and is_open(c)]

    for row in sheet.ic.to_dicts():
        found = pairs(row["horizon_bins"])
        assert row["n"] == len(found)
        assert row["ic"] == pytest.approx(naive_correlation(*map(list, zip(*found, strict=True))), nan_ok=True)
    for row in sheet.decay.to_dicts():
        found = pairs(3, row["lag_bins"])
        assert row["ic"] == pytest.approx(naive_correlation(*map(list, zip(*found, strict=True))), nan_ok=True)
    base = pairs(3)
    for row in sheet.hits.to_dicts():
        far = [(v, r) for v, r in base if abs(v) >= row["threshold"] and v != 0]
        assert row["n"] == len(far)
        moved = [v * r > 0 for v, r in far if r != 0]
        assert row["hit_rate"] == pytest.approx(sum(moved) / len(moved) if moved else math.nan, nan_ok=True)
        mean = sum(math.copysign(1, v) * r for v, r in far) / len(far) if far else math.nan
        assert row["mean_ticks"] == pytest.approx(mean, nan_ok=True)
    for row in sheet.turnover.to_dicts():
        lag = row["lag_bins"]
        both = [i for i in known if i - lag in set(known)]
        own = naive_correlation([values[i] for i in both], [values[i - lag] for i in both])
        assert row["autocorrelation"] == pytest.approx(own, nan_ok=True)
    for horizon in (1, 7):
        part = sheet.quantiles.filter(sheet.quantiles["horizon_bins"] == horizon)
        found = pairs(horizon)
        assert part["n"].sum() == len(found)
        bounds = np.quantile([v for v, _ in found], [1 / 3, 2 / 3])
        for row in part.to_dicts():
            inside = [r for v, r in found if 1 + sum(v > bound for bound in bounds) == row["quantile"]]
            assert row["mean_ticks"] == pytest.approx(sum(inside) / len(inside) if inside else math.nan, nan_ok=True)
    same = {row["signal"]: row["correlation"] for row in sheet.correlations.to_dicts()}
    assert same["twice"] == pytest.approx(1.0)
    assert math.isnan(same["none"])


@pytest.mark.slow
def test_bands_hold_the_truth() -> None:
    """Independent pairs of slow series have correlation 0: few bands of blocks leave it out, most of single bins do."""
    outside = naive = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        n = 36_000
        mid = np.cumsum(rng.integers(-1, 2, n)).astype(float)
        values = np.convolve(rng.normal(size=n + 199), np.ones(200), "valid")  # neighbours are nearly equal
        row = tearsheet(dataset_of(mid), values, Settings(horizons_ms=[5000], draws=299)).ic.row(0, named=True)
        assert row["lo"] <= row["ic"] <= row["hi"]
        outside += not row["lo"] <= 0 <= row["hi"]
        naive += abs(row["ic"]) > 1.96 / math.sqrt(row["n"])
    assert outside <= 1
    assert naive >= 5


def test_bands_need_blocks_and_repeat() -> None:
    mid, values = formula()
    data = dataset_of(mid)
    one, two = (tearsheet(data, values, Settings(horizons_ms=[100], horizon_ms=100, warmup_bins=0)) for _ in range(2))
    assert math.isnan(one.ic["lo"][0])  # 900 bins of 100 ms are two blocks of a minute
    assert one.ic.equals(two.ic)
    long = dataset_of(np.tile(mid, 10))
    found = [tearsheet(long, np.tile(values, 10), Settings(horizons_ms=[100], seed=seed)).ic for seed in (0, 0, 1)]
    assert found[0].equals(found[1])
    assert found[0]["lo"][0] < found[0]["ic"][0] < found[0]["hi"][0]
    assert found[0]["lo"][0] != found[2]["lo"][0]


def test_what_has_no_tear_sheet_is_refused() -> None:
    mid, _ = formula()
    data = dataset_of(mid)
    with pytest.raises(vp.ConfigError, match=r"one number per bin, 900 in all, was of shape \(3,\)"):
        tearsheet(data, [1, 2, 3])
    with pytest.raises(vp.ConfigError, match="values must be numbers, one per bin, was list"):
        tearsheet(data, ["a"] * 900)
    with pytest.raises(vp.ConfigError, match="in at least 3 open bins after the warm-up, was 0"):
        tearsheet(data, np.full(900, np.nan))
    for changed, message in (
        ({"quantiles": 1}, "quantiles must be from 2 to 20, was 1"),
        ({"draws": 5}, "draws must be from 99 to 100,000, was 5"),
        ({"horizons_ms": [0]}, "a horizon in ms must be from 1 to 86,400,000, was 0"),
        ({"horizons_ms": []}, "number of horizons must be from 1 to 64, was 0"),
        ({"warmup_bins": -1}, "warmup_bins must be from 0 to 100,000,000, was -1"),
    ):
        with pytest.raises(vp.ConfigError, match=message):
            Settings(**changed)  # type: ignore[arg-type]


def test_probabilities_count_from_a_half(tmp_path: Path) -> None:
    mid, values = formula()
    data = dataset_of(mid)
    chance = 1 / (1 + np.exp(-values))
    one = tearsheet(data, vp.SignalResult(chance, "probability"), Settings(draws=0))
    two = tearsheet(data, chance - 0.5, Settings(draws=0))
    assert one.hits.equals(two.hits)
    assert one.hits["hit_rate"][0] != tearsheet(data, chance, Settings(draws=0)).hits["hit_rate"][0]
    page = one.write(tmp_path / "t.html").read_text()
    assert all(f">{title}</h2>" in page for title in ("Information coefficient", "Decay", "Hit rate", "Time of day"))
    assert one.write(tmp_path / "u.html").read_text() == page
    with pytest.raises(vp.ConfigError, match="--out names a folder that is not there"):
        one.write(tmp_path / "none" / "t.html")
    with pytest.raises(vp.ConfigError, match="--out names a folder: "):
        one.write(tmp_path)


@pytest.mark.slow
def test_the_command_writes_a_page_of_a_signal_and_of_a_row(swept: vp.Workspace, call: Call, tmp_path: Path) -> None:
    row = json.loads(call("compare", "sweep", "--json")[0])["rows"][0]
    out = tmp_path / "t.html"
    printed, said = call("tearsheet", "plain", "--against", "scored, answers, wave", "--out", str(out))
    assert printed == f"{out}\n"
    assert "Tear sheet of plain" in out.read_text()
    assert "Other signals" in out.read_text()
    assert "Not correlated: answers (KeyError" in said
    answer = json.loads(call("tearsheet", row["row"], "--json", "--quantiles", "4", "--against", "wave")[0])
    assert {line["quantile"] for line in answer["quantiles"]} == {1, 2, 3, 4}
    assert answer["name"] == f"{row['signal']} {row['row']}"
    assert [line["signal"] for line in answer["correlations"]] == ["wave"]
    assert "No signal is called 'wav' (--against)" in call("tearsheet", "plain", "--against", "wav", code=2)[1]
    assert "No signal is called 'zz'" in call("tearsheet", "zz", code=2)[1]
    assert (
        "--params-json must be a JSON object, was [1]" in call("tearsheet", "plain", "--params-json", "[1]", code=2)[1]
    )
    assert "--params-json must be a JSON object, was {" in call("tearsheet", "plain", "--params-json", "{", code=2)[1]
    assert "A row has its own dataset and parameters" in call("tearsheet", row["row"], "--params-json", "{}", code=2)[1]
