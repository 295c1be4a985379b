"""Do the learning signals see the future, and do they find what is there?

Synthetic sessions without an effect (alpha = 0): the out-of-sample AUC must be 1/2. The same with the purge switched
off, as if every label were known at once: it must not be. Sessions with an effect: it must be above 1/2, in each alone.

    python benchmarks/ml_study.py null --seeds 20 --minutes 15
    python benchmarks/ml_study.py effect --seeds 20 --minutes 120

Prints a table. "across" is the AUC over all pairs of an up of one session and a down of another, which is 1/2 on
average if nothing is seen; its standard error is that of the jackknife over sessions, which are independent blocks.
"within" is the mean of the sessions' own AUC. In a short session that lies below 1/2 without any effect: a session that
rose has taught its models to say up, and what is left of it holds the fewer ups. "found" is the share of sessions whose
own AUC is above 1/2 by more than three of its own standard errors, over blocks of two minutes.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vpcore import Dataset, Engine, EngineParams, ScoringConfig, TradeRules
from vpcore.schema import GRID_VALUES
from vpcore.scoring import score_arrays
from vpcore.units import tick_to_int
from vpcore_market.source import Simulation, SyntheticParams
from vpcore_signals_ml import learning
from vpcore_signals_ml.diagnostics import out_of_sample
from vpcore_signals_ml.figures import auc_estimate
from vpcore_signals_ml.learning import LearningSignal
from vpcore_signals_ml.signals import GbmMf, GbmSnap, KnnCl, Logit, LsvmDer, PcaAd, SvmSp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from auc_across import auc_across

RADIUS = 22

BLOCK_BINS = 1200
"""Two minutes, and twice the hold of the trades of the effect."""

Session = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Predictions, what happened, and the block of time."""


def session(seed: int, alpha: float, minutes: float) -> Dataset:
    """Return a synthetic session, the score attached."""
    params = SyntheticParams(seed=seed, alpha=alpha, duration_s=60 * minutes)
    tick = tick_to_int(params.tick_size)
    engine = Engine(
        EngineParams(grid_radius_ticks=RADIUS), tick_int=tick, start_ns=params.start_ns, end_ns=params.end_ns
    )
    blocks = [block for records in Simulation(params) for block in engine.blocks(records, params.instrument_id)]
    blocks += list(engine.finish(params.end_ns))
    bins = {name: np.concatenate([block.bins[name] for block in blocks]) for name in blocks[0].bins}
    grid = {name: np.concatenate([block.grid[name] for block in blocks]) for name in GRID_VALUES}
    data = Dataset.from_arrays(bins, grid, dataset_id=f"s{seed}", cell_width_ns=10**8, tick_int=tick)
    d1, d2, d3 = (data.grid(f"composite_d{i}") for i in (1, 2, 3))
    score, state = score_arrays(d1, d2, d3, data.valid, ScoringConfig())
    return data.with_grid({"flow_score": score, "flow_state_code": state})


@contextmanager
def without_purge():
    """Let every fit, partial ones too, see the labels of all bins before it, resolved or not."""
    choose, fresh = learning.choose, learning.fresh

    def known(state):
        other = copy.copy(state)
        other.resolved = state.seq
        return other

    learning.choose = lambda state, *rest, **more: choose(known(state), *rest, **more)
    learning.fresh = lambda state, *rest: fresh(known(state), *rest)
    try:
        yield
    finally:
        learning.choose, learning.fresh = choose, fresh


TREES = {"rounds": 60, "min_leaf": 30, "learning_rate": 0.1}
TIGHT = {"min_train_bins": 1500, "retrain_interval_bins": 50, "train_window_bins": 1500, "stride_bins": 5}
"""A short memory and frequent fits: where the labels of the last minute would do the most harm."""

SHORT = {"train_window_bins": 700, "retrain_interval_bins": 25, "update_interval_bins": 5, "stride_bins": 1}
"""Slopes forget within seconds: only with a shorter memory still does ``lsvm_der`` remember what leaks."""

PATIENT = {"min_train_bins": 3000, "retrain_interval_bins": 3000, "stride_bins": 5}


def signals(*, tight: bool) -> dict[str, LearningSignal]:
    """Return the signals. The validation part of the tight schedule is small: it keeps the latest labels from a fit."""
    schedule = TIGHT if tight else PATIENT
    share = {"validation_share": 0.05 if tight else 0.2}
    return {
        "logit": Logit(**schedule),
        "svm_sp": SvmSp(**schedule, **share),
        "lsvm_der": LsvmDer(**{**TIGHT, **SHORT}, **share, eta=0.1, epochs=5) if tight else LsvmDer(**schedule),
        "knn_cl": KnnCl(**schedule, k=30 if tight else 100),
        "gbm_mf": GbmMf(**schedule, **share, **TREES),
        "gbm_snap": GbmSnap(**schedule, **share, **TREES),
        "pca_ad": PcaAd(**schedule),
    }


UNSUPERVISED = ("pca_ad",)
"""They learn from no labels: there is nothing to purge."""


def predictions(signal: LearningSignal, data: Dataset, rules: TradeRules) -> Session:
    """Return what a signal said out of sample over a session, and what happened."""
    result = signal.compute(data, rules)
    p, y, rows = out_of_sample(result.state, result.values[np.flatnonzero(data.valid)])
    return p, y, result.state.seq[rows] // BLOCK_BINS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=["null", "effect"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--alpha", type=float, default=0.6)
    parser.add_argument("--signals", nargs="+", choices=signals(tight=True), help="only these")
    args = parser.parse_args()
    null = args.case == "null"
    # Long trades make a leak large, short ones give an effect many examples.
    barrier, hold = (4, 1200) if null else (2, 600)
    rules = TradeRules(tp_ticks=barrier, sl_ticks=barrier, max_hold_bins=hold, price="mid")
    found: dict[tuple[str, str], list[Session]] = {}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        began = time.perf_counter()
        data = session(seed, 0.0 if null else args.alpha, args.minutes)
        wanted = args.signals or list(signals(tight=null))
        for name, signal in signals(tight=null).items():
            if name not in wanted:
                continue
            found.setdefault(("no effect" if null else "effect", name), []).append(predictions(signal, data, rules))
            if null and name not in UNSUPERVISED:
                with without_purge():
                    found.setdefault(("no purge", name), []).append(predictions(signal, data, rules))
        print(f"seed {seed}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    print("| market | signal | sessions | AUC across | standard error | from 1/2 | within | above 1/2 | found |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (case, name), sessions in sorted(found.items()):
        across, across_error = auc_across([(p, y) for p, y, _ in sessions])
        own = np.array([auc_estimate(*session) for session in sessions])
        value, far = own[:, 0], (own[:, 0] - 0.5) / own[:, 1]
        print(
            f"| {case} | `{name}` | {len(sessions)} | {across:.3f} | {across_error:.3f} | "
            f"{(across - 0.5) / across_error:+.1f} | {np.nanmean(value):.3f} | {(value > 0.5).mean():.0%} | "
            f"{(far > 3).mean():.0%} (least {np.nanmin(far):+.1f}) |"
        )


if __name__ == "__main__":
    main()
