"""What a tracker must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Reports runs to another system, from the parent process, after they are committed to the results store.

    Parameters
    ----------
    folder : Path
        Where a tracker that needs no server may keep its files; made by the tracker when it needs it.
    experiment_name : str
        `tracking.experiment_name`.
    tags : mapping of str to str
        `tracking.tags`.

    Notes
    -----
    Two more methods may be there, and are called if they are:

    ``log_experiment(name, specs)``
        Once, before the first run, with the resolved specs as JSON holds them.
    ``log_files(experiment, run_id, files)``
        With files to keep, as names with ``/`` to paths on this machine; the last part of a name is that of its path.
        They are of a run that `log_run` was just called for (fitted models, diagnostics) or, `run_id` being None, of
        the experiment (its report, after the last run). Called again for the same names if files may have changed.
        The paths may be gone when it returns. Which kinds of files there are is `tracking.files` of the experiment; the
        report is only made for a tracker that has this method.
    """

    def __init__(self, *, folder: Path, experiment_name: str, tags: Mapping[str, str]) -> None: ...

    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Report one run; called again for the same run if more of its rows were computed later.

        Parameters
        ----------
        meta : mapping
            Its row of `runs_meta`; `status` is ``"ok"`` or ``"failed"``.
        rows : sequence of mappings
            Its rows of `runs`, every stored one, sorted by key.
        select_metric : str
            The figure by which the experiment ranks its rows.
        """
        ...

    def close(self) -> None:
        """Finish; nothing is reported afterwards."""
        ...
