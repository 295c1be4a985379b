"""``vp check`` from the command line."""

from __future__ import annotations

import json
import math
import sys
import types

import pytest

from vpcore.plugins.component import Component
from vpcore.plugins.hookspecs import hookimpl
from vpcore.plugins.manager import Plugins
from vpcore.signal import SignalParams, SignalResult, StatisticalSignal, stream
from vpcore.testing import synthetic_dataset
from vpcore_cli import app


class Fine(StatisticalSignal):
    columns = ("best_bid_size", "best_ask_size")

    class Params(SignalParams):
        scale: float = 10.0

    def warmup_bins(self, context):
        return 0

    def start(self, context):
        return None

    def step(self, state, frame):
        return math.tanh((frame["best_bid_size"] - frame["best_ask_size"]) / self.params.scale)


class Ahead(Fine):
    def compute(self, dataset):
        values = stream(self, dataset).values
        return SignalResult(values + values[dataset.valid].sum())


class Greedy(Fine):
    def step(self, state, frame):
        return frame["mid_price"]


class Broken:
    def __init__(self):
        raise RuntimeError("no such thing")


@pytest.fixture
def vp(monkeypatch, capsys):
    """Run ``vp`` with these signals installed only; return exit code, stdout and stderr."""
    here = types.ModuleType("signals_of_this_test")
    here.Fine, here.Ahead, here.Broken, here.Greedy = Fine, Ahead, Broken, Greedy
    monkeypatch.setitem(sys.modules, here.__name__, here)

    def run(*arguments, names=("fine", "ahead", "broken")):
        plugin = types.ModuleType("plugin")
        found = [Component(name, f"{here.__name__}:{name.capitalize()}", "A signal.") for name in names]
        plugin.vp_signals = hookimpl(specname="vp_signals")(lambda: found)

        def plugins():
            made = Plugins(entry_points=[])
            made.register(plugin, "mine", "my-signals", "1.0")
            return made

        monkeypatch.setattr(app, "Plugins", plugins)
        code = app.run(["check", *arguments])
        return code, *capsys.readouterr()

    return run


def test_a_good_signal(vp):
    code, out, err = vp("fine")
    assert code == 0
    assert out.splitlines()[0].split() == ["signal", "check", "result", "seconds"]
    assert "fine" in out
    assert "FAILED" not in out
    assert err == ""


def test_a_bad_one_is_refused_with_where_and_how_to_reproduce(vp):
    code, out, err = vp("ahead", "fine")
    assert code == 1
    assert [line.split()[:3] for line in out.splitlines() if line.split()[1] == "prefix"] == [
        ["ahead", "prefix", "FAILED"],
        ["fine", "prefix", "ok"],
    ]
    assert "Signal 'ahead' looks ahead: bin" in err
    assert "Reproduce: vp check ahead" in err


def test_what_fails_every_check_is_said_once(vp):
    code, out, err = vp("greedy", names=("greedy",))
    assert code == 1
    assert out.count("FAILED") > 5
    assert err.count("reads the column 'mid_price' without declaring it") == 1


def test_all_as_json_goes_on_past_a_signal_that_cannot_be_made(vp):
    code, out, _ = vp("--all", "--json")
    answer = json.loads(out)
    assert code == 1
    assert answer["passed"] is False
    by_name = {report["signal"]: report for report in answer["signals"]}
    assert sorted(by_name) == ["ahead", "broken", "fine"]
    assert by_name["fine"]["passed"]
    assert by_name["fine"]["params"] == {"scale": 10.0}
    assert by_name["broken"]["checks"] == [
        {"check": "load", "passed": False, "message": "Signal 'broken': no such thing", "seconds": 0.0}
    ]


def test_no_signals_installed(vp):
    code, _, err = vp("--all", names=())
    assert code == 0
    assert "No signals are installed" in err


def test_parameters(vp):
    code, out, _ = vp("fine", "--params-json", '{"scale": 3}', "--json")
    assert code == 0
    assert json.loads(out)["signals"][0]["params"] == {"scale": 3.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fin"], "No signal is called 'fin'. Did you mean 'fine'? Installed: ahead, broken, fine."),
        ([], "vp check needs signals. Name them, or give --all. Installed: ahead, broken, fine."),
        (["fine", "--all"], "vp check needs signals. Name them, or give --all."),
        (["--all", "--params-json", "{}"], "--params-json belongs to one signal. Name exactly one."),
        (["fine", "--params-json", "{"], "--params-json is not JSON"),
        (["fine", "--params-json", "[1]"], "--params-json must be an object of names and values, was [1]."),
        (["fine", "--params-json", '{"scal": 1}'], "Fine has no parameter 'scal'. Did you mean 'scale'?"),
    ],
)
def test_wrong_input(vp, arguments, message):
    code, out, err = vp(*arguments)
    assert code == 2
    assert out == ""
    assert message in err


def test_a_dataset_of_a_workspace(vp, monkeypatch, tmp_path):
    data = synthetic_dataset(8, 150, radius=3)

    class Workspace:
        class datasets:
            @staticmethod
            def ids():
                return ["some_id"]

            @staticmethod
            def open(dataset_id):
                assert dataset_id == "some_id"
                return data

    monkeypatch.setattr("vpcore_cli.check.open_workspace", lambda root: Workspace)
    code, out, _ = vp("fine", "--dataset-id", "some_id", "--json")
    report = json.loads(out)["signals"][0]
    assert code == 0
    assert (report["dataset_id"], report["n_bins"]) == ("synthetic_8_150", 150)
    assert list(tmp_path.iterdir()) == []
