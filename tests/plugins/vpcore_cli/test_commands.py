from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from vpcore import Component, ConfigError, RefusedError, Workspace, __version__, hookimpl
from vpcore.experiment.progress import SweepProgress
from vpcore.plugins.installed import Package
from vpcore.plugins.manager import FailedPlugin, Plugins
from vpcore_cli import app as app_module, common
from vpcore_cli.app import run
from vpcore_cli.watch import details

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VP_ROOT", raising=False)
    monkeypatch.delenv("VPCORE_DISABLE", raising=False)
    monkeypatch.chdir(tmp_path)


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    """Register a command of a plugin, so that ``vp NAME`` calls it."""

    def add(name: str, target: Any) -> None:
        module = ModuleType("plugin_of_a_test")
        module.target = target  # type: ignore[attr-defined]
        module.vp_commands = hookimpl(lambda: [Component(name, "plugin_of_a_test:target", "Of a test.")])  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "plugin_of_a_test", module)

        def found() -> Plugins:
            plugins = Plugins(entry_points=[])
            plugins.register(module, "test", "vp-test", "1.0")
            return plugins

        monkeypatch.setattr(app_module, "Plugins", found)

    return add


@pytest.fixture
def raising(with_command: Callable[[str, Any], None]) -> Callable[[BaseException], None]:
    """Make ``vp boom`` raise something."""

    def arm(error: BaseException) -> None:
        def boom() -> None:
            raise error

        with_command("boom", boom)

    return arm


def test_the_help_says_of_every_command_what_the_command_says() -> None:
    """Help imports no command, so each line stands beside the command's name; the modules are those of the commands."""
    plugins = Plugins(entry_points=[])
    group: Any = typer.main.get_command(app_module.build_app(plugins))
    context = group.make_context("vp", ["init"])
    listed = {name: item.component.summary for name, item in plugins.components("command").items()}
    assert {name: group.get_command(context, name).get_short_help_str(1000) for name in listed} == listed
    modules = {path.stem for path in Path(app_module.__file__).parent.glob("*.py")}
    own = {"__init__", "__main__", "app", "common", "plugin"}
    helpers = {"archive", "disk", "examination", "fields", "grouping", "notes", "output", "pivot", "rebuild", "tables"}
    helpers |= {"specs", "tracking", "watch", "work"}
    assert modules - own - helpers == {name.replace("-", "_") for name in listed}


def test_a_group_of_commands_of_a_plugin(with_command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    group = typer.Typer(help="Of a test.")
    group.command("first")(lambda: print("this is the first"))
    group.command("second")(lambda: print("this is the second"))
    with_command("my-group", group)
    assert run(["my-group", "second"]) == 0
    assert capsys.readouterr().out == "this is the second\n"
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.index("More commands") < text.index("my-group")


def test_a_command_that_does_not_load_names_its_plugin(with_command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with_command("broken", None)
    del sys.modules["plugin_of_a_test"].target  # type: ignore[attr-defined]
    assert run(["broken"]) == 2
    assert "Command 'broken' of plugin 'test' (vp-test 1.0) does not load" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "package"), [("serve", "vpcore-server"), ("fetch", "vpcore-databento")])
def test_a_command_of_a_missing_package_names_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, package: str
) -> None:
    monkeypatch.setattr(app_module, "Plugins", lambda: Plugins(entry_points=[]))
    assert run([command, "--port", "1"]) == 2
    expected = f"Error: vp {command} needs {package}, which is not installed. Run: pip install {package}\n"
    assert capsys.readouterr().err == expected


def test_a_misspelled_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["complare"]) == 2
    assert "No command is called 'complare'. Did you mean 'compare'?" in capsys.readouterr().err


def test_a_command_imports_no_other() -> None:
    code = (
        "import sys; from vpcore_cli.app import run; run(['compare', '--help']); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {m for m in done.stderr.split() if m.startswith("vpcore_cli.")} == {
        "vpcore_cli.app", "vpcore_cli.common", "vpcore_cli.compare", "vpcore_cli.plugin",
    }  # fmt: skip
    assert "Rank the stored rows" in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("The field is wrong."), 2, "Error: The field is wrong.\n"),
        (RefusedError("Over budget."), 1, "Error: Over budget.\n"),
        (typer.Exit(1), 1, ""),
        (typer.BadParameter("no"), 2, "no"),
        (KeyboardInterrupt(), 130, "Interrupted. What was finished is kept and nothing is half-written. To go on from there: vp boom"),
        (ZeroDivisionError("bug"), 3, "This is a bug in vpcore_cli, not in your input."),
    ],
)  # fmt: skip
def test_exit_codes(
    raising: Any, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    raising(error)
    assert run(["boom"]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert ("Traceback" in captured.err) == (code == 3)


@pytest.mark.parametrize("arguments", [["nosuch"], ["--nosuch"], ["init"], ["validate", "--root"]])
def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err
    assert captured.out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vpcore {__version__}\n"


def test_python_m_vpcore_cli_is_vp() -> None:
    done = subprocess.run([sys.executable, "-m", "vpcore_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"vpcore {__version__}\n"


def test_help_lists_every_command_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for name in ("init", "validate", "plugins", "list-signals", "schema"):
        assert name in text
    assert text.index("Set up") < text.index("list-signals")
    assert "Of plugins" not in text


# -- commands ----------------------------------------------------------------------------------------------------------


def test_init_then_validate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["init", "ws"]) == 0
    first = capsys.readouterr()
    assert first.out == f"{tmp_path / 'ws'}\n"
    assert (
        "The workspace is ready.\nNext: put .dbn or .dbn.zst files below lake/raw, then: vp new-pipeline" in first.err
    )
    assert run(["init", "ws"]) == 0
    assert "nothing was changed" in capsys.readouterr().err
    assert run(["validate", "--root", "ws", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(["validate", "--root", "ws"]) == 0
    assert "Next: write configs/pipelines/NAME.yaml, which describes a capture" in capsys.readouterr().err


def test_a_workspace_in_a_workspace_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "ws")]) == 0
    inner = tmp_path / "ws" / "deep" / "er"
    assert run(["init", str(inner)]) == 2
    assert f"{inner} lies inside the workspace {tmp_path / 'ws'}. Name a folder outside it" in capsys.readouterr().err
    assert not inner.exists()
    assert run(["init", str(inner), "--nested"]) == 0
    assert run(["init", str(tmp_path / "ws")]) == 0  # itself again


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace, _ = Workspace.create(tmp_path / "ws")
    capture = 'capture: {symbol: ESH4, date: 2023-12-25, start_time: "18:00", end_time: "18:59"}\n'
    (workspace.configs / "pipelines" / "good.yaml").write_text(f"name: good\n{capture}")
    (workspace.configs / "pipelines" / "bad.yaml").write_text(f"name: bad\n{capture}pipeline: {{cel_width_ms: 1}}\n")
    (workspace.configs / "serving" / "on_bad.yaml").write_text("name: on_bad\npipeline: bad\nsignal: {name: x}\n")
    return workspace


def test_specs_are_listed_with_the_spec_that_each_names(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace.configs / "experiments" / "torn.yaml").write_text("name: [\n")
    assert run(["list-specs", "--root", str(workspace.root), "--json"]) == 0
    captured = capsys.readouterr()
    rows = {(row["kind"], row["name"]): row for row in json.loads(captured.out)}
    assert rows["pipeline", "good"]["uses"] == "ESH4"
    assert rows["serving", "on_bad"]["uses"] == "bad"
    assert rows["serving", "on_bad"]["file"] == "configs/serving/on_bad.yaml"
    assert rows["experiment", "torn"]["uses"] is None
    assert "Warning: " in captured.err
    assert "torn.yaml" in captured.err


@pytest.mark.parametrize(
    ("option", "now"), [("--lake-root=x", "--root, which names"), ("--signal-params-json", "--params-json")]
)
def test_options_of_the_older_harness_have_a_hint(option: str, now: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["online-sim", option, "{}"]) == 2
    assert f"{option.partition('=')[0]} is now {now}" in capsys.readouterr().err


def test_progress_names_the_phase_before_the_first_row() -> None:
    first, later = (details(SweepProgress("run", done, 144), 2.0) for done in (0, 12))
    assert first == ["starting workers, compiling kernels; 144 rows to compute"]
    assert later == ["12 of 144 rows computed, 6 rows/s, 0 failed"]


def test_validate_tells_each_problem_once(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VP_ROOT", str(workspace.root))
    assert run(["validate"]) == 2
    captured = capsys.readouterr()
    assert (
        captured.err.count(
            "'cel_width_ms' is not a field of pipeline (configs/pipelines/bad.yaml:3). Did you mean 'cell_width_ms'?"
        )
        == 1
    )
    results = {line.split()[1]: line.split()[2] for line in captured.out.splitlines()[1:]}
    assert results["configs/pipelines/good.yaml"] == "ok"
    assert results["configs/pipelines/bad.yaml"] == results["configs/serving/on_bad.yaml"] == "wrong"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["good"], 0, ""),
        (["good", "bad"], 2, "'cel_width_ms' is not a field"),
        (["ws/configs/pipelines/good.yaml"], 0, ""),
        (["configs/pipelines/good.yaml"], 0, ""),
        (["elsewhere.yaml"], 0, ""),
        (["godo"], 2, "No spec is called 'godo'. Did you mean 'good'? There are: bad, good, on_bad."),
        (["nothing.yaml"], 2, "There is no file nothing.yaml."),
        (["other.yaml"], 2, "other.yaml is none of the specs: a pipeline has 'capture'"),
    ],
)
def test_validate_takes_names_and_paths(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    text = (workspace.configs / "pipelines" / "good.yaml").read_text()
    Path("elsewhere.yaml").write_text(text.replace("good", "any"))
    Path("other.yaml").write_text("a: 1\n")
    assert run(["validate", "--root", "ws", *arguments]) == code
    assert message in capsys.readouterr().err


def test_what_is_another_kind_of_spec_is_called_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["init", "ws"]) == 0
    monkeypatch.chdir(tmp_path / "ws")
    spec = 'name: p\ncapture: {symbol: ESH4, date: 2023-12-25, start_time: "18:00", end_time: "18:59"}\n'
    (tmp_path / "ws/configs/pipelines/p.yaml").write_text(spec)
    capsys.readouterr()
    for wanted, message in (
        ("configs/pipelines/p.yaml", "configs/pipelines/p.yaml is a pipeline, not an experiment."),
        ("p", "No experiment is called 'p'."),
        ("p", "'p' is a pipeline."),
    ):
        assert run(["run", wanted]) == 2
        assert message in capsys.readouterr().err
    assert run(["validate", "configs/pipelines", "--json"]) == 0
    assert [row["file"] for row in json.loads(capsys.readouterr().out)] == ["configs/pipelines/p.yaml"]
    assert run(["validate", "lake"]) == 2
    assert "lake holds no spec of this workspace" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "storage:\n  backend: lokal\n",
            2,
            "No storage is called 'lokal' (configs/workspace.yaml:2, storage.backend).",
        ),
        ("executor: {name: local, max_workers: 0}\n", 2, "executor.max_workers must be at least 1, was 0"),
        ("tracker: {backend: jsonl}\n", 0, ""),
    ],
)
def test_validate_checks_the_file_of_the_workspace(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], text: str, code: int, message: str
) -> None:
    path = workspace.configs / "workspace.yaml"
    path.write_text(text)
    for name in ("workspace", str(path)):
        assert run(["validate", "--root", str(workspace.root), name]) == code
        out, err = capsys.readouterr()
        assert "configs/workspace.yaml" in out
        assert message in err


def test_validate_outside_a_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate"]) == 2
    assert "is not in a workspace" in capsys.readouterr().err


class FakePlugins(Plugins):
    """Two signals, one of which does not import, and a plugin that failed."""

    def __init__(self) -> None:
        super().__init__([], disable=["left-out"])
        from types import ModuleType

        from vpcore import hookimpl

        plugin = ModuleType("fake")
        plugin.vp_signals = hookimpl(  # type: ignore[attr-defined]
            lambda: [
                Component("broken", "no_such_module:Signal", "Does not [import]."),
                Component("fine", "serving_signals:Level", "Imports."),
            ]
        )
        self.register(plugin, "fake", "fake-signals", "0.5")
        self.failed.append(FailedPlugin("skipped", Package.called("skipped-signals", "1.0"), "No module named 'x'"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "Plugins", FakePlugins)


@pytest.mark.usefixtures("fake")
def test_list_signals_works_outside_a_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list-signals"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "name    summary             package       version",
        "broken  Does not [import].  fake-signals  0.5",
        "fine    Imports.            fake-signals  0.5",
    ]
    assert captured.err == "Failed: skipped (skipped-signals 1.0): No module named 'x'\n"


@pytest.mark.usefixtures("fake")
def test_list_signals_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list-signals", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"signals", "failed"}
    assert [(s["name"], s["package"], s["version"]) for s in found["signals"]] == [
        ("broken", "fake-signals", "0.5"),
        ("fine", "fake-signals", "0.5"),
    ]
    assert found["failed"] == [
        {"name": "skipped", "package": "skipped-signals", "version": "1.0", "error": "No module named 'x'"}
    ]


@pytest.mark.usefixtures("fake")
def test_details_import_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list-signals", "--details", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    broken, fine = found["signals"]
    assert "columns" not in broken
    assert {"columns", "thresholds", "parameters", "reads_score", "prediction_mode", "signal_version"} <= set(fine)
    assert set(fine["parameters"][0]) == {"name", "type", "range", "default", "description"}
    assert [item["name"] for item in found["failed"]] == ["skipped", "broken"]
    assert "needs no_such_module, which is not installed" in found["failed"][1]["error"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("names", "code"), [(["fine"], 0), (["broken"], 2), (["fien"], 2)])
def test_details_of_a_named_signal(capsys: pytest.CaptureFixture[str], names: list[str], code: int) -> None:
    assert run(["list-signals", "--details", *names]) == code
    captured = capsys.readouterr()
    assert ("vacuum" in captured.out) == (names == ["fine"])
    assert ("Did you mean 'fine'?" in captured.err) == (names == ["fien"])


@pytest.mark.usefixtures("fake")
def test_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins"]) == 0
    captured = capsys.readouterr()
    table = {tuple(line.split()[:4]) for line in captured.out.splitlines() if line}
    assert ("core", "vpcore", __version__, "ok") in table
    assert ("fake", "fake-signals", "0.5", "ok") in table
    assert ("skipped", "skipped-signals", "1.0", "failed") in table
    assert ("signal", "fine", "fake", "Imports.") in table
    assert "Failed: skipped (skipped-signals 1.0): No module named 'x'" in captured.err
    assert "VPCORE_DISABLE names 'left-out', which is not installed." in captured.err
    assert run(["plugins", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"plugins", "components", "failed", "duplicates"}


def test_schema(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["schema", "experiment"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False
    wanted = (
        *(
            "name",
            "description",
            "serving",
            "pipelines",
            "dates",
            "signals",
            "eval",
            "reserve",
            "select",
            "sweep",
            "parallel",
            "tracking",
        ),
        "diagnostics",
    )
    assert set(wanted) == set(schema["properties"])
    assert run(["schema", "--out", "schemas"]) == 0
    written = capsys.readouterr().out.split()
    assert written == [
        f"schemas/{kind}.schema.json" for kind in ("instrument", "pipeline", "serving", "experiment", "workspace")
    ]
    pipeline = json.loads((tmp_path / "schemas" / "pipeline.schema.json").read_text())
    assert "cell_width_ms" in pipeline["properties"]["pipeline"]["properties"]
    assert run(["schema", "pipline"]) == 2
    assert "No kind of spec is called 'pipline'. Did you mean 'pipeline'?" in capsys.readouterr().err


# -- tables ------------------------------------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"name": "a", "value": 1.25, "n": 3, "extra": [1, 2]},
    {"name": "b, c", "value": float("nan"), "n": None},
]


def test_a_table_in_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit_table(ROWS, ("name", "value", "n"))
    assert capsys.readouterr().out == "name  value  n\na      1.25  3\nb, c    nan\n"


def test_a_table_as_csv_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit_table(ROWS, ("name", "value", "n"), csv=True)
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [
        ["name", "value", "n"], ["a", "1.25", "3"], ["b, c", "", ""],
    ]  # fmt: skip
    common.emit_table(ROWS, ("name",), json=True)
    assert json.loads(capsys.readouterr().out) == [{**ROWS[0]}, {"name": "b, c", "value": None, "n": None}]


def test_a_share_that_is_not_one_is_not_shown_as_one() -> None:
    from vpcore_cli.list_datasets import _below_one

    assert [_below_one(share) for share in (1.0, 1 - 1e-9, 35399 / 35400, 0.5, 0.0)] == [1.0, 0.9999, 0.9999, 0.5, 0.0]


def test_an_empty_table_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit_table([], ("name",), empty="Nothing.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Nothing.\n")


def test_numpy_values_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    common.emit_json(
        {"a": np.float64(2.5), "b": np.int32(3), "c": np.bool_(True), "d": [np.float32("nan")], "e": Path("x")}
    )
    assert json.loads(capsys.readouterr().out) == {"a": 2.5, "b": 3, "c": True, "d": [None], "e": "x"}


def test_progress_is_quiet_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with common.progress("work", total=2) as update:
        update(1)
        update(2, total=3)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_words_of_a_table_wrap_at_blanks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = "every considerable sentence has several unbreakable words of various lengths"
    rows = [{"name": "abcdefgh", "first": words, "second": words, "n": 1}]

    def table(width: int, **options: bool) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        common.emit_table(rows, ("name", "first", "second", "n"), **options)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    wrapped = table(50)
    assert max(map(len, wrapped)) <= 50
    assert {word for line in wrapped for word in line.split()} == {
        "name",
        "first",
        "second",
        "n",
        "abcdefgh",
        "1",
        *words.split(),
    }
    assert len(table(50, one_line=True)) == 2
    assert max(map(len, table(24))) <= 24  # no room for the longest words: they break


def test_a_narrow_terminal_goes_without_spare_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"name": "a", "long": "x" * 30, "longer": "y" * 90, "note": "kept"}]

    def table(width: int) -> tuple[str, str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        common.emit_table(rows, ("name", "long", "longer", "note"), spare=("long", "longer"))
        out, err = capsys.readouterr()
        return out, err

    out, err = table(100)
    assert ("x" * 30 in out, "kept" in out, err) == (True, True, "")
    out, err = table(70)
    assert ("xxx" in out, "yyy" in out, "kept" in out) == (False, True, True)
    assert err == "The terminal is too narrow for: long. They are in --csv and --json.\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert table(30)[1] == "The terminal is too narrow\nfor: long, longer. They are\nin --csv and --json.\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    out, err = table(30)
    assert ("xxx" in out, "yyy" in out, "kept" in out) == (False, False, True)
