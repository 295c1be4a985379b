"""The base class of trackers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Tracker(ABC):
    """Reports runs to another system, from the parent process, after they are committed to the results store.

    An exception of a method is shown to the user, and the results stay safe: ``vp track EXPERIMENT`` reports stored
    runs again. `vpcore.testing.tracker_checks` checks an implementation.

    Parameters
    ----------
    folder : Path
        Folder for the files of a local tracker. The tracker makes the folder when it writes there.
    experiment_name : str
        `tracking.experiment_name`.
    tags : mapping of str to str
        `tracking.tags`.
    """

    def __init__(self, *, folder: Path, experiment_name: str, tags: Mapping[str, str]) -> None:
        self.folder = folder
        self.experiment_name = experiment_name
        self.tags = dict(tags)

    @classmethod
    def needs_folder(cls) -> bool:
        """Return True if the tracker would write into `folder`: a lake on an object store then refuses it."""
        return False

    def log_experiment(self, name: str, specs: Mapping[str, Any]) -> None:  # noqa: B027
        """Take the resolved specs of an experiment, as JSON holds them; called once, before the first run."""

    @abstractmethod
    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Report one run; called again for the same run when more of its rows are stored.

        Parameters
        ----------
        meta : mapping
            The run's row of `runs_meta`; `status` is ``"ok"`` or ``"failed"``.
        rows : sequence of mappings
            Every stored row of the run, sorted by key; `vp track` adds the figures that depend on other rows.
        select_metric : str
            The figure that ranks the rows of the experiment.
        """

    def log_diagnostics(self, meta: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]) -> None:  # noqa: B027
        """Report the diagnostics of a learning signal's run, after its `log_run`.

        Parameters
        ----------
        meta : mapping
            As for `log_run`.
        looks : sequence of mappings
            One per take-profit and stop, from `vpcore.signal.read_diagnostics`; `vpcore.signal.refit_series` has what
            changed from fit to fit.
        """

    def log_files(self, experiment: str, run_id: str | None, files: Mapping[str, Path]) -> None:  # noqa: B027
        """Keep files of a run, or of the whole experiment.

        A tracker that overrides this method gets the kinds of files that `tracking.files` of the experiment names.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        run_id : str or None
            The run that `log_run` was just called for (fitted models, diagnostics); None for files that plugins wrote
            at the end of the experiment (hook `vp_experiment_finished`).
        files : mapping of str to Path
            By name, with ``/`` between its parts, a path on this machine. The caller may delete the files after the
            call, and calls again for the same names when files may have changed.
        """

    def close(self) -> None:  # noqa: B027
        """Finish. This is the last call."""
