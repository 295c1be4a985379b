"""The paths, plugins and stores of one workspace: the object that stands where a global would."""

from __future__ import annotations

import os
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.errors import ConfigError
from vpcore.plugins.component import check_options
from vpcore.plugins.manager import Plugins

if TYPE_CHECKING:
    from vpcore.config import ConfigStore, ExperimentSpec, InstrumentSpec, PipelineSpec, ServingSpec
    from vpcore.dataset import DatasetRegistry
    from vpcore.registry import ServingRegistry
    from vpcore.results import ResultsDB

ROOT_VARIABLE = "VP_ROOT"


class Workspace:
    """A directory with ``configs/`` and ``lake/`` in it.

    Parameters
    ----------
    root : path
        The directory.
    plugins : Plugins, optional
        By default the installed ones, loaded on first use.

    Raises
    ------
    ConfigError
        If `root` has no ``configs`` or no ``lake`` directory.
    """

    def __init__(self, root: str | os.PathLike[str], *, plugins: Plugins | None = None) -> None:
        self.root = Path(root).expanduser().resolve()
        missing = [name for name in ("configs", "lake") if not (self.root / name).is_dir()]
        if missing:
            raise ConfigError(
                f"{self.root} is not a workspace: it has no {' and no '.join(name + '/' for name in missing)}. "
                f"Make one with: vp init {self.root}"
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
        """Return the workspace at `explicit`, else at ``VP_ROOT``, else the nearest parent of `start` that is one.

        Parameters
        ----------
        explicit : path, optional
            What the user named, as with ``--root``.
        start : Path, optional
            By default the current directory.
        plugins : Plugins, optional
            See `Workspace`.

        Raises
        ------
        ConfigError
            If none is found, or the named one is not a workspace.
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
            if (folder / "configs").is_dir() and (folder / "lake").is_dir():
                return cls(folder, plugins=plugins)
        raise ConfigError(
            f"{here} is not in a workspace: neither it nor a parent has configs/ and lake/. "
            f"Name one with --root or {ROOT_VARIABLE}, or make one with: vp init DIR"
        )

    @classmethod
    def create(cls, root: str | os.PathLike[str], *, plugins: Plugins | None = None) -> tuple[Workspace, list[Path]]:
        """Make the directories of a workspace and copy the packaged instruments into it.

        Returns
        -------
        workspace : Workspace
        written : list of Path
            The files that were not there before; none is overwritten.

        Raises
        ------
        ConfigError
            If a directory or file cannot be made.
        """
        from vpcore.config.instruments import packaged_instruments

        base = Path(root).expanduser()
        data = Path(str(resources.files("vpcore") / "data"))
        sources = {base / "lake" / "README.md": data / "lake_README.md"}
        sources |= {base / "configs" / "instruments" / path.name: path for path in packaged_instruments().values()}
        written = []
        try:
            for folder in ("instruments", "pipelines", "serving", "serving_versions", "experiments"):
                (base / "configs" / folder).mkdir(parents=True, exist_ok=True)
            (base / "lake" / "raw").mkdir(parents=True, exist_ok=True)
            for target, source in sources.items():
                if not target.exists():
                    target.write_bytes(source.read_bytes())
                    written.append(target)
        except OSError as error:
            raise ConfigError(f"No workspace can be made at {base}: {error.strerror} ({error.filename}).") from None
        return cls(base, plugins=plugins), written

    # -- paths ---------------------------------------------------------------------------------------------------------

    @property
    def configs(self) -> Path:
        """Specs: instruments, pipelines, serving, serving_versions, experiments."""
        return self.root / "configs"

    @property
    def lake(self) -> Path:
        """Everything that is large or made by a command."""
        return self.root / "lake"

    @property
    def raw(self) -> Path:
        """Source files, never written after they arrive."""
        return self.lake / "raw"

    @property
    def datasets_dir(self) -> Path:
        """One immutable directory per dataset id."""
        return self.lake / "research" / "vp_immutable"

    @property
    def harness_dir(self) -> Path:
        """What runs and promotions write."""
        return self.lake / "research" / "vp_harness"

    @property
    def results_dir(self) -> Path:
        """The results store."""
        return self.harness_dir / "results"

    @property
    def registry_path(self) -> Path:
        """The SQLite file of the serving registry."""
        return self.harness_dir / "serving_registry.sqlite"

    @property
    def serving_versions_dir(self) -> Path:
        """Published serving versions, written once each."""
        return self.configs / "serving_versions"

    @property
    def cache_dir(self) -> Path:
        """Uncompressed columns for workers, deletable at any time."""
        return self.lake / "cache"

    # -- plugins and stores, made on first use -------------------------------------------------------------------------

    @property
    def plugins(self) -> Plugins:
        """The plugins of this workspace."""
        if self._plugins is None:
            self._plugins = Plugins()
        return self._plugins

    @cached_property
    def storage(self) -> Any:
        """The storage of the lake: the one that ``configs/workspace.yaml`` names, else the folder ``lake``.

        Raises
        ------
        ConfigError
            If ``configs/workspace.yaml`` is wrong, or the storage has no such option.
        PluginError
            If the storage is not installed.
        """
        if not (self.configs / "workspace.yaml").is_file():  # without importing what specs need
            return self.plugins.load("storage", "local")(self.lake)
        chosen = self.specs.workspace().storage
        make = self.plugins.load("storage", chosen.backend)
        check_options(make, "storage", chosen.backend, chosen.options, "storage.options of configs/workspace.yaml")
        return make(self.lake, **chosen.options)

    @cached_property
    def datasets(self) -> DatasetRegistry:
        """The datasets of the lake."""
        from vpcore.dataset import DatasetRegistry

        return DatasetRegistry(self.storage)

    @cached_property
    def results(self) -> ResultsDB:
        """The stored runs."""
        from vpcore.results import ResultsDB

        return ResultsDB(self.results_dir)

    @cached_property
    def registry(self) -> ServingRegistry:
        """The published serving versions and their aliases."""
        from vpcore.registry import ServingRegistry

        return ServingRegistry(self.registry_path, self.serving_versions_dir)

    # -- specs: by name or by path -------------------------------------------------------------------------------------

    @cached_property
    def specs(self) -> ConfigStore:
        """The specs of the three layers and the instruments."""
        from vpcore.config import ConfigStore

        return ConfigStore(self.configs, plugins=self.plugins)

    def instrument(self, symbol: str) -> InstrumentSpec:
        """Return the instrument of a symbol: ``ESH4`` is of the root ``ES``."""
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
