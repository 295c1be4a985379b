"""A pipeline, its tape and its batch values, for tests of live serving."""

from __future__ import annotations

import numpy as np
from markets import INSTRUMENT, START_NS, TICK_INT, random_tape

from vpcore.dataset import Dataset
from vpcore.engine import Engine, EngineParams, FrameBlock
from vpcore.projection import ProjectionConfig
from vpcore.schema import GRID_VALUES
from vpcore.scoring import ScoringConfig, score_arrays
from vpcore.signal import SignalParams, StatisticalSignal, batch, code_digest, core_digest
from vpcore_serving.bin_pipeline import BinStages, context_of
from vpcore_serving.live_pipeline import LivePipeline, LiveSession
from vpcore_serving.spec import (
    PublishedDataset,
    PublishedPipeline,
    PublishedSignal,
    ServingRuntime,
    TradeRules,
)

PARAMS = EngineParams(grid_radius_ticks=6, band_margin_ticks=3, flow_windows=(2, 3))
SCORING = ScoringConfig(zscore_window_bins=9, zscore_min_periods=4)
WIDTH_NS = 100_000_000
N_BINS = 60
END_NS = START_NS + N_BINS * WIDTH_NS


class Tilt(StatisticalSignal):
    """Score below the mid minus score above it, smoothed."""

    version = 1
    columns = ("flow_score", "v_add", "spread_ticks")

    class Params(SignalParams):
        memory: float = 0.5

    def start(self, context):
        return {"n": context.n_cells, "mean": 0.0}

    def step(self, state, frame):
        half = state["n"] // 2
        score = frame["flow_score"]
        now = float(score[:half].sum() - score[half + 1 :].sum()) + frame["spread_ticks"] * 1e-3
        state["mean"] += self.params.memory * (now - state["mean"])
        return state["mean"]

    def thresholds(self):
        return (0.1,)

    def warmup_bins(self, context):
        return 0


def tape(seed: int = 11) -> np.ndarray:
    return random_tape(seed, 500, seconds=N_BINS * 0.1, oddities=False)


def frames_of(records: np.ndarray) -> FrameBlock:
    engine = Engine(PARAMS, tick_int=TICK_INT, start_ns=START_NS, end_ns=END_NS)
    blocks = [*engine.blocks(records, INSTRUMENT), *engine.finish(END_NS)]
    return FrameBlock.concatenate(blocks, GRID_VALUES, PARAMS.n_cells)


def dataset_of(records: np.ndarray) -> Dataset:
    block = frames_of(records)
    return Dataset.from_arrays(block.bins, block.grid, dataset_id="tape", cell_width_ns=WIDTH_NS, tick_int=TICK_INT)


def offline(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    score, state = score_arrays(*(dataset.grid(f"composite_d{i}") for i in (1, 2, 3)), dataset.valid, SCORING)
    scored = dataset.with_grid({"flow_score": score, "flow_state_code": state})
    return score, batch(Tilt(), scored).values


def live(projection=None, entries=None, **changes) -> LivePipeline:
    stages = BinStages(SCORING, Tilt(), context_of(PARAMS, TICK_INT), projection=projection, entries=entries)
    bounds = {name: changes.pop(name) for name in ("start_ns", "instrument_id") if name in changes}
    session = LiveSession(**({"start_ns": START_NS, "instrument_id": INSTRUMENT} | bounds))
    return LivePipeline(PARAMS, stages, session=session, **({"grace_ns": 0} | changes))


def runtime(**changes) -> ServingRuntime:
    dataset = PublishedDataset(dataset_id="tape", sources=("ab" * 32,))
    return ServingRuntime(
        pipeline=PublishedPipeline(
            name="p", symbol="ESH4", tick_int=TICK_INT, timezone="America/New_York", start_ns=START_NS, end_ns=END_NS,
            source="dbn", options={}, files=None, cold_book="refuse", engine=PARAMS, format_version=1,
        ),
        dataset=dataset,
        scoring=SCORING,
        signal=PublishedSignal(
            name="tilt", version=1, params={"memory": 0.5}, distribution="tests", distribution_version="1",
            code_digest=code_digest(Tilt),
        ),
        core_digest=core_digest(),
        projection=ProjectionConfig(horizons_ms=(200,)),
        threshold=0.2, cooldown_bins=3,
        rules=TradeRules(
            tp_ticks=8, sl_ticks=4, max_hold_bins=100, latency_bins=1, price="touch", fee_ticks=0.0, warmup_bins=5
        ),
    ).model_copy(update=changes)  # fmt: skip
