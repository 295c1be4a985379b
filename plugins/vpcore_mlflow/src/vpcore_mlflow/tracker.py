"""MLflow: one MLflow run per experiment, and below it one per run of the harness.

Through `MlflowClient` with explicit run ids, because the fluent interface's global run races; into SQLite, because
MLflow's file store is deprecated.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import logging
import os
import re
import shlex
import shutil
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vpcore.canonical import digest
from vpcore.errors import PluginError
from vpcore.signal import refit_series
from vpcore.storage.atomic import sweep_dead, temporary_folder
from vpcore.tracker import Tracker
from vpcore.tracker.summary import Asked, as_text, best_of, by_threshold, figures_of, settings_of

URI_VARIABLE = "MLFLOW_TRACKING_URI"
STORE = "mlflow.sqlite"
ARTIFACTS = "mlflow_artifacts"
"""Folder of the artifacts, beside the store."""

STEPS_PER_THRESHOLD = (1000, 10**6, 10**9, 10**12)
"""MLflow has whole steps only: those of ``by_threshold/`` are the threshold times the first of these that tells all
thresholds of a run apart."""

BY_THRESHOLD = (
    "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "n_signals", "n_eff", "net_pnl_ticks", "net_pnl_lo",
    "net_pnl_hi", "mean_pnl_ticks", "p_random", "tp_rate", "tp_rate_lo", "tp_rate_hi", "breakeven_rate", "timeout_rate",
)  # fmt: skip
"""Figures that are read against the threshold."""

ENVIRONMENT = {
    # A server that is down shall be noticed in seconds: by itself, the client tries for minutes, at every run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Nothing here calls home unless the user says so.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Settings of mlflow that count unless the user has set them."""

_RUN_TAG, _PARENT_TAG, _EXPERIMENT_TAG = "vp.run_id", "vp.experiment_parent", "vp.experiment"
_TOLD_TAG, _FILES_TAG, _DIAGNOSED_TAG, _POINTS_TAG = "vp.told", "vp.files", "vp.diagnosed", "vp.points"
_DIAGNOSED_POINTS_TAG = "vp.diagnosed_points"
_PARENT_OF, _NOTE = "mlflow.parentRunId", "mlflow.note.content"
_MOST, _MOST_METRICS, _MOST_RUNS = 100, 800, 1000
_MARK = 8
"""Characters of the mark of a history."""

_MOST_MARKS = 500
"""A tag has at most 5000 characters."""


@dataclass(slots=True)
class _Known:
    """An MLflow run as it was found, or made, with the names of its metrics."""

    id: str
    tags: dict[str, str]
    metrics: set[str] = field(default_factory=set)


class MlflowTracker(Tracker):
    """Reports runs to MLflow: at ``MLFLOW_TRACKING_URI``, or else into ``mlflow.sqlite`` in `folder`.

    Reporting a run twice makes one MLflow run, and says nothing twice. Parameters as in `vpcore.tracker.Tracker`.

    Raises
    ------
    PluginError
        If mlflow is not installed, or the URI is one of its file store.
    """

    def __init__(self, *, folder: Path, experiment_name: str, tags: Mapping[str, str]) -> None:
        super().__init__(folder=folder, experiment_name=experiment_name, tags=tags)
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            # It tells of every table it makes, and logs the traceback of every error that it raises too.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            client_class = importlib.import_module("mlflow").MlflowClient
        except ModuleNotFoundError as error:
            raise PluginError(
                f"Tracker 'mlflow' needs {error.name}, which is not installed. Run: pip install vpcore-mlflow, "
                "or set tracking.backend: none."
            ) from None
        uri = os.environ.get(URI_VARIABLE, "")
        artifacts = None
        if uri and ("://" not in uri or uri.startswith("file:")) and not uri.startswith("databricks"):
            raise PluginError(
                f"{URI_VARIABLE} names a folder ({uri}): MLflow's file store, which MLflow has given up. Name a "
                f"server (http://...) or a database (sqlite:////path/to/{STORE}), or leave it unset: then the store is "
                "in the lake."
            )
        if not uri:
            folder.mkdir(parents=True, exist_ok=True)
            _make_store(folder / STORE, client_class)
            uri = f"sqlite:///{folder / STORE}"
            artifacts = (folder / ARTIFACTS).absolute().as_uri()
            _adopt_artifacts(folder / STORE, artifacts)
        self.uri = uri
        self.client = client_class(tracking_uri=uri)
        self.entities = importlib.import_module("mlflow.entities")
        self.experiment_id = self._experiment(experiment_name, artifacts)
        self._asked = Asked.of(None)
        self._parents: dict[str, _Known] = {}
        self._children: dict[str, dict[str, _Known]] = {}

    @classmethod
    def needs_folder(cls) -> bool:
        """Return True unless a server or database is named: then the store is a file in `folder`."""
        return not os.environ.get(URI_VARIABLE)

    def _experiment(self, name: str, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            restore = ["mlflow", "experiments", "restore", "--experiment-id", str(found.experiment_id)]
            raise PluginError(
                f"The MLflow experiment '{name}' was deleted: MLflow keeps its name, and takes no run for it",
                where=self.uri,
                fix=f"Bring it back: {URI_VARIABLE}={shlex.quote(self.uri)} {shlex.join(restore)}. Or report under "
                "another name: tracking.experiment_name.",
            )
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(name, artifact_location=artifacts))

    # -- the experiment ------------------------------------------------------------------------------------------------

    def log_experiment(self, name: str, specs: Mapping[str, Any]) -> None:
        """Keep the resolved specs as an artifact of the experiment's run, named by their digest."""
        self._asked = Asked.of(specs)
        parent = self._parent(name)
        mark = digest(specs)
        if parent.tags.get("vp.specs") == mark:
            return
        self.client.log_dict(parent.id, dict(specs), f"specs/{mark[:16]}.json")
        self._tag(parent, "vp.specs", mark)

    def _tag(self, run: _Known, name: str, value: str) -> None:
        self.client.set_tag(run.id, name, value)
        run.tags[name] = value

    def _parent(self, experiment: str) -> _Known:
        """Return the MLflow run of an experiment, made if it is not there."""
        if experiment not in self._parents:
            found = self._search(_PARENT_TAG, experiment, most=1)
            if found:
                self._parents[experiment] = found[0]
            else:
                tags = {
                    **self.tags,
                    _PARENT_TAG: experiment,
                    _EXPERIMENT_TAG: experiment,
                    "mlflow.source.name": "vpcore",
                    _NOTE: _PARENT_NOTE.format(name=experiment),
                }
                made = self.client.create_run(self.experiment_id, tags=tags, run_name=experiment)
                self._parents[experiment] = _Known(str(made.info.run_id), tags)
                self.client.set_terminated(str(made.info.run_id), "FINISHED")
        return self._parents[experiment]

    def _search(self, tag: str, value: str, most: int | None = None) -> list[_Known]:
        found: list[_Known] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], f"tags.`{tag}` = '{value}'", max_results=most or _MOST_RUNS, page_token=token
            )
            found += [_Known(str(run.info.run_id), dict(run.data.tags), set(run.data.metrics)) for run in page]
            token = page.token
            if not token or most is not None:
                return found

    # -- a run ---------------------------------------------------------------------------------------------------------

    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Report a run: settings as parameters, the figures of its best row, and of the best at every threshold."""
        least = self._asked.min_signals
        best = best_of(rows, select_metric, least)
        figures = {"n_rows": float(len(rows)), **figures_of(best)}
        leaders = by_threshold(rows, select_metric, least)
        scale = _scale(leaders)
        steps = {
            round(threshold * scale): {
                f"by_threshold/{name}": value for name, value in figures_of(row).items() if name in BY_THRESHOLD
            }
            for threshold, row in leaders.items()
        }
        params = {name: as_text(value) for name, value in sorted(settings_of(meta).items())}
        tags = {
            _PARENT_OF: self._parent(meta["experiment_name"]).id,
            "vp.best_row": best.get("row", ""),
            "vp.error": (meta.get("error") or "")[:5000],
            _NOTE: _note(meta, best, least, scale),
        }
        finished = int(meta["finished_utc"].timestamp() * 1000)
        told = digest([figures, sorted(steps.items()), params, tags, meta["status"], finished])
        run = self._child(meta)
        if run.tags.get(_TOLD_TAG) == told:
            return
        points = [(name, 0, value) for name, value in figures.items()]
        points += [(name, step, value) for step, found in steps.items() for name, value in found.items()]
        metrics, tags[_POINTS_TAG] = self._new(run, _POINTS_TAG, points, finished)
        self.client.log_inputs(run.id, datasets=[self._dataset(meta)])
        self.client.set_terminated(run.id, "FINISHED" if meta["status"] == "ok" else "FAILED", end_time=finished)
        self._batch(run, {_TOLD_TAG: told, **tags}, metrics, params)

    def log_diagnostics(self, meta: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]) -> None:
        """Report accuracy, and importance and drift of the features with the bin of each fit as the step.

        The leading features of the last fit are tags, because MLflow keeps the first value of a parameter for ever.
        """
        run = self._runs_of(meta["experiment_name"])[meta["run_id"]]
        points: list[tuple[str, int, float]] = []
        tags: dict[str, str] = {}
        for look in looks:
            place = f"tp{look['tp_ticks']:g}_sl{look['sl_ticks']:g}"
            for name in ("auc", "log_loss", "brier"):
                parts = zip(("", "_lo", "_hi"), look.get(name, ()), strict=False)
                points += [(f"{place}/{name}{part}", 0, value) for part, value in parts if value is not None]
            series = refit_series(look)
            points += [(f"{place}/{_plain(name)}", at, value) for name, found in series.items() for at, value in found]
            for kind in ("importance", "drift") if look.get("retrains") else ():
                leaders = look["retrains"][-1].get(kind, ())
                tags[f"vp.{kind}.{place}"] = ", ".join(f"{feature} {value:.2f}" for feature, value in leaders)
        told = digest([points, tags])
        if run.tags.get(_DIAGNOSED_TAG) == told:
            return
        finished = int(meta["finished_utc"].timestamp() * 1000)
        metrics, tags[_DIAGNOSED_POINTS_TAG] = self._new(run, _DIAGNOSED_POINTS_TAG, points, finished)
        self._batch(run, {_DIAGNOSED_TAG: told, **tags}, metrics)

    def _batch(
        self, run: _Known, tags: Mapping[str, str], metrics: Sequence[Any], params: Mapping[str, str] | None = None
    ) -> None:
        """Send it in few requests, the first tags in the last one: what says that the rest is there."""
        given = [self.entities.Param(name, text) for name, text in (params or {}).items()]
        said = [self.entities.RunTag(name, text) for name, text in tags.items() if text or name in run.tags]
        n = max(-(-len(items) // most) for items, most in ((metrics, _MOST_METRICS), (given, _MOST), (said, _MOST)))
        for k in reversed(range(n)):
            few = slice(k * _MOST, (k + 1) * _MOST)
            many = slice(k * _MOST_METRICS, (k + 1) * _MOST_METRICS)
            self.client.log_batch(run.id, metrics=metrics[many], params=given[few], tags=said[few])
        run.tags.update(tags)

    def _new(
        self, run: _Known, tag: str, points: Sequence[tuple[str, int, float]], finished: int
    ) -> tuple[list[Any], str]:
        """Return points (metric, step, value) as MLflow takes them, without those that it has as the last of a step.

        A metric is a history: a changed value gets a later point. The second answer is the text of `tag`, marks of the
        histories: where a mark is there already, and where a metric is not there, MLflow is not asked for a history.
        """
        by_name: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in points:
            by_name.setdefault(name, []).append((step, value))
        marks = {name: digest([name, found])[:_MARK] for name, found in by_name.items()}
        told = set(run.tags.get(tag, "").split())
        metrics = []
        for name, found in by_name.items():
            if marks[name] in told:
                continue
            history = self.client.get_metric_history(run.id, name) if name in run.metrics else []
            has = {point.step: point for point in sorted(history, key=lambda point: point.timestamp)}
            for step, value in found:
                before = has.get(step)
                if before is None or before.value != value:
                    when = finished if before is None else max(finished, before.timestamp + 1)
                    metrics.append(self.entities.Metric(name, value, when, step))
        run.metrics.update(by_name)
        return metrics, " ".join(list(marks.values())[:_MOST_MARKS])

    def _dataset(self, meta: Mapping[str, Any]) -> Any:
        """Return the dataset as MLflow shows it; its id and the digests of its sources decide every byte of it."""
        sources = json.loads(meta.get("sources_json") or "[]")
        mark = digest([meta["dataset_id"], sources])[:32]
        source = json.dumps({"dataset_id": meta["dataset_id"], "sources_sha256": sources})
        dataset = self.entities.Dataset(meta["dataset_id"], mark, "vpcore", source)
        return self.entities.DatasetInput(dataset, [self.entities.InputTag("mlflow.data.context", "evaluation")])

    def _child(self, meta: Mapping[str, Any]) -> _Known:
        """Return the MLflow run of a run, made if it is not there."""
        known = self._runs_of(meta["experiment_name"])
        if meta["run_id"] not in known:
            tags = {
                **self.tags,
                _PARENT_OF: self._parent(meta["experiment_name"]).id,
                _RUN_TAG: meta["run_id"],
                _EXPERIMENT_TAG: meta["experiment_name"],
                "vp.dataset_id": meta["dataset_id"],
                "vp.code_digest": meta["code_digest"],
                "mlflow.source.name": "vpcore",
            }
            started = int(meta["started_utc"].timestamp() * 1000)
            name = self._asked.named(meta)
            made = self.client.create_run(self.experiment_id, start_time=started, tags=tags, run_name=name)
            known[meta["run_id"]] = _Known(str(made.info.run_id), tags)
        return known[meta["run_id"]]

    def _runs_of(self, experiment: str) -> dict[str, _Known]:
        """Return the MLflow runs of an experiment by their run ids: asked for once, not at every run."""
        if experiment not in self._children:
            found = self._search(_EXPERIMENT_TAG, experiment)
            self._children[experiment] = {run.tags[_RUN_TAG]: run for run in found if _RUN_TAG in run.tags}
        return self._children[experiment]

    # -- files ---------------------------------------------------------------------------------------------------------

    def log_files(self, experiment: str, run_id: str | None, files: Mapping[str, Path]) -> None:
        """Keep files as artifacts of a run that was reported, or of the experiment's; not again if none has changed."""
        run = self._parent(experiment) if run_id is None else self._runs_of(experiment)[run_id]
        mark = digest({name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())})
        if run.tags.get(_FILES_TAG) == mark:
            return
        for name, path in sorted(files.items()):
            folder = str(PurePosixPath(name).parent)
            self.client.log_artifact(run.id, str(path), None if folder == "." else folder)
        self._tag(run, _FILES_TAG, mark)


_PARENT_NOTE = (
    "Experiment `{name}` of vpcore: its runs are below it, its resolved specs and its report (`report.html`) among "
    "the artifacts. Metrics of a run are those of its best row; those below `by_threshold/` are of the best row at "
    "each threshold."
)


def _plain(name: str) -> str:
    """Return the name of a metric in the characters that MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", name)


def _note(meta: Mapping[str, Any], best: Mapping[str, Any], least: int, scale: int) -> str:
    """Return what stands above a run's metrics: which row they are of, and how to see it."""
    more = f"`vp results show {meta['run_id']}`"
    if meta["status"] != "ok":
        return f"This run failed. {more}"
    if not best:
        return f"No row has {max(least, 1)} trades. {more}"
    words = {"threshold": "threshold", "cooldown_bins": "cooldown", "tp_ticks": "take-profit", "sl_ticks": "stop"}
    row = ", ".join(f"{word} {best[name]:g}" for name, word in words.items() if name in best)
    return f"Best row `{best['row']}`: {row}. Steps of `by_threshold/`: the threshold times {scale}. {more}"


def _scale(thresholds: Collection[float]) -> int:
    apart = (n for n in STEPS_PER_THRESHOLD if len({round(value * n) for value in thresholds}) == len(thresholds))
    return next(apart, STEPS_PER_THRESHOLD[-1])


def _adopt_artifacts(store: Path, artifacts: str) -> None:
    """Let the artifacts of a store lie beside it, after the workspace was copied or moved: MLflow keeps whole paths."""
    with contextlib.closing(sqlite3.connect(store, timeout=30)) as connection, connection:
        found = {place for (place,) in connection.execute("SELECT artifact_location FROM experiments") if place}
        for old in sorted(place for place in found if place.endswith(f"/{ARTIFACTS}") and place != artifacts):
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                connection.execute(
                    f"UPDATE {table} SET {column} = ?1 || substr({column}, length(?2) + 1) "
                    f"WHERE {column} = ?2 OR substr({column}, 1, length(?2) + 1) = ?2 || '/'",
                    (artifacts, old),
                )


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
