"""What a learning signal says of its runs is kept as files, whatever it says, and costs no run its results."""

from __future__ import annotations

import math

import pytest
from trade_rules import rules_of

from vpcore import MLSignal, SignalParams, StorageError
from vpcore.signal import batch, keep_diagnostics, read_diagnostics
from vpcore.testing import synthetic_dataset

RULES = rules_of(2, 3, 5, "mid")


class Says(MLSignal):
    """A learner with something to say."""

    columns = ("mid_price",)
    said: object = None

    class Params(SignalParams):
        pass

    def warmup_bins(self, context):
        return 0

    def start(self, context):
        return {}

    def step(self, state, frame):
        return 0.5

    def save_model(self, state, folder):
        """Nothing to write."""

    def load_model(self, folder, context):
        return {}

    def diagnose(self, dataset, rules, result, *, full):
        if isinstance(self.said, Exception):
            raise self.said
        dataset.bin("mid_price")
        return self.said and {**self.said, "full": full, "bins": len(result.values)}


def kept(folder, said, extent="basic", rules=RULES):
    data = synthetic_dataset(n_bins=20)
    signal = type("Now", (Says,), {"said": said})()
    keep_diagnostics(signal, data, rules, batch(signal, data, rules), folder, extent)
    return read_diagnostics(folder)


def test_what_is_said_is_kept_by_barriers_and_replaced(tmp_path):
    assert kept(tmp_path / "r", {"n": 3}) == [{"tp_ticks": 2, "sl_ticks": 3, "n": 3, "full": False, "bins": 20}]
    other = rules_of(1, 1, 5, "mid")
    both = kept(tmp_path / "r", {"n": 4}, "full", other)
    assert [(look["tp_ticks"], look["n"], look["full"]) for look in both] == [(1, 4, True), (2, 3, False)]
    assert kept(tmp_path / "r", {"n": 5}, "full")[1]["n"] == 5


def test_nothing_is_kept_of_what_is_not_said(tmp_path):
    assert kept(tmp_path / "silent", None) == []
    assert kept(tmp_path / "off", {"n": 3}, "none") == []
    assert not any(tmp_path.iterdir())
    assert MLSignal.diagnose(Says(), None, RULES, None, full=True) is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        ({"n": math.nan}, "ValueError: Out of range float values are not JSON compliant"),
        ({"n": object()}, "TypeError: Object of type object is not JSON serializable"),
    ],
)
def test_what_goes_wrong_is_kept_in_its_place(tmp_path, said, why):
    (look,) = kept(tmp_path, said)
    assert (look["tp_ticks"], look["sl_ticks"]) == (2, 3)
    assert look["error"].startswith(why)


def test_only_declared_columns_are_seen(tmp_path):
    class Reads(Says):
        def diagnose(self, dataset, rules, result, *, full):
            return {"seen": dataset.bin("best_bid_size").tolist()}

    data = synthetic_dataset(n_bins=20)
    keep_diagnostics(Reads(), data, RULES, batch(Reads(), data, RULES), tmp_path, "basic")
    assert "best_bid_size" in read_diagnostics(tmp_path)[0]["error"]


def test_a_damaged_file_is_named(tmp_path):
    kept(tmp_path, {"n": 3})
    path = tmp_path / "tp2_sl3.json"
    whole = path.read_text()
    for text in ("{", "[]", whole.replace('"n": 3', '"n": 4'), whole.replace('"sha256"', '"sha257"')):
        path.write_text(text)
        with pytest.raises(
            StorageError, match=r"tp2_sl3.json was changed since .* Delete it, or compute the run again"
        ):
            read_diagnostics(tmp_path)
    path.write_text('{"n": 3, "tp_ticks": 2, "sl_ticks": 3}')  # of an earlier release
    assert read_diagnostics(tmp_path)[0]["n"] == 3
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=r"tp2_sl3.json cannot be read: .*Delete it, or compute the run again"):
        read_diagnostics(tmp_path)
