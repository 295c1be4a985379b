"""A text file with one line of JSON per run: for those who want to follow results with the tools they have."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpcore.canonical import canonical_json
from vpcore.errors import StorageError
from vpcore.tracker.protocol import Tracker
from vpcore.tracker.summary import Asked, best_of, by_threshold, figures_of, settings_of


class JsonlTracker(Tracker):
    """Appends runs to ``tracking/<experiment>.jsonl`` in `folder`. Parameters as in `vpcore.tracker.Tracker`.

    A run with new rows gets another line, and the last line of a run counts; a repeated line is left out. Each line is
    one write to the end of the file: several processes can report at once, and readers see whole lines.
    """

    def __init__(self, *, folder: Path, experiment_name: str, tags: Mapping[str, str]) -> None:
        super().__init__(folder=folder, experiment_name=experiment_name, tags=tags)
        self.path = folder / "tracking" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', experiment_name).strip('.')}.jsonl"
        self._said = self._read()
        self._min_signals = 0

    @classmethod
    def needs_folder(cls) -> bool:
        """Return True: the file is below `folder`."""
        return True

    def log_experiment(self, name: str, specs: Mapping[str, Any]) -> None:
        """Note the number of trades that the best row needs."""
        self._min_signals = Asked.of(specs).min_signals

    def _read(self) -> dict[str, bytes]:
        """Return the last line of every run; foreign lines are skipped."""
        said: dict[str, bytes] = {}
        if self.path.is_file():
            for line in self.path.read_bytes().split(b"\n"):
                try:
                    said[json.loads(line)["run_id"]] = line
                except (ValueError, KeyError, TypeError):
                    continue
        return said

    def log_run(self, meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], select_metric: str) -> None:
        """Append the line of a run: settings, best row, and its figures; the net PnL at every threshold.

        Raises
        ------
        StorageError
            If writing the line fails.
        """
        best = best_of(rows, select_metric, self._min_signals)
        leaders = by_threshold(rows, select_metric, self._min_signals)
        line = canonical_json(
            {
                "run_id": meta["run_id"],
                "experiment": meta["experiment_name"],
                "status": meta["status"],
                "error": meta.get("error"),
                "started_utc": meta["started_utc"].isoformat(),
                "finished_utc": meta["finished_utc"].isoformat(),
                "code_digest": meta["code_digest"],
                "settings": settings_of(meta),
                "n_rows": len(rows),
                "select_metric": select_metric,
                "best_row": best.get("row"),
                "best": figures_of(best),
                "by_threshold": [[threshold, row[select_metric]] for threshold, row in leaders.items()],
                "tags": self.tags,
            }
        )
        if self._said.get(meta["run_id"]) == line:
            return
        self._append(line + b"\n")
        self._said[meta["run_id"]] = line

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            # A line that a full disk has cut short stays as it is, and ours is not glued to it.
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            written = os.write(handle, line)
            if written != len(line):
                raise StorageError(f"{self.path} took {written} of the {len(line)} bytes of a line. Is the disk full?")
        finally:
            os.close(handle)
