"""MLflow: one MLflow run per run of the harness.

Through `MlflowClient` with explicit run ids, because the fluent interface's global run races; into SQLite, because
MLflow's file store is deprecated.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpcore.errors import PluginError

URI_VARIABLE = "MLFLOW_TRACKING_URI"

_RUN_TAG = "vp.run_id"
_NOT_METRICS = ("run_id", "row", "batch_id", "block_pnl_ticks", "tp_ticks", "sl_ticks", "cooldown_bins")


class MlflowTracker:
    """Reports runs to MLflow: at ``MLFLOW_TRACKING_URI``, or else into ``mlflow.sqlite`` in `folder`.

    Parameters as in `vpcore.tracker.Tracker`.

    Raises
    ------
    PluginError
        If mlflow is not installed.
    """

    def __init__(self, *, folder: Path, experiment_name: str, tags: Mapping[str, str]) -> None:
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
            uri = f"sqlite:///{folder / 'mlflow.sqlite'}"
            artifacts = (folder / "mlflow_artifacts").as_uri()
        self.uri = uri
        self.tags = dict(tags)
        self.client = client_class(tracking_uri=uri)
        self.experiment_id = self._experiment(experiment_name, artifacts)

    def _experiment(self, name: str, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(name, artifact_location=artifacts))

    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Report a run: its settings as parameters, the figures of its best row as metrics."""
        run_id = self._run_of(meta)
        entities = importlib.import_module("mlflow.entities")
        finished = int(meta["finished_utc"].timestamp() * 1000)
        params = [entities.Param(name, text) for name, text in sorted(_params(meta).items())]
        best = _best(rows, select_metric)
        figures = {name: float(value) for name, value in best.items() if name not in _NOT_METRICS and _is_number(value)}
        figures["n_trials"] = float(len(rows))
        metrics = [entities.Metric(name, value, finished, 0) for name, value in sorted(figures.items())]
        tags = {"vp.best_row": best.get("row", ""), "vp.error": (meta.get("error") or "")[:5000]}
        self.client.log_batch(
            run_id,
            metrics=metrics,
            params=params,
            tags=[entities.RunTag(name, text) for name, text in tags.items() if text],
        )
        self.client.set_terminated(run_id, "FINISHED" if meta["status"] == "ok" else "FAILED", end_time=finished)

    def _run_of(self, meta: Mapping[str, Any]) -> str:
        """Return the MLflow run of a run, made if it is not there: reporting twice makes one run."""
        found = self.client.search_runs([self.experiment_id], f"tags.`{_RUN_TAG}` = '{meta['run_id']}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {
            **self.tags,
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


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _params(meta: Mapping[str, Any]) -> dict[str, str]:
    params = {"signal": meta["signal_name"], "dataset_id": meta["dataset_id"]}
    for prefix, column in (("signal", "signal_params_json"), ("scoring", "scoring_json"), ("eval", "eval_json")):
        for name, value in json.loads(meta.get(column) or "{}").items():
            params[f"{prefix}.{name}"] = value if isinstance(value, str) else json.dumps(value)
    return params


def _best(rows: Sequence[Mapping[str, Any]], metric: str) -> Mapping[str, Any]:
    ranked = [row for row in rows if row.get(metric) is not None]
    return max(ranked, key=lambda row: (row[metric], row["row"])) if ranked else {}
