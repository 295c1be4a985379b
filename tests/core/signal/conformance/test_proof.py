"""A proof is stored once per class, sources and parameters, and only when the gate's checks passed."""

from __future__ import annotations

import errno
import json
import math

import pytest
from pydantic import Field

import vpcore.signal.conformance.proof
from vpcore.errors import CausalityError, StorageError
from vpcore.signal import SignalParams, SignalResult, StatisticalSignal, stream
from vpcore.testing import GATE, check_signal, load_proof, proof_key, prove, save_proof


class Spread(StatisticalSignal):
    columns = ("best_bid_size", "best_ask_size")

    class Params(SignalParams):
        scale: float = Field(10.0, gt=0.0, description="Contracts.")

    def warmup_bins(self, context):
        return 0

    def start(self, context):
        return None

    def step(self, state, frame):
        return math.tanh((frame["best_bid_size"] - frame["best_ask_size"]) / self.params.scale)


class Ahead(Spread):
    def compute(self, dataset):
        values = stream(self, dataset).values
        return SignalResult(values + values[dataset.valid].sum())


def test_a_proof_is_made_once(tmp_path, monkeypatch):
    folder = tmp_path / "proofs"
    first = prove(Spread(), folder, name="spread")
    assert set(first["passed"]) == set(GATE)
    assert first["signal"] == "spread"
    files = list(folder.iterdir())
    assert [file.name for file in files] == [f"{proof_key(Spread())}.json"]
    monkeypatch.setattr(vpcore.signal.conformance.proof, "check_signal", None)  # calling it again would fail
    assert prove(Spread(), folder) == first


def test_the_key_depends_on_class_parameters_and_code(monkeypatch):
    key = proof_key(Spread())
    assert key == proof_key(Spread(scale=10))
    assert key != proof_key(Spread(scale=11.0))
    assert key != proof_key(Ahead())
    monkeypatch.setattr(vpcore.signal.conformance.proof, "code_digest", lambda cls: "other")
    assert key != proof_key(Spread())


def test_a_signal_that_looks_ahead_is_refused_and_leaves_no_proof(tmp_path):
    with pytest.raises(CausalityError, match="Signal 'ahead' looks ahead: .* Reproduce: vp check ahead"):
        prove(Ahead(), tmp_path, name="ahead")
    assert list(tmp_path.iterdir()) == []


def test_only_a_whole_and_readable_proof_counts(tmp_path):
    signal = Spread()
    assert load_proof(tmp_path, signal) is None
    target = tmp_path / save_proof(tmp_path, signal, check_signal(signal, checks=["shape"]))
    assert load_proof(tmp_path, signal) is None
    target.write_text("{")
    assert load_proof(tmp_path, signal) is None
    save_proof(tmp_path, signal, check_signal(signal))
    proof = load_proof(tmp_path, signal)
    assert proof == json.loads(target.read_text())
    assert proof["params"] == {"scale": 10.0}


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"Could not write the proof of signal 'Spread' \(.*\): (Not a dir|File exists)"
    ):
        save_proof(tmp_path / "file", Spread(), check_signal(Spread(), checks=GATE))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vpcore.storage.atomic.os.write", full)
    with pytest.raises(StorageError, match=r"The disk is full: could not write the proof of signal 'Spread'"):
        save_proof(tmp_path, Spread(), check_signal(Spread(), checks=GATE))
    assert list(tmp_path.iterdir()) == []
