from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vpcore import ConfigError, PluginError, Workspace
from vpcore.canonical import canonical_json, digest
from vpcore.config import CaptureSpec, PipelineSpec
from vpcore.config.instruments import packaged_instruments
from vpcore.engine import EngineParams
from vpcore.schema import FORMAT_VERSION

Write = Callable[[str, str], Path]

BASE: dict[str, Any] = {
    "name": "open",
    "capture": {"symbol": "ESH4", "date": "2023-12-25", "start_time": "18:00", "end_time": "18:59"},
}


def spec(**changes: Any) -> PipelineSpec:
    values = {**BASE, **{key: value for key, value in changes.items() if key in ("name", "pipeline")}}
    capture = {key: value for key, value in changes.items() if key not in ("name", "pipeline")}
    return PipelineSpec.model_validate({**values, "capture": {**BASE["capture"], **capture}})


def hash_of(workspace: Workspace, **changes: Any) -> str:
    return workspace.pipeline(spec(**changes)).resolve().config_hash()


def test_what_is_hashed(workspace: Workspace) -> None:
    resolved = workspace.pipeline("open").resolve()
    assert resolved.resolved_dict() == {
        "format_version": FORMAT_VERSION,
        "symbol": "ESH4",
        "tick_int": 250_000_000,
        "start_ns": 1_703_545_200_000_000_000,
        "end_ns": 1_703_548_740_000_000_000,
        "source": "dbn",
        "options": {},
        "files": None,
        "cold_book": "refuse",
        "engine": EngineParams().model_dump(mode="json"),
    }
    assert resolved.dataset_id() == f"ESH4_2023-12-25_1800_1859__open__{digest(resolved.resolved_dict())[:8]}"
    assert workspace.pipeline("open").dataset_id() == resolved.dataset_id()


def test_the_id_is_pinned(workspace: Workspace) -> None:
    """An id that changes makes every dataset on every disk an orphan: only with a new format version."""
    assert FORMAT_VERSION == 1
    assert workspace.pipeline("open").dataset_id() == "ESH4_2023-12-25_1800_1859__open__a1d403e9"


@pytest.mark.parametrize(
    "same",
    [
        {"timezone": "America/Chicago", "start_time": "17:00", "end_time": "17:59"},
        {"timezone": "UTC", "start_time": "23:00", "end_time": "23:59"},
        {"start_time": "18:00:00", "end_time": "18:59:00.000"},
        {"pipeline": {"cell_width_ms": 100}},
        {"pipeline": {"tau_velocity": 2}},
        {"pipeline": {"columns": list(EngineParams().grid_columns)}},
        {"source": "dbn", "cold_book": "refuse", "events": "flags", "repeated": "refuse"},
        {"name": "another"},
    ],
)
def test_specs_that_mean_the_same_have_the_same_hash(workspace: Workspace, same: dict[str, Any]) -> None:
    assert hash_of(workspace, **same) == hash_of(workspace)


def test_the_name_is_in_the_id_but_not_in_the_hash(workspace: Workspace) -> None:
    one, other = (workspace.pipeline(spec(name=name)).resolve() for name in ("one", "other"))
    assert one.config_hash() == other.config_hash()
    assert one.dataset_id() != other.dataset_id()


ENGINE_CHANGES: dict[str, Any] = {
    **{
        name: info.default + 1
        for name, info in EngineParams.model_fields.items()
        if isinstance(info.default, (int, float))
    },
    "cell_width_ms": 200,
    "flow_windows": [5, 10],
    "columns": ["pressure"],
}


@pytest.mark.parametrize("name", list(EngineParams.model_fields))
def test_every_engine_parameter_changes_the_hash_wherever_it_is_written(
    workspace: Workspace, write: Write, name: str
) -> None:
    value = ENGINE_CHANGES[name]
    changed = hash_of(workspace, pipeline={name: value})
    assert changed != hash_of(workspace)
    instrument = yaml.safe_load(packaged_instruments()["ES"].read_text())
    write("instruments/ES", yaml.safe_dump({**instrument, "engine": {name: value}}))
    assert hash_of(workspace) == changed


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "ESM4"},
        {"date": "2023-12-26"},
        {"start_time": "18:00:00.1"},
        {"end_time": "18:58"},
        {"timezone": "UTC"},
        {"source": "other"},
        {"files": ["a.dbn"]},
        {"cold_book": "build"},
        {"events": "sequence"},
        {"repeated": "drop"},
        {"options": {"seed": 1}},
        {"end_time": "17:00", "overnight": True},
    ],
)
def test_every_capture_field_changes_the_hash(workspace: Workspace, change: dict[str, Any]) -> None:
    assert set(CaptureSpec.model_fields) == {
        *BASE["capture"],
        "timezone",
        "source",
        "files",
        "cold_book",
        "events",
        "repeated",
        "options",
        "overnight",
    }
    assert hash_of(workspace, **change) != hash_of(workspace)


def test_the_tick_changes_the_hash_and_the_multiplier_does_not(workspace: Workspace, write: Write) -> None:
    before = hash_of(workspace)
    write("instruments/ES", "root: ES\ntick_size: 0.25\nmultiplier: 7\n")
    assert hash_of(workspace) == before
    write("instruments/ES", "root: ES\ntick_size: 0.05\nmultiplier: 50\n")
    assert hash_of(workspace) != before


def test_a_pipeline_goes_before_its_instrument(workspace: Workspace, write: Write) -> None:
    write("instruments/ES", "root: ES\ntick_size: 0.25\nmultiplier: 50\nengine: {c1: 3, c2: 4}\n")
    params = workspace.pipeline(spec(pipeline={"c1": 5})).resolve().params
    assert (params.c1, params.c2, params.c3) == (5.0, 4.0, 0.3)


def test_rules_over_several_parameters_hold_on_the_whole(workspace: Workspace, write: Write) -> None:
    write("instruments/ES", "root: ES\ntick_size: 0.25\nmultiplier: 50\nengine: {tau_acceleration: 7.0}\n")
    assert workspace.pipeline(spec(pipeline={"tau_velocity": 5.0})).resolve().params.tau_velocity == 5.0
    with pytest.raises(ConfigError, match="tau_velocity and tau_acceleration must differ by at least 1 %, were 7.0 s"):
        workspace.pipeline(spec(pipeline={"tau_velocity": 7.0})).resolve()


def test_an_error_names_the_file_in_which_it_stands(workspace: Workspace, write: Write, texts: dict[str, str]) -> None:
    write("instruments/ES", "root: ES\ntick_size: 0.25\nmultiplier: 50\nengine:\n  c1: -1\n")
    with pytest.raises(
        ConfigError, match=re.escape("engine.c1 must be at least 0, was -1 (configs/instruments/ES.yaml:5)")
    ):
        workspace.pipeline("open").resolve()
    write("instruments/ES", "root: ES\ntick_size: 0.25\nmultiplier: 50\n")
    write("pipelines/open", texts["pipeline"] + "  tau_velocty: 2\n")
    expected = (
        "'tau_velocty' is not a field of pipeline (configs/pipelines/open.yaml:9). Did you mean 'tau_velocity'? Fields:"
    )
    with pytest.raises(ConfigError, match=re.escape(expected)):
        workspace.pipeline("open").resolve()
    write("pipelines/open", texts["pipeline"] + '  c1: "2"\n')
    with pytest.raises(
        ConfigError, match=re.escape("pipeline.c1 must be a number, was '2' (configs/pipelines/open.yaml:9)")
    ):
        workspace.pipeline("open").resolve()


def test_an_end_before_the_start_is_on_the_next_day_if_it_is_meant(
    workspace: Workspace, write: Write, texts: dict[str, str]
) -> None:
    write("pipelines/open", texts["pipeline"].replace("18:59", "17:59"))
    with pytest.raises(
        ConfigError,
        match=r"capture\.end_time must be after start_time, was '17:59' with a start at '18:00' "
        r"\(configs/pipelines/open\.yaml:6\)\. If the window shall go over midnight, .* write overnight: true\.",
    ):
        workspace.pipeline("open")
    with pytest.raises(ValueError, match="must be before start_time with overnight: true, was '18:59'"):
        spec(overnight=True)
    resolved = workspace.pipeline(spec(start_time="18:00", end_time="17:00", overnight=True)).resolve()
    assert resolved.end_ns - resolved.start_ns == 23 * 3600 * 10**9
    assert resolved.label == "2023-12-25_1800_1700"


def test_a_window_over_a_clock_change_has_the_hours_it_has(workspace: Workspace) -> None:
    resolved = workspace.pipeline(
        spec(date="2024-03-09", start_time="18:00", end_time="17:00", overnight=True)
    ).resolve()
    assert resolved.end_ns - resolved.start_ns == 22 * 3600 * 10**9


def test_a_skipped_time_names_its_place(workspace: Workspace, write: Write, texts: dict[str, str]) -> None:
    write("pipelines/open", texts["pipeline"].replace("2023-12-25", "2024-03-10").replace("18:00", "02:30"))
    expected = r"02:30:00 on 2024-03-10 does not exist .*\(configs/pipelines/open.yaml:5, capture.start_time\)"
    with pytest.raises(ConfigError, match=expected):
        workspace.pipeline("open").resolve()


def test_files_are_hashed_as_they_lie_below_raw(workspace: Workspace) -> None:
    resolved = workspace.pipeline(spec(files=["b/c.dbn", "./a.dbn"])).resolve()
    assert resolved.files == (workspace.raw / "a.dbn", workspace.raw / "b" / "c.dbn")
    assert resolved.file_keys == ("a.dbn", "b/c.dbn")
    same = {"files": [str(workspace.raw / "a.dbn"), "b//c.dbn", "a.dbn"]}
    assert hash_of(workspace, **same) == resolved.config_hash()


def test_ids_are_safe_as_file_names(workspace: Workspace, write: Write) -> None:
    write("instruments/SP", "root: SP\ntick_size: 0.05\nmultiplier: 50\nsymbol_pattern: 'ES.*-ES.*|\\.\\./x y'\n")
    for symbol, expected in (("ESH4-ESM4", "ESH4-ESM4_"), ("../x y", "..-x-y_")):
        assert workspace.pipeline(spec(symbol=symbol)).dataset_id().startswith(expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"symbol": "XXH4"},
            ConfigError,
            "No instrument has the symbol 'XXH4' .*symbol\\)?. Roots: 6A, 6B, .*, ZW",
        ),
        ({"source": "dbm"}, PluginError, "No source is called 'dbm' .*Did you mean 'dbn'\\? Installed: dbn, other"),
    ],
)
def test_references_that_do_not_exist(
    workspace: Workspace, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        workspace.pipeline(spec(**change)).resolve()


def test_a_spec_of_no_workspace_says_so() -> None:
    with pytest.raises(
        ConfigError, match="Pipeline 'open' belongs to no workspace. Get it from one: workspace.pipeline"
    ):
        spec().resolve()


def test_the_resolved_pipeline_is_canonical_json(workspace: Workspace) -> None:
    assert canonical_json(workspace.pipeline("open").resolve().resolved_dict())


def test_a_window_that_is_not_whole_bins_names_the_widths_that_fit(workspace: Workspace, write: Write) -> None:
    texts = yaml.safe_dump({**BASE, "pipeline": {"cell_width_ms": 7}}, sort_keys=False)
    write("pipelines/open", texts)
    with pytest.raises(
        ConfigError,
        match=r"The window must be a whole number of bins of 7 ms, was 3540 s long \(\S*pipelines/open\.yaml:6, capture\.end_time\)\. "
        r"pipeline\.cell_width_ms could be 6 or 8, or change capture\.end_time\.",
    ):
        workspace.pipeline("open").resolve()
    with pytest.raises(
        ConfigError,
        match=r"bins of 100 ms, was 3540\.5000001 s long \(capture\.end_time\)\. Start and end must be whole ms",
    ):
        workspace.pipeline(spec(end_time="18:59:00.5000001")).resolve()


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"start_time": "00:30", "end_time": "01:30"}, "capture.end_time: 01:30:00 on 2025-11-02 comes twice in America/New_York"),
        ({"start_time": "01:30", "end_time": "03:30"}, "capture.start_time: 01:30:00 on 2025-11-02 comes twice"),
    ],
)  # fmt: skip
def test_an_hour_that_comes_twice_is_refused_by_the_name_of_its_field(
    workspace: Workspace, times: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        workspace.pipeline(spec(date="2025-11-02", timezone="America/New_York", **times)).resolve()
