"""MLflow: one MLflow run per experiment, and below it one per run of the harness.

Through `MlflowClient` with explicit run ids, because the fluent interface's global run races; into SQLite, because
MLflow's file store is deprecated.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpcore.canonical import digest
from vpcore.errors import PluginError
from vpcore.storage.atomic import sweep_dead, temporary_folder
from vpcore.tracker.summary import best_of, by_threshold, figures_of, settings_of

URI_VARIABLE = "MLFLOW_TRACKING_URI"
STORE = "mlflow.sqlite"

STEPS_PER_THRESHOLD = 1000
"""Metrics below ``by_threshold/`` have the threshold in thousandths as their step: MLflow has whole steps only."""

_RUN_TAG = "vp.run_id"
_PARENT_TAG = "vp.experiment_parent"
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_MOST_PARAMS, _MOST_METRICS = 100, 900


class MlflowTracker:
    """Reports runs to MLflow: at ``MLFLOW_TRACKING_URI``, or else into ``mlflow.sqlite`` in `folder`.

    Reporting a run twice makes one MLflow run. Parameters as in `vpcore.tracker.Tracker`.

    Raises
    ------
    PluginError
        If mlflow is not installed.
    """

    def __init__(self, *, folder: Path, experiment_name: str, tags: Mapping[str, str]) -> None:
        # A server that is down shall be noticed in seconds: by itself, the client tries for minutes, at every run.
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            # It tells of every table it makes.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            client_class = importlib.import_module("mlflow").MlflowClient
        except ModuleNotFoundError as error:
            raise PluginError(
                f"Tracker 'mlflow' needs {error.name}, which is not installed. Run: pip install 'vpcore[mlflow]', "
                "or set tracking.backend: none."
            ) from None
        uri = os.environ.get(URI_VARIABLE)
        artifacts = None
        if not uri:
            folder.mkdir(parents=True, exist_ok=True)
            _make_store(folder / STORE, client_class)
            uri = f"sqlite:///{folder / STORE}"
            artifacts = (folder / "mlflow_artifacts").as_uri()
        self.uri = uri
        self.tags = dict(tags)
        self.client = client_class(tracking_uri=uri)
        self.entities = importlib.import_module("mlflow.entities")
        self.experiment_id = self._experiment(experiment_name, artifacts)
        self._parents: dict[str, str] = {}

    def _experiment(self, name: str, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(name, artifact_location=artifacts))

    # -- the experiment ------------------------------------------------------------------------------------------------

    def log_experiment(self, name: str, specs: Mapping[str, Any]) -> None:
        """Keep the resolved specs as an artifact of the experiment's run, named by their digest."""
        parent = self._parent(name)
        mark = digest(specs)
        self.client.set_tag(parent, "vp.specs", mark)
        self.client.log_dict(parent, dict(specs), f"specs/{mark[:16]}.json")

    def _parent(self, experiment: str) -> str:
        """Return the MLflow run of an experiment, made if it is not there."""
        if experiment not in self._parents:
            found = self._search(_PARENT_TAG, experiment)
            if found is None:
                tags = {**self.tags, _PARENT_TAG: experiment, "vp.experiment": experiment}
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=experiment)
                found = str(run.info.run_id)
                self.client.set_terminated(found, "FINISHED")
            self._parents[experiment] = found
        return self._parents[experiment]

    def _search(self, tag: str, value: str) -> str | None:
        found = self.client.search_runs([self.experiment_id], f"tags.`{tag}` = '{value}'", max_results=1)
        return str(found[0].info.run_id) if found else None

    # -- a run ---------------------------------------------------------------------------------------------------------

    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Report a run: settings as parameters, the figures of its best row, and of the best at every threshold."""
        run_id = self._run_of(meta)
        finished = int(meta["finished_utc"].timestamp() * 1000)
        best = best_of(rows, select_metric)
        make = self.entities.Metric
        metrics = [make(name, value, finished, 0) for name, value in figures_of(best).items()]
        metrics.append(make("n_trials", float(len(rows)), finished, 0))
        for threshold, row in by_threshold(rows, select_metric).items():
            step = round(threshold * STEPS_PER_THRESHOLD)
            metrics += [make(f"by_threshold/{name}", value, finished, step) for name, value in figures_of(row).items()]
        params = [self.entities.Param(name, _text(value)) for name, value in sorted(settings_of(meta).items())]
        tags = {"vp.best_row": best.get("row", ""), "vp.error": (meta.get("error") or "")[:5000]}
        told = [self.entities.RunTag(name, text) for name, text in tags.items() if text]
        for start in range(0, max(len(params), 1), _MOST_PARAMS):
            self.client.log_batch(run_id, params=params[start : start + _MOST_PARAMS], tags=told)
        for start in range(0, len(metrics), _MOST_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
        self.client.log_inputs(run_id, datasets=[self._dataset(meta)])
        self.client.set_terminated(run_id, "FINISHED" if meta["status"] == "ok" else "FAILED", end_time=finished)

    def _dataset(self, meta: Mapping[str, Any]) -> Any:
        """Return the dataset as MLflow shows it; its id and the digests of its sources decide every byte of it."""
        sources = json.loads(meta.get("sources_json") or "[]")
        mark = digest([meta["dataset_id"], sources])[:32]
        source = json.dumps({"dataset_id": meta["dataset_id"], "sources_sha256": sources})
        dataset = self.entities.Dataset(meta["dataset_id"], mark, "vpcore", source)
        return self.entities.DatasetInput(dataset, [self.entities.InputTag("mlflow.data.context", "evaluation")])

    def _run_of(self, meta: Mapping[str, Any]) -> str:
        """Return the MLflow run of a run, made if it is not there: reporting twice makes one run."""
        parent = self._parent(meta["experiment_name"])
        found = self._search(_RUN_TAG, meta["run_id"])
        if found is not None:
            return found
        tags = {
            **self.tags,
            "mlflow.parentRunId": parent,
            _RUN_TAG: meta["run_id"],
            "vp.experiment": meta["experiment_name"],
            "vp.dataset_id": meta["dataset_id"],
            "vp.code_digest": meta["code_digest"],
        }
        name = f"{meta['signal_name']}-{meta['run_id'][:8]}"
        started = int(meta["started_utc"].timestamp() * 1000)
        run = self.client.create_run(self.experiment_id, start_time=started, tags=tags, run_name=name)
        return str(run.info.run_id)

    def close(self) -> None:
        """Nothing is open."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _make_store(target: Path, client_class: Any) -> None:
    """Make a new store aside and link it in: mlflow cannot mend one whose making was interrupted.

    It takes seconds, in which users press Ctrl-C.
    """
    if target.exists():
        return
    sweep_dead(target.parent)
    folder, handle = temporary_folder(target)
    try:
        client_class(tracking_uri=f"sqlite:///{folder / STORE}").search_experiments(max_results=1)
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(folder / STORE, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
