"""`Workspace`: paths, plugins and stores, in place of global state."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.errors import ConfigError
from vpcore.plugins.component import check_options
from vpcore.plugins.manager import Plugins

if TYPE_CHECKING:
    from functools import cached_property as made_once

    from vpcore.config import ConfigStore, ExperimentSpec, InstrumentSpec, PipelineSpec, ServingSpec
    from vpcore.dataset import DatasetRegistry
    from vpcore.dataset.reserve import Reserves
    from vpcore.results import ResultsDB
    from vpcore.storage import Folder

else:

    class made_once(property):
        """A property that keeps its first value. Unlike `cached_property`, `help` shows its docstring."""

        def __get__(self, workspace: Any, owner: Any = None) -> Any:
            if workspace is None:
                return self
            name = self.fget.__name__
            if name not in workspace.__dict__:
                workspace.__dict__[name] = self.fget(workspace)
            return workspace.__dict__[name]

        def __set__(self, workspace: Any, value: Any) -> None:
            workspace.__dict__[self.fget.__name__] = value


ROOT_VARIABLE = "VP_ROOT"


def is_workspace(folder: Path) -> bool:
    """Return whether a directory holds ``configs/`` and ``lake/``."""
    return (folder / "configs").is_dir() and (folder / "lake").is_dir()


class Workspace:
    """A directory with ``configs/`` and ``lake/``.

    Parameters
    ----------
    root : path
        The directory.
    plugins : Plugins, optional
        By default the installed plugins, loaded on first use.

    Raises
    ------
    ConfigError
        If `root` lacks the directory ``configs`` or ``lake``.
    """

    def __init__(self, root: str | os.PathLike[str], *, plugins: Plugins | None = None) -> None:
        self.root = Path(root).expanduser().resolve()
        missing = [name for name in ("configs", "lake") if not (self.root / name).is_dir()]
        if missing:
            raise ConfigError(
                f"{self.root} is not a workspace: it has no {' and no '.join(name + '/' for name in missing)}",
                fix=f"Make one with: vp init {self.root}",
            )
        self._plugins = plugins

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    @classmethod
    def find(
        cls,
        explicit: str | os.PathLike[str] | None = None,
        *,
        start: Path | None = None,
        plugins: Plugins | None = None,
    ) -> Workspace:
        """Return the workspace at `explicit`, else at ``VP_ROOT``, else at the nearest parent of `start`.

        Parameters
        ----------
        explicit : path, optional
            Directory of the workspace, as given to ``--root``.
        start : Path, optional
            By default the current directory.
        plugins : Plugins, optional
            See `Workspace`.

        Raises
        ------
        ConfigError
            If the search finds no workspace, or the named directory lacks ``configs`` or ``lake``.
        """
        if explicit is not None:
            return cls(explicit, plugins=plugins)
        named = os.environ.get(ROOT_VARIABLE)
        if named:
            try:
                return cls(named, plugins=plugins)
            except ConfigError as error:
                raise ConfigError(f"{error} ({ROOT_VARIABLE} names it.)") from None
        here = (start if start is not None else Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if is_workspace(folder):
                return cls(folder, plugins=plugins)
        raise ConfigError(
            f"{here} is not in a workspace: neither it nor a parent has configs/ and lake/",
            fix=f"Name one with --root or {ROOT_VARIABLE}, or make one with: vp init DIR",
        )

    @classmethod
    def create(cls, root: str | os.PathLike[str], *, plugins: Plugins | None = None) -> tuple[Workspace, list[Path]]:
        """Make the directories of a workspace. Instruments come with vpcore; a file of the workspace goes before them.

        Returns
        -------
        workspace : Workspace
        written : list of Path
            New files. Existing files keep their content.

        Raises
        ------
        ConfigError
            If making a directory or file fails.
        """
        from vpcore.storage.atomic import write_atomic

        base = Path(root).expanduser()
        readme = base / "lake" / "README.md"
        written = []
        try:
            for folder in ("instruments", "pipelines", "serving", "serving_versions", "experiments"):
                (base / "configs" / folder).mkdir(parents=True, exist_ok=True)
            (base / "lake" / "raw").mkdir(parents=True, exist_ok=True)
            content = (resources.files("vpcore") / "data" / "lake_README.md").read_bytes()
            if not readme.exists() and write_atomic(readme, content, exclusive=True, durable=False):
                written.append(readme)
        except OSError as error:
            raise ConfigError(
                f"No workspace can be made at {base}: {error.strerror}", where=str(error.filename)
            ) from None
        return cls(base, plugins=plugins), written

    # -- paths ---------------------------------------------------------------------------------------------------------

    @property
    def configs(self) -> Path:
        """Specs: instruments, pipelines, serving, serving_versions, experiments."""
        return self.root / "configs"

    @property
    def lake(self) -> Path:
        """Large files and files that commands write."""
        return self.root / "lake"

    @property
    def raw(self) -> Path:
        """Source files, or this machine's copies of those in use. Commands only read them."""
        return self.raw_folder.path

    @property
    def raw_folder(self) -> Folder:
        """Source files as the storage has them."""
        return self.folder(self.lake / "raw")

    @property
    def datasets_dir(self) -> Path:
        """One immutable directory per dataset id."""
        return self.lake / "research" / "vp_immutable"

    @property
    def harness_dir(self) -> Path:
        """Output of runs and promotions."""
        return self.lake / "research" / "vp_harness"

    @property
    def results_dir(self) -> Path:
        """The results store."""
        return self.harness_dir / "results"

    @property
    def ledger_dir(self) -> Path:
        """Every trial ever evaluated, and the reserves."""
        return self.harness_dir / "ledger"

    @property
    def registry_path(self) -> Path:
        """The SQLite file of the serving registry."""
        return self.harness_dir / "serving_registry.sqlite"

    @property
    def serving_versions_dir(self) -> Path:
        """Published serving versions. Each file is written once."""
        return self.configs / "serving_versions"

    @property
    def cache_dir(self) -> Path:
        """Uncompressed columns for workers, ``lake/cache`` with local files. Deleting the folder costs time only."""
        cache: Path = self.storage.cache
        return cache

    def folder(self, path: Path) -> Folder:
        """Return a folder below ``lake/`` as the storage has it."""
        from vpcore.storage import Folder

        return Folder(self.storage, path.relative_to(self.lake).as_posix())

    # -- plugins and stores, made on first use -------------------------------------------------------------------------

    @property
    def plugins(self) -> Plugins:
        """Plugins: the plugins of this workspace."""
        if self._plugins is None:
            self._plugins = Plugins()
        return self._plugins

    @made_once
    def storage(self) -> Any:
        """Storage: the storage that ``configs/workspace.yaml`` names, by default the folder ``lake``.

        Raises
        ------
        ConfigError
            If ``configs/workspace.yaml`` is invalid, or names an unknown option of the storage.
        PluginError
            If no installed plugin has the storage.
        """
        if not (self.configs / "workspace.yaml").is_file():  # without importing what specs need
            return self.plugins.load("storage", "local")(self.lake)
        chosen = self.specs.workspace().storage
        make = self.plugins.load("storage", chosen.backend)
        check_options(make, "storage", chosen.backend, chosen.options, "storage.options of configs/workspace.yaml")
        return make(self.lake, **chosen.options)

    @made_once
    def datasets(self) -> DatasetRegistry:
        """DatasetRegistry: datasets of the lake."""
        from vpcore.dataset import DatasetRegistry

        return DatasetRegistry(self.storage, reserves=self.reserves)

    @made_once
    def results(self) -> ResultsDB:
        """ResultsDB: stored runs and rows."""
        from vpcore.results import ResultsDB

        return ResultsDB(self.folder(self.results_dir), self.folder(self.ledger_dir), markets=self._market_roots)

    @made_once
    def reserves(self) -> Reserves:
        """Reserves: what is kept back from research."""
        from vpcore.dataset.reserve import RESERVES, Reserves

        ledger = self.folder(self.ledger_dir)
        if not (ledger / RESERVES).here().is_dir():  # without importing what specs need
            return Reserves(ledger)
        return Reserves(ledger, {root: market.symbols for root, market in self.specs.markets().items()})

    def _market_roots(self) -> dict[str, str]:
        return {root: market.root for root, market in self.specs.markets().items()}

    # -- specs: by name or by path -------------------------------------------------------------------------------------

    @made_once
    def specs(self) -> ConfigStore:
        """ConfigStore: pipelines, serving specs, experiments and instruments."""
        from vpcore.config import ConfigStore

        return ConfigStore(self.configs, plugins=self.plugins, raw=lambda: self.raw_folder)

    def keep_raw(self, path: Path) -> None:
        """Store a new file below `raw`, and its provenance beside it, where the storage is not this machine's."""
        raw = self.raw_folder
        for file in (path.with_name(f"{path.name}.json"), path):
            if not raw.is_local and file.is_file():
                self.storage.put_atomic(f"{raw.key}/{file.relative_to(raw.path).as_posix()}", file)

    def instrument(self, symbol: str) -> InstrumentSpec:
        """Return the instrument of a symbol: ``ESH4`` has the root ``ES``."""
        return self.specs.instrument(symbol)

    def pipeline(self, name_or_path: str | os.PathLike[str]) -> PipelineSpec:
        """Return a pipeline spec."""
        return self.specs.pipeline(name_or_path)

    def serving(self, name_or_path: str | os.PathLike[str]) -> ServingSpec:
        """Return a serving spec, its pipeline resolved."""
        return self.specs.serving(name_or_path)

    def experiment(self, name_or_path: str | os.PathLike[str]) -> ExperimentSpec:
        """Return an experiment spec, its serving spec and pipeline resolved."""
        return self.specs.experiment(name_or_path)
