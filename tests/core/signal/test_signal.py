"""The contract between signals, frames and drivers."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from pydantic import Field
from trade_rules import rules_of

from vpcore.dataset import Dataset
from vpcore.errors import ConfigError, SignalError
from vpcore.signal import (
    MLSignal,
    Signal,
    SignalContext,
    SignalFrame,
    SignalParams,
    SignalResult,
    SignalStream,
    StatisticalSignal,
    batch,
    frames,
    needs_score,
    require_importable,
    stream,
)
from vpcore.testing import synthetic_dataset


class Lean(StatisticalSignal):
    """Depth of the bid side minus that of the ask side, averaged."""

    columns = ("bid_depth", "ask_depth", "spread_ticks")

    class Params(SignalParams):
        window: int = Field(3, ge=1, le=100, description="Bins of the average, in bins.")

    def warmup_bins(self, context):
        return self.params.window - 1

    def start(self, context):
        return []

    def step(self, state, frame):
        state.append(float(frame["bid_depth"].sum() - frame["ask_depth"].sum()) / frame["spread_ticks"])
        del state[: -self.params.window]
        return math.fsum(state) / len(state) if len(state) == self.params.window else math.nan


@pytest.fixture(scope="module")
def dataset():
    return synthetic_dataset(3, 120, radius=4)


def test_params_and_overrides():
    assert Lean().params.window == 3
    assert Lean(window=5).params.window == 5
    assert Lean(Lean.Params(window=7)).params.window == 7
    assert Lean(Lean.Params(window=7), window=8).params.window == 8
    assert repr(Lean(window=5)) == "Lean(window=5)"
    with pytest.raises(ConfigError, match="Lean has no parameter 'windw'. Did you mean 'window'"):
        Lean(windw=3)
    with pytest.raises(ConfigError, match=r"params of Lean must be Lean.Params, was SignalParams"):
        Lean(SignalParams())


def test_signals_are_picklable():
    copy = pickle.loads(pickle.dumps(Lean(window=9)))
    assert copy.params == Lean(window=9).params


def test_stream_and_default_compute(dataset):
    values = Lean().compute(dataset).values
    bid, ask = dataset.grid("bid_depth").astype(float).sum(1), dataset.grid("ask_depth").astype(float).sum(1)
    with np.errstate(all="ignore"):
        raw = ((bid - ask) / dataset.bin("spread_ticks"))[dataset.valid]
    assert np.isnan(values[~dataset.valid]).all()
    assert np.isnan(values[dataset.valid][:2]).all()
    assert np.allclose(values[dataset.valid][2:], np.convolve(raw, np.ones(3) / 3, "valid"))
    assert batch(Lean(), dataset).values.tobytes() == values.tobytes()


def test_invalid_bins_are_not_stepped(dataset):
    seen = []

    class Spy(Lean):
        def step(self, state, frame):
            seen.append(frame.bin_seq)
            return 0.0

    stream(Spy(), dataset)
    assert seen == dataset.bin("bin_seq")[dataset.valid].tolist()


def test_invalid_bins_are_noted(dataset):
    class Counting(Lean):
        def start(self, context):
            return {"valid": 0, "invalid": []}

        def skip(self, state, frame):
            state["invalid"].append(frame.bin_seq)

        def step(self, state, frame):
            state["valid"] += 1
            return 0.0

    driver = SignalStream(Counting(), SignalContext.of(dataset))
    values = [driver.push(frame) for frame in frames(driver.signal, dataset)]
    invalid = np.flatnonzero(~dataset.valid)
    assert len(invalid) > 0
    assert driver.state == {"valid": int(dataset.valid.sum()), "invalid": invalid.tolist()}
    assert np.isnan(np.array(values)[invalid]).all()


def test_a_frame_holds_declared_columns_only(dataset):
    frame = list(frames(Lean(), dataset))[5]
    assert list(frame) == ["bid_depth", "ask_depth", "spread_ticks"]
    assert len(frame) == 3
    assert "v_add" not in frame
    assert frame["bid_depth"].dtype == np.float64
    assert np.array_equal(frame["bid_depth"], dataset.grid("bid_depth")[5].astype(np.float64))
    assert type(frame["spread_ticks"]) is int
    assert frame["bid_depth"] is frame["bid_depth"]
    assert (frame.bin_seq, frame.valid) == (5, bool(dataset.valid[5]))
    assert "bin_seq=5" in repr(frame)
    with pytest.raises(ValueError, match="read-only"):
        frame["bid_depth"][0] = 1
    with pytest.raises(SignalError, match=r"'Lean' reads the column 'v_add' without declaring it. Add it to .*'v_add'"):
        frame["v_add"]
    with pytest.raises(SignalError, match=r"'bid_dept', which no dataset has. Did you mean 'bid_depth'\?"):
        frame["bid_dept"]
    with pytest.raises(SignalError, match="without declaring it"):
        frame.get("v_add")


def test_frames_keep_their_arrays(dataset):
    kept = [frame["bid_depth"] for frame in frames(Lean(), dataset)]
    assert np.array_equal(np.array(kept), dataset.grid("bid_depth"))


def test_sums_and_scores_in_a_frame():
    class Sums(Lean):
        columns = ("rest_depth", "flow_score")

    driver = SignalStream(Sums(), SignalContext(np.arange(-1, 2, dtype=np.int16), 10**8, 25 * 10**7))
    grid = {"bid_depth": np.array([0.1, 0, 0], np.float32), "ask_depth": np.array([0, 0, 0.2], np.float32)}
    bins = {"bin_seq": np.int64(4), "book_valid": np.bool_(True)}
    frame = driver.frame(grid, bins, score=np.array([0.5, 0.0, -0.5]))
    assert np.array_equal(frame["rest_depth"], grid["bid_depth"].astype(float) + grid["ask_depth"].astype(float))
    assert np.array_equal(frame["flow_score"], [0.5, 0.0, -0.5])
    with pytest.raises(SignalError, match="made by the scorer: score the frame first"):
        driver.frame(grid, bins)["flow_score"]
    with pytest.raises(SignalError, match=r"reads 'bid_depth', which bin 4 does not hold. Add it to pipeline.columns"):
        driver.frame({}, bins)["rest_depth"]


@pytest.mark.parametrize("bad", [math.inf, "1", None])
def test_a_step_returns_a_number(dataset, bad):
    class Bad(Lean):
        def step(self, state, frame):
            return bad

    with pytest.raises(SignalError, match="must return a finite number or NaN, was"):
        stream(Bad(), dataset)


def _compute(function):
    class Own(Lean):
        def compute(self, dataset):
            return function(dataset)

    return Own()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda d: np.zeros(d.n_bins), "must return a SignalResult, was ndarray"),
        (lambda d: SignalResult(np.zeros(d.n_bins - 1)), r"one value for each of 120 bins, the shape was \(119,\)"),
        (lambda d: SignalResult(np.zeros(d.n_bins)), "bin 0 must be NaN, because the bin is invalid"),
        (lambda d: SignalResult(np.where(d.valid, np.inf, np.nan)), "must be finite or NaN"),
        (lambda d: SignalResult(np.zeros(d.n_bins, np.float32)), "must be a float64 vector.*float32"),
        (lambda d: SignalResult(np.full(d.n_bins, np.nan), "confidence"), "must return the prediction mode 'value'"),
        (lambda d: SignalResult(d.grid("v_add")[:, 0]), "'v_add' without declaring it"),
        (lambda d: SignalResult(d.bin("trade_count")), "'trade_count' without declaring it"),
    ],
)
def test_batch_holds_compute_to_its_contract(dataset, function, message):
    with pytest.raises(SignalError, match=message):
        batch(_compute(function), dataset)


def test_batch_arrays_are_read_only(dataset):
    def write(data):
        data.grid("bid_depth")[0] = 0

    with pytest.raises(ValueError, match="read-only"):
        batch(_compute(write), dataset)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"columns": ("v_ad",)}, r"declares the column 'v_ad', which no dataset has. Did you mean 'v_add'\?"),
        ({"columns": ("v_add", "v_add")}, "declares a column twice"),
        ({"columns": "v_add"}, "must be a tuple of names"),
        ({"prediction_mode": "votes"}, "'value', 'probability' or 'confidence', was 'votes'"),
        ({"version": 0}, "must be a whole number from 1, was 0"),
        ({"Params": dict}, "must derive from SignalParams"),
    ],
)
def test_a_class_is_checked_when_it_is_made(body, message):
    with pytest.raises(SignalError, match=message):
        type("Made", (Lean,), body)


def test_a_signal_without_columns_is_refused():
    class Nothing(Lean):
        columns = ()

    with pytest.raises(SignalError, match="declares no columns"):
        Nothing()


def test_needs_score():
    class Scored(Lean):
        columns = ("flow_state_code", "mid_price")

    assert needs_score(Scored)
    assert needs_score(Scored())
    assert not needs_score(Lean)


def test_context_of_a_dataset(dataset):
    context = SignalContext.of(dataset)
    assert (context.radius, context.n_cells, context.bin_seconds) == (4, 9, 0.1)
    assert context.k.tolist() == list(range(-4, 5))


class Learner(MLSignal):
    columns = ("mid_price",)

    def warmup_bins(self, context):
        return 0

    def start(self, context):
        return context.rules

    def step(self, state, frame):
        return state.tp_ticks / 10

    def save_model(self, state, folder):
        (folder / "model").write_text("")

    def load_model(self, folder, context):
        return context.rules


def test_a_learning_signal_gets_its_rules(dataset):
    rules = rules_of(6, 4, 10)
    values = Learner().compute(dataset, rules).values
    assert (values[dataset.valid] == 0.6).all()
    assert batch(Learner(), dataset, rules).values.tobytes() == values.tobytes()
    assert Learner().thresholds()[0] > 0.5
    with pytest.raises(SignalError, match=r"'Learner' learns: compute\(dataset, rules\) needs TradeRules"):
        Learner().compute(dataset)
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (MLSignal,), {"columns": ("mid_price",)})()


def test_thresholds_are_above_zero_and_rise():
    for signal in (Lean(), Learner()):
        grid = signal.thresholds()
        assert list(grid) == sorted(grid)
        assert grid[0] > 0


def test_no_bins():
    empty = Dataset.from_arrays(
        {"bin_seq": np.zeros(0), "book_valid": np.zeros(0), "spread_ticks": np.zeros(0)},
        {"bid_depth": np.zeros((0, 3)), "ask_depth": np.zeros((0, 3))},
        dataset_id="empty",
        cell_width_ns=10**8,
        tick_int=1,
    )
    assert Lean().compute(empty).values.shape == (0,)


# -- provenance --------------------------------------------------------------------------------------------------------


def run(code, cwd, *path):
    environment = {"PYTHONPATH": ":".join(map(str, path)), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SIGNAL = """
from vpcore import StatisticalSignal
class S(StatisticalSignal):
    columns = ("v_add",)
    def start(self, context): return None
    def step(self, state, frame): return 0.0
    def warmup_bins(self, context): return 0
"""


def test_a_class_without_source_or_home(tmp_path):
    code = SIGNAL + textwrap.dedent(
        """
        from vpcore.signal import code_digest, require_importable
        from vpcore.errors import SignalError
        for function in (code_digest, require_importable):
            try:
                function(S)
            except SignalError as error:
                print(error)
        """
    )
    digest, importable = run(code, tmp_path).splitlines()
    assert "has no source (__main__)" in digest
    assert "Put the class into a file" in digest
    assert "defined in a notebook or script" in importable
    assert "executor: serial" in importable


def test_a_local_class_cannot_be_imported():
    class Local(Lean):
        pass

    require_importable(Lean)
    with pytest.raises(SignalError, match=r"'Local' is defined in .*<locals>.Local.*executor: serial"):
        require_importable(Local)


def test_signal_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Signal()


def test_frame_without_reading_costs_no_column():
    frame = SignalFrame(("v_add",), {}, {}, owner="S", bin_seq=0, valid=False)
    assert not frame.valid


def test_a_statistical_signal_without_kernel_and_step_is_named() -> None:
    class Empty(StatisticalSignal):
        columns = ("v_add",)

        def start(self, context: SignalContext) -> None:
            return None

        def warmup_bins(self, context: SignalContext) -> int:
            return 0

    with pytest.raises(SignalError, match=r"Signal 'Empty' has no formula\. Define its kernel or its step\."):
        Empty().step(None, None)  # type: ignore[arg-type]
