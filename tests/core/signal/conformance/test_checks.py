"""Each way of being wrong is caught by the check that should catch it, and good signals pass them all."""

from __future__ import annotations

import itertools
import math
import pickle
import re
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ConfigDict, Field
from trade_rules import rules_of

from vpcore.errors import CausalityError, ConfigError, SignalError
from vpcore.kernels.jit import jit
from vpcore.signal import MLSignal, SignalParams, SignalResult, StatisticalSignal, stream
from vpcore.testing import CHECKS, check_signal, signal_checks, synthetic_dataset


class Good(StatisticalSignal):
    """Exponential average of the depth's asymmetry; the base of the bad ones."""

    columns = ("bid_depth", "ask_depth")

    class Params(SignalParams):
        reach: int = Field(10, ge=1, le=50, description="Cells on each side, in ticks.")
        alpha: float = Field(0.1, gt=0.0, le=1.0, description="Weight of the newest bin.")
        squash: bool = Field(True, description="Whether values are squashed into [-1, 1].")

    def warmup_bins(self, context):
        return 4

    def start(self, context):
        return {"n": 0, "average": 0.0, "middle": context.radius}

    def raw(self, frame, middle):
        reach = self.params.reach
        bid = frame["bid_depth"][middle - reach : middle][::-1]
        return float(bid.sum() - frame["ask_depth"][middle + 1 : middle + 1 + reach].sum())

    def step(self, state, frame):
        state["n"] += 1
        state["average"] += self.params.alpha * (self.raw(frame, state["middle"]) - state["average"])
        value = state["average"] / 100
        return (math.tanh(value) if self.params.squash else value) if state["n"] > 4 else math.nan


def failed(signal, **arguments):
    return {result.check: result.message for result in check_signal(signal, **arguments).failures}


@pytest.mark.parametrize("signal", [Good(), Good(reach=3, squash=False)])
def test_a_good_signal_passes(signal):
    report = check_signal(signal)
    assert report.passed, report.failures
    assert [result.check for result in report.results] == [check for check in CHECKS if check != "model"]
    report.raise_for_failure()


class Peeks(Good):
    """Uses the next bin."""

    def compute(self, dataset):
        values = stream(self, dataset).values
        values[:-1] = np.where(np.isnan(values[:-1]), values[:-1], values[1:])
        values[~dataset.valid] = math.nan
        return SignalResult(values)


class FullSample(Good):
    """Scales by a quantile of the whole session."""

    def compute(self, dataset):
        values = stream(self, dataset).values
        known = values[~np.isnan(values)]
        return SignalResult(values / np.quantile(np.abs(known), 0.9) if len(known) else values)


class FillsBackwards(Good):
    """Replaces the bins before a gap by what comes after it."""

    def compute(self, dataset):
        values = stream(self, dataset).values
        for i in range(len(values) - 2, -1, -1):
            if dataset.valid[i] and np.isnan(values[i + 1]) and i + 2 < len(values) and not np.isnan(values[i]):
                values[i] = values[i + 2] if not np.isnan(values[i + 2]) else values[i]
        return SignalResult(values)


class HiddenState(Good):
    """Goes on from where the last session ended."""

    shared: ClassVar[dict[str, float]] = {}

    def start(self, context):
        self.shared.setdefault("average", 0.0)
        return {"n": 0, "average": self.shared["average"], "middle": context.radius}

    def step(self, state, frame):
        value = super().step(state, frame)
        self.shared["average"] = state["average"]
        return value


class SharedBetweenStreams(Good):
    """Keeps the average on the object, reset by `start`."""

    def start(self, context):
        self.average = 0.0
        return super().start(context)

    def step(self, state, frame):
        state["average"] = self.average
        value = super().step(state, frame)
        self.average = state["average"]
        return value


class RemembersTheShape(Good):
    """Takes a session of the same length for the same session."""

    def compute(self, dataset):
        key = dataset.n_bins
        if key not in self.__dict__.setdefault("cache", {}):
            self.__dict__["cache"][key] = stream(self, dataset)
        return self.__dict__["cache"][key]


class TunesItself(Good):
    """Takes the largest value so far, over all sessions, for its scale."""

    def start(self, context):
        self.largest = getattr(self, "largest", 1e-9)
        return super().start(context)

    def step(self, state, frame):
        value = super().step(state, frame)
        if not math.isnan(value):
            self.largest = max(self.largest, abs(value))
        return value / self.largest


@jit
def _doubled(row):
    for i in range(row.shape[0]):
        row[i] *= 2.0
    return row[0]


class MutatesInCompiledCode(Good):
    def raw(self, frame, middle):
        return super().raw(frame, middle) + 0.0 * _doubled(frame["bid_depth"])


class LosesASetting(Good):
    """Keeps a setting beside its parameters, where pickling loses it."""

    def __init__(self, *args, **overrides):
        super().__init__(*args, **overrides)
        self.gain = 2.0

    def __getstate__(self):
        return {"params": self.params}

    def step(self, state, frame):
        return getattr(self, "gain", 1.0) * super().step(state, frame)


class Mutates(Good):
    """Writes to its input."""

    def raw(self, frame, middle):
        frame["bid_depth"][:] *= 2
        return super().raw(frame, middle)


class MutatesTheDataset(Good):
    """Forces its way into read-only arrays."""

    def compute(self, dataset):
        column = dataset.grid("bid_depth")
        base = column
        while isinstance(base.base, np.ndarray):
            base = base.base
        base.setflags(write=True)
        base[0, 0] += 1
        return stream(self, dataset)


class Undeclared(Good):
    def raw(self, frame, middle):
        return super().raw(frame, middle) + frame["v_add"][0]


class UndeclaredInBatch(Good):
    def compute(self, dataset):
        dataset.bin("mid_price")
        return stream(self, dataset)


class NotAntisymmetric(Good):
    def raw(self, frame, middle):
        return super().raw(frame, middle) + 0.01


COUNTER = itertools.count()


class Random(Good):
    def raw(self, frame, middle):
        return super().raw(frame, middle) * (1 + 1e-12 * next(COUNTER))


class DeadParameter(Good):
    class Params(Good.Params):
        idle: float = Field(1.0, ge=0.0, le=2.0, description="Does nothing.")


class OtherBatch(Good):
    """Computes the batch in another order of operations."""

    def compute(self, dataset):
        values = stream(self, dataset).values
        return SignalResult(values * (1 + 2e-16 * 3))


class WrongBatch(Good):
    """Computes something else in batch."""

    def compute(self, dataset):
        return SignalResult(stream(self, dataset).values * 1.5)


class EarlyValue(Good):
    def warmup_bins(self, context):
        return 10


class LateValue(Good):
    def warmup_bins(self, context):
        return 2


class NoEmptyData(Good):
    def compute(self, dataset):
        dataset.valid[0]
        return stream(self, dataset)


class DividesByZero(Good):
    """Scales by the spread of the last values, which is 0 in a constant market."""

    def start(self, context):
        return {**super().start(context), "last": []}

    def step(self, state, frame):
        value = super().step(state, frame)
        state["last"] = [*state["last"][-9:], state["average"]]
        width = max(state["last"]) - min(state["last"])
        return value / width if width else math.nan


class Unpicklable(Good):
    def __init__(self, *args, **overrides):
        super().__init__(*args, **overrides)
        self.function = lambda x: x


class Loose(Good):
    class Params(Good.Params):
        model_config = ConfigDict(extra="ignore")


class KnowsTheTime(Good):
    """Bullish in every second minute."""

    columns = ("bid_depth", "ask_depth", "bin_seq")

    def raw(self, frame, middle):
        return super().raw(frame, middle) * (1.0 + (frame.bin_seq // 600 % 2))


class KnowsThePrice(Good):
    """Another answer above a round number."""

    columns = ("bid_depth", "ask_depth", "best_bid_price_int", "best_ask_price_int")

    def raw(self, frame, middle):
        return super().raw(frame, middle) * (1.0 + (frame["best_bid_price_int"] // 10**9 % 7))


class MeantTo(KnowsTheTime):
    uses_clock = True


class Silent(Good):
    def step(self, state, frame):
        return math.nan


@pytest.mark.parametrize(
    ("cls", "check", "message"),
    [
        (
            Peeks,
            "prefix",
            r"looks ahead: bin \d+ is -?\d\S* when the data ends at bin \d+ but \S+ when it ends at bin 603",
        ),
        (Peeks, "future", r"looks ahead: bin \d+ goes from \S+ to \S+ when only bins from \d+ on are changed"),
        (FullSample, "prefix", "looks ahead: .*a difference of"),
        (FullSample, "future", "looks ahead"),
        (FillsBackwards, "future", "looks ahead"),
        (
            HiddenState,
            "determinism",
            r"is not deterministic: bin \d+ is \S+ the first time but \S+ a second time, a difference of",
        ),
        (TunesItself, "determinism", r"is not deterministic: bin \d+ is \S+ the first time but \S+ a second time"),
        (
            RemembersTheShape,
            "determinism",
            r"remembers other data: bin \d+ of a second session is \S+ after a first one but \S+ without it, a difference of \S+\. Keep",
        ),
        (SharedBetweenStreams, "determinism", r"keeps something outside its state: bin \d+ is"),
        (Mutates, "read-only", "writes to its input: .*read-only"),
        (MutatesInCompiledCode, "read-only", "writes to its input: .*readonly.* Copy what you change"),
        (
            MutatesTheDataset,
            "read-only",
            r"writes to its input: column 'bid_depth' changed at bin 0, from \S+ to \S+\. Copy",
        ),
        (Undeclared, "declared-columns", "reads the column 'v_add' without declaring it. Add it to"),
        (UndeclaredInBatch, "declared-columns", "reads the column 'mid_price' without declaring it. Add it to"),
        (
            NotAntisymmetric,
            "mirror",
            r"is not antisymmetric: bin \d+ is \S+ but \S+ in the mirrored market, where it should be \S+, a difference of \S+\. Swapping",
        ),
        (
            Random,
            "determinism",
            r"is not deterministic: bin \d+ is \S+ the first time but \S+ a second time, a difference of",
        ),
        (
            LosesASetting,
            "pickle",
            r"computes something else after pickling: bin \d+ is \S+ before and \S+ after, a difference of",
        ),
        (DeadParameter, "parameters", r"a parameter that does nothing: 'idle' gives the same bytes at 1.0 and at 2.0"),
        (OtherBatch, "stream", r"rounds differently bin by bin and in batch: bin \d+ is .*compute each bin by itself"),
        (WrongBatch, "stream", r"streams another value than it computes: bin \d+ is \S+ bin by bin but"),
        (
            EarlyValue,
            "warm-up",
            r"has the value \S+ at bin \d+, the valid bin number 5, inside its declared warm-up of 10 bins",
        ),
        (
            LateValue,
            "warm-up",
            r"no value at bin \d+, after its declared warm-up of 2 .*: its first value comes after 4 valid",
        ),
        (NoEmptyData, "degenerate", r"fails on no bins \(batch\): IndexError"),
        (DividesByZero, "degenerate", r"has no value on a constant market at bin \d+"),
        (Unpicklable, "pickle", "cannot be pickled"),
        (Loose, "round-trip", "accepts the parameter 'no_such_parameter'"),
        (
            KnowsTheTime,
            "shift",
            r"has other values when the session moves by whole bins: bin \d+ goes from .* declare uses_clock = True in",
        ),
        (
            KnowsThePrice,
            "shift",
            r"has other values when the session moves by whole ticks: bin \d+ goes from .* declare uses_price_level",
        ),
        (Silent, "shape", r"has no value in any of \d+ bins, though it is declared warm from bin"),
    ],
)
def test_a_bad_signal_is_caught(cls, check, message):
    HiddenState.shared.clear()
    found = failed(cls(), name="bad", checks=[check])
    assert list(found) == [check]
    with pytest.raises(AssertionError, match=rf"Signal 'bad' .*{message}.* Reproduce: vp check bad"):
        raise AssertionError(found[check])


@pytest.mark.slow
def test_only_the_right_checks_fail():
    assert set(failed(Peeks())) == {"prefix", "future", "stream"}
    assert set(failed(NotAntisymmetric())) == {"mirror"}
    assert "shift" not in failed(MeantTo())
    assert set(failed(DeadParameter())) == {"parameters"}
    assert set(failed(EarlyValue())) == {"warm-up"}
    assert set(failed(OtherBatch())) == {"stream"}


def test_a_failure_raises_the_error_of_its_kind():
    with pytest.raises(CausalityError, match="looks ahead"):
        check_signal(Peeks()).raise_for_failure()
    with pytest.raises(SignalError, match="not antisymmetric"):
        check_signal(NotAntisymmetric()).raise_for_failure()


def test_messages_reproduce_themselves():
    data = synthetic_dataset(5, 300)
    found = failed(NotAntisymmetric(reach=4), name="lean", dataset=data)
    assert 'vp check lean --dataset-id synthetic_5_300 --params-json \'{"reach":4,' in found["mirror"]
    assert "vpcore.testing.check_signal(NotAntisymmetric(reach=4" in failed(NotAntisymmetric(reach=4))["mirror"]


def test_some_checks_only():
    report = check_signal(Peeks(), checks=["pickle", "shape"])
    assert [result.check for result in report.results] == ["shape", "pickle"]
    with pytest.raises(ConfigError, match=r"No check is called 'prefx'. Did you mean 'prefix'\? Checks: shape,"):
        check_signal(Good(), checks=["prefx"])


def test_parameters_that_do_not_fit_the_grid_are_skipped():
    class Narrow(Good):
        def start(self, context):
            if self.params.reach > 12:
                raise ConfigError("too wide")
            return super().start(context)

    assert "parameters" not in failed(Narrow(), checks=["parameters"])


def test_a_parameter_that_another_one_switches_on_has_an_effect():
    class Switched(Good):
        class Params(Good.Params):
            clip: float = Field(0.01, gt=0.0, le=1.0, description="Only without squashing.")

        def step(self, state, frame):
            value = super().step(state, frame)
            return value if self.params.squash else math.copysign(min(abs(value), self.params.clip), value)

    assert failed(Switched(), checks=["parameters"]) == {}


def test_a_parameter_whose_values_cannot_be_guessed_needs_examples():
    class Named(Good):
        class Params(Good.Params):
            kind: str = Field("plain", pattern="^(plain|double)$")

        def raw(self, frame, middle):
            return super().raw(frame, middle) * (2 if self.params.kind == "double" else 1)

    class Helped(Named):
        class Params(Good.Params):
            kind: str = Field("plain", pattern="^(plain|double)$", examples=["double"])

    assert (
        "no second value could be found. Give its Field examples"
        in failed(Named(), checks=["parameters"])["parameters"]
    )
    assert failed(Helped(), checks=["parameters"]) == {}


class Counts(MLSignal):
    """A learner that is not antisymmetric, which it need not be."""

    columns = ("mid_price",)
    prediction_mode = "probability"

    class Params(SignalParams):
        offset: float = Field(0.5, ge=0.0, le=1.0)

    def warmup_bins(self, context):
        return 3

    def start(self, context):
        return {"n": 0, "hold": context.rules.max_hold_bins}

    def step(self, state, frame):
        state["n"] += 1
        return self.params.offset * (state["n"] % state["hold"]) / state["hold"] if state["n"] > 3 else math.nan

    def save_model(self, state, folder):
        (folder / "n").write_text(str(state["n"]))

    def load_model(self, folder, context):
        try:
            return {**self.start(context), "n": int((folder / "n").read_text())}
        except (OSError, ValueError) as error:
            raise SignalError(f"{folder} holds no model: {error}") from None

    @property
    def feature_names(self):
        return ("n",)


class LooksUp(Counts):
    """Learns at every bin from what the price will have done by then: labels that nobody knows yet."""

    columns = ("mid_price",)

    def compute(self, dataset, rules=None):
        mid = dataset.bin("mid_price")
        later = np.roll(mid, -rules.max_hold_bins)  # the outcome of a trade, before it has ended
        values = np.where(dataset.valid, self.params.offset * (np.sign(later - mid) + 1) / 2, np.nan)
        return SignalResult(values, self.prediction_mode)


def test_labels_from_the_future_are_seen():
    found = failed(LooksUp(), checks=["prefix", "future"])
    assert set(found) == {"prefix", "future"}
    assert "looks ahead" in found["future"]


class Pickles(Counts):
    def save_model(self, state, folder):
        (folder / "n").write_bytes(pickle.dumps(state["n"]))


class SavesNothing(Counts):
    def save_model(self, state, folder):
        pass


class SavesTheTime(Counts):
    ticks = 0

    def save_model(self, state, folder):
        super().save_model(state, folder)
        SavesTheTime.ticks += 1
        (folder / "when").write_text(str(SavesTheTime.ticks))


class Forgets(Counts):
    def load_model(self, folder, context):
        super().load_model(folder, context)
        return self.start(context)


class Rounds(Counts):
    def save_model(self, state, folder):
        (folder / "n").write_text(str(state["n"] - 1))


class TakesAnything(Counts):
    def load_model(self, folder, context):
        path = folder / "n"
        return {**self.start(context), "n": int(path.read_text()) if path.exists() else 17}


class FailsOtherwise(Counts):
    def load_model(self, folder, context):
        return {**self.start(context), "n": int((folder / "n").read_text())}


@pytest.mark.parametrize(
    "signal, why",
    [
        (Pickles(), r"saves its model as a pickle \('n'\), which executes code when it is loaded. Save plain arrays"),
        (SavesNothing(), "saves a model of no files"),
        (SavesTheTime(), r"saves the same model as other bytes the second time \('when'\)"),
        (TakesAnything(), "loads an empty folder as a model. Raise SignalError"),
        (FailsOtherwise(), "refuses an empty folder as a model with FileNotFoundError, not with SignalError"),
        (Rounds(), "loses something of its model on the way: bin .* Save every digit"),
        (Forgets(), "does not use a loaded model: the first 400 bins are those of a fresh start"),
        (Counts(), "loads a model of other features. Raise SignalError in load_model"),
    ],
)
def test_a_bad_model_is_found(signal, why):
    (message,) = failed(signal, checks=["model"]).values()
    assert re.search(why, message), message


class Careful(Counts):
    """Keeps and asks for the names of its features."""

    def save_model(self, state, folder):
        super().save_model(state, folder)
        (folder / "features").write_text(" ".join(self.feature_names))

    def load_model(self, folder, context):
        state = super().load_model(folder, context)
        if (folder / "features").read_text() != " ".join(self.feature_names):
            raise SignalError("The model has other features.")
        return state


def test_a_learning_signal_is_checked_but_for_the_mirror():
    report = check_signal(Careful(), rules=rules_of(2, 2, 7))
    assert report.passed, report.failures
    assert "mirror" not in [result.check for result in report.results]
    assert check_signal(Careful()).passed


def test_a_given_dataset_is_labelled_in_its_own_ticks():
    seen = []

    class Notes(Counts):
        def start(self, context):
            seen.append((context.tick_int, context.rules.price))
            return super().start(context)

    dataset = synthetic_dataset(n_bins=300)
    check_signal(Notes(), dataset, checks=["shape"])
    assert set(seen) == {(dataset.tick_int, "mid")}


@signal_checks(Good(), Good(reach=2))
def test_the_decorator_runs_every_check(check):
    check()


@signal_checks(NotAntisymmetric(), expected_failures={"mirror": "an offset, on purpose"})
def test_the_decorator_knows_expected_failures(check):
    check()


def test_the_decorator_says_what_is_wrong():
    mark = signal_checks(NotAntisymmetric())
    case = next(case for case in mark.args[1] if case.id.endswith("-mirror"))
    with pytest.raises(AssertionError, match="Signal 'NotAntisymmetric' is not antisymmetric"):
        case.values[0]()
