"""The toolkit's steps and the resampling, beside the formulation in numpy or pandas that gives the same values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pandas as pd
import pyarrow as pa
from data import BENCH, records
from harness import Comparison, Way

from vpcore.kernels import resample, rolling, spatial
from vpcore.kernels.random import seeded
from vpcore_market.source import SyntheticParams, write_synthetic

WINDOW, RADIUS, DRAWS = 50, 50, 1000


# Neither is cached: numba would not notice a change of what they call.
@numba.njit
def over_series(step, values, window, out):  # type: ignore[no-untyped-def]
    """Push values one by one and take a rolling figure at each, as a compiled signal does."""
    ring, cursor = np.zeros(2 * window), np.zeros(2, np.int64)
    for i in range(values.shape[0]):
        rolling.push(ring, cursor, values[i])
        out[i] = step(ring, cursor, window)


@numba.njit
def over_rows(rows, weights, out):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        out[i] = spatial.ask_weighted(rows[i], weights) - spatial.bid_weighted(rows[i], weights)


def same(one: Any, other: Any, name: str) -> None:
    # The running sums of pandas drift: by 3e-9 in half a million steps.
    if not np.allclose(one, other, rtol=1e-9, atol=1e-7, equal_nan=True):
        raise AssertionError(f"{name} and its alternative disagree")


def kernels(small: bool) -> list[Comparison]:
    """Return a comparison per kind of step."""
    n = 20_000 if small else 500_000
    rng = np.random.default_rng(8)
    values = rng.normal(size=n).cumsum()
    out = np.empty(n)
    series = pd.Series(values)
    place = np.arange(WINDOW) - (WINDOW - 1) / 2

    def pandas_slope() -> Any:
        return series.rolling(WINDOW).apply(lambda part: place @ part / (place @ place), raw=True)

    steps: list[tuple[str, Any, str, Callable[[], Any]]] = [
        ("mean", rolling.rolling_mean, "pandas rolling", lambda: series.rolling(WINDOW).mean()),
        ("deviation", rolling.rolling_std, "pandas rolling", lambda: series.rolling(WINDOW).std(ddof=0)),
        ("slope", rolling.rolling_slope, "pandas rolling apply", pandas_slope),
    ]
    found = []
    for name, step, other, way in steps:
        over_series(step, values, WINDOW, out)
        same(out, way().to_numpy(), f"the rolling {name}")
        run = lambda step=step: over_series(step, values, WINDOW, out)  # noqa: E731
        found.append(Comparison(f"rolling {name} of {WINDOW}", "values", Way("vpcore", run, n), [Way(other, way, n)]))

    rows = rng.normal(size=(n // 20, 2 * RADIUS + 1))
    weights = spatial.exponential_weights(RADIUS, 0.1)
    sides, both = np.empty(len(rows)), np.concatenate([-weights[:0:-1], weights])
    over_rows(rows, weights, sides)
    same(sides, rows @ both, "the weighted sums")
    found.append(
        Comparison(
            f"weighted sums of both sides, {2 * RADIUS + 1} cells",
            "rows",
            Way("vpcore", lambda: over_rows(rows, weights, sides), len(rows)),
            [Way("numpy matrix product", lambda: rows @ both, len(rows))],
        )
    )
    found.append(bootstrap(rng.integers(-20, 20, 500)))
    return [*found, synthesis(small)]


def bootstrap(pays: Any) -> Comparison:
    sums, length = np.empty(DRAWS, np.int64), 5.0
    few = DRAWS // 10

    def in_numpy() -> list[int]:
        draw = np.random.default_rng(1)
        answer = []
        for _ in range(few):
            starts = draw.random(len(pays)) < 1.0 / length
            starts[0] = True
            first = np.flatnonzero(starts)
            at = draw.integers(0, len(pays), len(first))
            block = np.cumsum(starts) - 1
            answer.append(int(pays[(at[block] + np.arange(len(pays)) - first[block]) % len(pays)].sum()))
        return answer

    resample.stationary_sums(pays, length, seeded(1, 0), sums)
    spread = math.sqrt(sums.var() / DRAWS + np.var(in_numpy()) / few)
    if abs(sums.mean() - np.mean(in_numpy())) > 5 * spread:
        raise AssertionError("the bootstrap and its formulation in numpy disagree")
    return Comparison(
        f"stationary bootstrap of {len(pays)} trades",
        "draws",
        Way("vpcore", lambda: resample.stationary_sums(pays, length, seeded(1, 0), sums), DRAWS),
        [Way("numpy", in_numpy, few)],
    )


def synthesis(small: bool) -> Comparison:
    """The simulated market: written order by order, beside compressing as many records that are there."""
    params = SyntheticParams(duration_s=2.0 if small else 30.0, events_per_second=1775.0, seed=5)
    path = BENCH / "synthesis.mbo.dbn.zst"
    n = write_synthetic(path, params).records
    plain = records("minute", n).tobytes()
    return Comparison(
        "simulate a market, .dbn.zst",
        "records",
        Way("vpcore", lambda: write_synthetic(path, params), n),
        [Way("pyarrow, compressing alone", lambda: pa.compress(plain, codec="zstd"), len(plain) / 56)],
    )
