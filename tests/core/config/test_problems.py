"""Every way to write a field wrongly, and what the user is told."""

from __future__ import annotations

import re

import pytest

from vpcore import ConfigError
from vpcore.config import ExperimentSpec, InstrumentSpec, PipelineSpec, ServingSpec
from vpcore.config.fields import Spec
from vpcore.config.loader import parse_document
from vpcore.config.messages import validate

HEAD = "name: a\n"
CAPTURE = "name: a\ncapture:\n  symbol: ESH4\n  date: 2023-12-25\n  start_time: 18:00\n  end_time: 19:00\n"


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        (
            PipelineSpec,
            CAPTURE.replace("symbol", "symbl"),
            "'symbl' is not a field of capture (f.yaml:3). Did you mean 'symbol'? Fields: symbol, date, start_time, end_time,",
        ),
        (PipelineSpec, CAPTURE + "  dt: 2023-12-25\n", "'dt' is not a field of capture (f.yaml:7). The date of a capture is capture.date. Fields:"),
        (PipelineSpec, "product_type: future_mbo\n" + CAPTURE, "'product_type' is not a field of the file (f.yaml:1). Leave it out: every dataset"),
        (PipelineSpec, "flow_rollup_weights: [1]\n" + CAPTURE, "The engine measures flow over pipeline.flow_windows, without weights."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e, weights: [1]}\n", "'weights' is not a field of signal (f.yaml:3). Parameters stand in signal.params, weights of"),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nprojection: {cubic_scale: 1}\n", "takes part with projection.use_cubic: true. Fields:"),
        (ExperimentSpec, HEAD + "serving: b\neval: {min_signals: 5}\n", "'min_signals' is not a field of eval (f.yaml:3). It is select.min_signals."),
        (ExperimentSpec, HEAD + "serving: b\neval: {tick_size: 0.25}\n", "The tick size belongs to the instrument: configs/instruments/<root>.yaml."),
        (ExperimentSpec, HEAD + "serving: b\ntracking: {run_name_prefix: x}\n", "Experiments differ by tracking.experiment_name."),
        (PipelineSpec, "name: a\n", "capture is missing (f.yaml:1). It is required: Which records."),
        (PipelineSpec, CAPTURE.replace("-25", "-32"), "capture.date must be a date, as in 2023-12-25, was '2023-12-32' (f.yaml:4)."),
        (PipelineSpec, CAPTURE.replace("2023-12-25", "20231225"), "capture.date must be a date, as in 2023-12-25, was 20231225 (f.yaml:4)."),
        (PipelineSpec, CAPTURE.replace("18:00", "1800"), "capture.start_time must be text, was 1800 (f.yaml:5). Put it in quotes: \"1800\"."),
        (PipelineSpec, CAPTURE.replace("18:00", "18h"), "capture.start_time must be a time of day, '18:00' or '18:00:00.5', was '18h' (f.yaml:5)."),
        (PipelineSpec, CAPTURE.replace("19:00", "18:00"), "capture.end_time must differ from start_time, was '18:00' as well (f.yaml:6). A whole day"),
        (PipelineSpec, CAPTURE.replace("name: a", "name: a/b"), "name must be 1 to 80 letters, digits, '_' and '-', the first a letter or digit, was 'a/b' (f.yaml:1)."),
        (PipelineSpec, CAPTURE + "  timezone: Mars\n", "capture.timezone must be an IANA time zone such as 'America/New_York' or 'UTC', was 'Mars' (f.yaml:7)."),
        (PipelineSpec, CAPTURE + "  cold_book: bild\n", "capture.cold_book must be 'refuse' or 'build', was 'bild' (f.yaml:7). Did you mean 'build'?"),
        (PipelineSpec, CAPTURE + "  files: []\n", "capture.files must be a list of at least 1 value, was [] (f.yaml:7). Files, relative to lake/raw"),
        (PipelineSpec, CAPTURE + "  files: a.dbn\n", "capture.files must be a list, was 'a.dbn' (f.yaml:7)."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: erd\n", "signal must be a mapping of fields, was 'erd' (f.yaml:3)."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nscoring: {tanh_scale: 0}\n", "scoring.tanh_scale must be greater than 0, was 0 (f.yaml:4)."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nscoring: {zscore_window_bins: '900'}\n", "scoring.zscore_window_bins must be a whole number, was '900' (f.yaml:4). Leave out the quotes."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nscoring: {zscore_window_bins: many}\n", "scoring.zscore_window_bins must be a whole number, was 'many' (f.yaml:4)."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nscoring: {zscore_window_bins: 2.5}\n", "scoring.zscore_window_bins must be a whole number, was 2.5 (f.yaml:4)."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nscoring: {derivative_weights: [1, 2]}\n", "scoring.derivative_weights has too few values (f.yaml:4)."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nscoring: {zscore_window_bins: 10}\n", "zscore_min_periods must be at most zscore_window_bins"),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nprojection: {use_cubic: 1}\n", "projection.use_cubic must be true or false, was 1 (f.yaml:4)."),
        (ServingSpec, HEAD + "pipeline: b\nsignal: {name: e}\nprojection: {use_cubic: yes}\n", "projection.use_cubic must be true or false, was 'yes' (f.yaml:4)."),
        (ExperimentSpec, HEAD + "serving: b\neval: {tp_ticks: [4, 0]}\n", "eval.tp_ticks[1] must be at least 1, was 0 (f.yaml:3)."),
        (ExperimentSpec, HEAD + "serving: b\neval: {sl_ticks: [-4]}\n", "eval.sl_ticks must be greater than 0, was -4 (f.yaml:3). It is a distance: write 4."),
        (ExperimentSpec, HEAD + "serving: b\neval: {price: tuoch}\n", "eval.price must be 'touch' or 'mid', was 'tuoch' (f.yaml:3). Did you mean 'touch'?"),
        (ExperimentSpec, HEAD + "serving: b\nselect: {metric: net_pnl}\n", "was 'net_pnl' (f.yaml:3). Did you mean 'net_pnl_ticks'?"),
        (ExperimentSpec, HEAD + "serving: b\nparallel: {max_workers: true}\n", "parallel.max_workers must be a whole number, was true (f.yaml:3)."),
        (ExperimentSpec, HEAD + "serving: b\nsignals: [all, b]\n", "signals must be 'all' alone or names of signals, was all, b (f.yaml:3)."),
        (ExperimentSpec, HEAD + "serving: b\nsignals: [b, b]\n", "signals must name every signal once, 'b' stands there twice (f.yaml:3)."),
        (ExperimentSpec, HEAD + "serving: b\nsweep: {scoring: {tanh_scale: []}}\n", "sweep.scoring.tanh_scale must be a list of at least 1 value, was [] (f.yaml:3)."),
        (ExperimentSpec, HEAD + "serving: b\nsweep: {scoring: {tanh_scale: 2}}\n", "sweep.scoring.tanh_scale must be a list, was 2 (f.yaml:3)."),
        (ExperimentSpec, HEAD + "serving: b\ntracking: {tags: {team: 3}}\n", "tracking.tags.team must be text, was 3 (f.yaml:3). Put it in quotes: \"3\"."),
        (InstrumentSpec, "root: es\ntick_size: 1\nmultiplier: 1\n", "root must be text of the form ^[A-Z0-9]{1,8}$, was 'es' (f.yaml:1)."),
        (InstrumentSpec, "root: ES\ntick_size: 0\nmultiplier: 1\n", "tick_size must be greater than 0, was 0 (f.yaml:2)."),
        (InstrumentSpec, "root: ES\ntick_size: 1.0e-10\nmultiplier: 1\n", "A tick size must be a positive multiple of 1e-9, was 1e-10"),
        (InstrumentSpec, "root: ES\ntick_size: 1\nmultiplier: 1\nsymbol_pattern: '('\n", "symbol_pattern must be a regular expression, was '(': "),
    ],
)  # fmt: skip
def test_messages(model: type[Spec], text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        validate(model, parse_document(text, "f.yaml"))


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "name: a\nserving: b\neval:\n  price: x\n  fee_ticks: -1\nselect: {min_signals: -1}\nsignal: c\n"
    with pytest.raises(ConfigError) as caught:
        validate(ExperimentSpec, parse_document(text, "f.yaml"))
    lines = str(caught.value).split("\n")
    assert [line.split(" ")[0] for line in lines] == ["eval.price", "eval.fee_ticks", "select.min_signals", "'signal'"]


def test_a_misspelled_required_field_is_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(PipelineSpec, parse_document(CAPTURE.replace("symbol", "symbl"), "f.yaml"))
    assert "missing" not in str(caught.value)


@pytest.mark.parametrize("number", ["2", "2.0", "2e0"])
def test_a_whole_number_may_be_written_either_way(number: str) -> None:
    text = (
        HEAD + f"pipeline: b\nsignal: {{name: e}}\nscoring: {{tanh_scale: {number}, zscore_window_bins: {number}00}}\n"
    )
    text = text.replace("2e000", "2e2").replace("2.000", "200.0")
    scoring = validate(ServingSpec, parse_document(text, "f.yaml")).scoring
    assert (scoring.tanh_scale, scoring.zscore_window_bins) == (2.0, 200)
