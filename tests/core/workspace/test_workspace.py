from __future__ import annotations

import pydoc
from pathlib import Path

import pytest

from vpcore import ConfigError, Workspace
from vpcore.plugins.manager import Plugins


@pytest.fixture(autouse=True)
def _no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VP_ROOT", raising=False)


def make(path: Path) -> Path:
    Workspace.create(path)
    return path


def test_the_paths(tmp_path: Path) -> None:
    workspace = Workspace(make(tmp_path / "ws"))
    root = tmp_path / "ws"
    assert (workspace.root, workspace.configs, workspace.lake) == (root, root / "configs", root / "lake")
    assert workspace.raw == root / "lake/raw"
    assert workspace.datasets_dir == root / "lake/research/vp_immutable"
    assert workspace.results_dir == root / "lake/research/vp_harness/results"
    assert workspace.registry_path == root / "lake/research/vp_harness/serving_registry.sqlite"
    assert workspace.serving_versions_dir == root / "configs/serving_versions"
    assert workspace.cache_dir == root / "lake/cache"


def test_an_explicit_root_goes_before_the_variable_and_that_before_the_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explicit, named, around = (make(tmp_path / name) for name in ("explicit", "named", "around"))
    deep = around / "configs" / "pipelines"
    monkeypatch.chdir(deep)
    assert Workspace.find().root == around
    assert Workspace.find(start=named / "lake" / "raw").root == named
    monkeypatch.setenv("VP_ROOT", str(named))
    assert Workspace.find().root == named
    assert Workspace.find(explicit).root == explicit


def test_the_nearest_parent_wins(tmp_path: Path) -> None:
    inner = make(make(tmp_path / "outer") / "lake" / "inner")
    assert Workspace.find(start=inner / "configs").root == inner


def test_what_is_no_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match="is not a workspace: it has no configs/ and no lake/. Make one with: vp init"
    ):
        Workspace(tmp_path)
    (tmp_path / "configs").mkdir()
    with pytest.raises(ConfigError, match="it has no lake/. Make one"):
        Workspace.find(tmp_path)
    with pytest.raises(
        ConfigError,
        match="is not in a workspace: neither it nor a parent has configs/ and lake/. Name one with --root or VP_ROOT",
    ):
        Workspace.find(start=tmp_path)
    monkeypatch.setenv("VP_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"nowhere is not a workspace.*\(VP_ROOT names it.\)"):
        Workspace.find()


def test_create_makes_everything_and_overwrites_nothing(tmp_path: Path) -> None:
    workspace, written = Workspace.create(tmp_path / "a" / "b")
    instruments = workspace.configs / "instruments"
    assert not list(instruments.iterdir())
    assert workspace.instrument("ESH4").root == "ES"
    assert written == [workspace.lake / "README.md"]
    assert {path.name for path in workspace.configs.iterdir()} == {
        "instruments", "pipelines", "serving", "serving_versions", "experiments",
    }  # fmt: skip
    mine = instruments / "ES.yaml"
    mine.write_text("# mine")
    written[0].unlink()
    _, again = Workspace.create(workspace.root)
    assert again == written
    assert mine.read_text() == "# mine"


def test_create_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"No workspace can be made at .*file: (Not a directory|File exists)"):
        Workspace.create(tmp_path / "file")


def test_two_workspaces_share_nothing(tmp_path: Path) -> None:
    one, other = (Workspace(make(tmp_path / name)) for name in ("one", "other"))
    assert one.plugins is not other.plugins
    assert one.plugins is one.plugins
    plugins = Plugins([], disable=[])
    assert Workspace(one.root, plugins=plugins).plugins is plugins


def test_the_stores_are_of_the_lake(tmp_path: Path) -> None:
    workspace = Workspace(make(tmp_path / "ws"))
    assert workspace.storage.root == workspace.lake
    assert workspace.datasets.ids() == []
    assert workspace.results.root == workspace.results_dir
    assert workspace.datasets is workspace.datasets


def test_the_lakes_readme_is_the_packaged_one(tmp_path: Path) -> None:
    workspace = Workspace(make(tmp_path / "ws"))
    repository = Path(__file__).parents[3] / "lake" / "README.md"
    assert repository.read_bytes() == (workspace.lake / "README.md").read_bytes()


def test_help_says_what_the_stores_are(tmp_path: Path) -> None:
    text = pydoc.render_doc(Workspace, renderer=pydoc.plaintext)
    assert "cached_property" not in text
    assert "DatasetRegistry: datasets of the lake" in text
    workspace = Workspace(make(tmp_path / "ws"))
    assert workspace.results is workspace.results
