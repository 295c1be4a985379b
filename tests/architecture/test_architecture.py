"""What holds for the repository as a whole."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vpcore
from vpcore.plugins import hookspecs
from vpcore.plugins.manager import HOOKS

REPOSITORY = Path(__file__).parents[2]
PACKAGES = sorted(
    file.parent for pattern in ("vpcore*", "plugins/*") for file in REPOSITORY.glob(f"{pattern}/pyproject.toml")
)
FOREIGN = {
    "typer",
    "rich",
    "mlflow",
    "dask",
    "distributed",
    "optuna",
    "scipy",
    "matplotlib",
    "jinja2",
    "obstore",
    "databento",
    "databento_dbn",
}
"""What plugins depend on and the core does not import, not even for types."""
HEAVY = (
    "numpy",
    "numba",
    "polars",
    "pyarrow",
    "databento",
    "databento_dbn",
    "mlflow",
    "sklearn",
    "lightgbm",
    "matplotlib",
    "optuna",
    "scipy",
)


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in sorted((package / "src").rglob("*.py"))]
    assert len(found) > 50
    return found


# -- paths -------------------------------------------------------------------------------------------------------------


def test_no_path_of_a_stored_file_is_taken_for_a_pattern() -> None:
    """A workspace may lie in a folder such as `job[7]`: polars and `glob` would look for its files in `job7`."""
    readers = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert "glob" not in modules, path
            assert not (isinstance(node, ast.ImportFrom) and node.module == "glob"), path
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith(("pl.scan_", "pl.read_")):
                continue
            readers.append(f"{path.name}:{node.lineno}")
            assert "glob=False" in [ast.unparse(keyword) for keyword in node.keywords], readers[-1]
    assert len(readers) >= 3


# -- imports -----------------------------------------------------------------------------------------------------------


def test_the_import_contract() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_notices_a_module_that_is_in_no_layer(tmp_path: Path) -> None:
    config = (REPOSITORY / "pyproject.toml").read_text()
    assert '    "workspace",\n' in config
    (tmp_path / "pyproject.toml").write_text(config.replace('    "workspace",\n', ""))
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())",
        "--no-cache",
    ]
    done = subprocess.run(
        [*command, "--config", str(tmp_path / "pyproject.toml")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "workspace" in done.stdout


def test_the_core_imports_no_library_of_a_plugin() -> None:
    for path in (REPOSITORY / "vpcore" / "src").rglob("*.py"):
        text = path.read_text()
        nodes = list(ast.walk(ast.parse(text)))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        named |= set(re.findall(r"import_module\(\"([\w.]+)\"", text))
        assert not {name.partition(".")[0] for name in named} & FOREIGN, path


@pytest.mark.parametrize(
    "code",
    [
        "import vpcore; vpcore.hookimpl; vpcore.Component; vpcore.VpError; dir(vpcore)",
        "import vpcore.plugins.manager; vpcore.plugins.manager.Plugins().components('signal')",
        "from vpcore_cli.app import run; assert run(['--help']) == 0",
        "from vpcore_cli.app import run; assert run(['list-signals']) == 0",
        "from vpcore_cli.app import run; assert run(['generate', '--help']) in (0, 2)",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    check = f"import sys\n{code}\nprint(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_ranking_from_the_cache_loads_no_compiler() -> None:
    check = "import sys, vpcore.config, vpcore.experiment.leaderboard\nprint({'numba', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "set()\n"


# -- the public interface ----------------------------------------------------------------------------------------------


def test_the_public_api_is_pinned() -> None:
    assert vpcore.__all__ == [
        "Audit", "BackgroundFit", "CausalityError", "Component", "ConfigError", "Confirmation", "Dataset", "DatasetError", "Engine", "EngineError", "EngineParams",
        "Evaluation", "Exit", "Frame", "FrameBlock", "Leaderboard", "LiveBin", "LivePipeline", "MLSignal", "PluginError", "ProjectionConfig", "Promotion", "RankedRow",
        "RefusedError", "RegistryError", "ResultsDB", "ResultsError", "RowComparison", "ScoringConfig", "Signal", "SignalContext", "SignalError",
        "SignalFrame", "SignalParams", "SignalResult", "SourceError", "SpectrumScorer", "StatisticalSignal", "StorageError",
        "TradeRules", "VpError", "Workspace", "__version__", "audit", "check", "compare_rows", "confirm", "evaluate", "execution", "generate", "hookimpl", "leaderboard",
        "performance", "promote", "report", "run", "score", "score_dataset", "tearsheet", "trades",
    ]  # fmt: skip


@pytest.mark.parametrize("name", vpcore.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(vpcore, name) is getattr(vpcore, name)
    assert name in dir(vpcore)


@pytest.mark.parametrize("name", ["signal", "dataset", "testing"])
def test_every_name_that_is_imported_on_use_is_there(name: str) -> None:
    module = importlib.import_module(f"vpcore.{name}")
    assert len(module.__all__) > 5
    for exported in module.__all__:
        assert getattr(module, exported) is getattr(module, exported)
    with pytest.raises(AttributeError, match=f"module 'vpcore.{name}' has no attribute 'nothing'"):
        module.nothing


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vpcore' has no attribute 'Engin'"):
        vpcore.Engin  # type: ignore[attr-defined]


# -- documents ---------------------------------------------------------------------------------------------------------


def written_signature(name: str) -> str:
    function = getattr(hookspecs, name)
    source = inspect.getsource(function).partition("def ")[2].partition('"""')[0]
    return re.sub(
        r",(?=\))",
        "",
        "".join(re.sub(r"\s+", " ", source).rstrip(": ").replace("( ", "(").replace(", )", ")").replace(" )", ")")),
    )


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_signature(name: str) -> None:
    text = (REPOSITORY / "docs" / "reference" / "hooks.md").read_text().replace("\\|", "|")
    assert f"`{written_signature(name)}`" in text
    assert inspect.getdoc(getattr(hookspecs, name))


def test_no_hook_is_documented_that_does_not_exist() -> None:
    text = (REPOSITORY / "docs" / "reference" / "hooks.md").read_text()
    assert set(re.findall(r"`(vp_\w+)\(", text)) == set(HOOKS)


def test_the_table_of_fields_is_that_of_the_models() -> None:
    from field_tables import field_tables

    text = (REPOSITORY / "docs" / "reference" / "configuration.md").read_text()
    assert text.partition("<!-- fields -->\n")[2] == field_tables(), "run: make field-tables"


def test_every_field_is_explained_and_every_unit_belongs_to_a_field() -> None:
    import field_tables as reference

    assert next(field.type for field in reference.fields_of("experiment") if field.name == "dates") == "list of dates"
    fields = [
        field
        for kind in ("instrument", "pipeline", "serving", "experiment", "workspace")
        for field in reference.fields_of(kind)
    ]
    assert [field.name for field in fields if not field.meaning] == []
    assert set(reference._UNITS) <= {field.name for field in fields}
    numbers = [field for field in fields if "number" in field.type]
    without = {field.name for field in numbers if not field.unit}
    assert without == {
        *(f"pipeline.c{i}" for i in range(1, 8)), "scoring.derivative_weights", "scoring.tanh_scale", "scoring.threshold_neutral",
        "eval.thresholds", "eval.threshold_quantiles", "eval.seed", "eval.splits.test_share", "reserve.share", "sweep.sample.seed",
    }  # fmt: skip


# -- tests ---------------------------------------------------------------------------------------------------------------


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, at its head or within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_tests_of_the_core_need_no_plugin() -> None:
    tests, own = (
        REPOSITORY / "tests",
        {path.stem: path for folder in ("tests/support", "docs") for path in (REPOSITORY / folder).glob("*.py")},
    )
    waiting, seen = sorted((tests / "core").rglob("*.py")), set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        modules = imported(path)
        assert {name for name in modules if name.startswith("vpcore_")} == set(), path
        waiting += [own[name] for name in modules if name in own and own[name] not in seen]


# -- sources -----------------------------------------------------------------------------------------------------------


def test_compiled_code_goes_through_one_decorator() -> None:
    for path in sources():
        if path.name != "jit.py":
            assert not re.search(
                r"@(numba\.)?(njit|jit)\b.*numba|from numba import .*\bn?jit\b|numba\.n?jit\(", path.read_text()
            ), path


def test_the_constraints_name_no_place() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line)] == []
    names = {line.partition("==")[0].lower() for line in lines}
    assert {
        "numpy",
        "numba",
        "mlflow",
        "matplotlib",
        "lightgbm",
        "scikit-learn",
        "ruff",
        "mypy",
        "pytest",
        "import-linter",
    } <= names


def test_every_package_names_its_licence_and_types() -> None:
    for package in PACKAGES:
        assert (package / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
        assert (package / "src" / package.name / "py.typed").is_file()
        assert (package / "README.md").is_file()


def test_every_folder_of_tests_is_run() -> None:
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    run = [REPOSITORY / folder for folder in config["tool"]["pytest"]["ini_options"]["testpaths"]]
    files = list((REPOSITORY / "tests").rglob("test_*.py"))
    assert files
    assert [path for path in files if not any(path.is_relative_to(folder) for folder in run)] == []
