"""The ledger: every trial that was ever evaluated, append-only, apart from the results.

Deleting or moving results leaves it as it is, so the number of trials of a market never falls.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from vpcore.canonical import bytes_digest
from vpcore.results.frames import in_slices
from vpcore.results.parts import part_id, part_name, require_whole
from vpcore.results.schema import COMBINATION, RUNS, RUNS_META, TRIAL_KEY
from vpcore.storage import Folder

LEDGER_VERSION = 1

_META = ("experiment_name", "config_hash", "dataset_id", "sources_json", "started_utc", "finished_utc")
LEDGER: dict[str, Any] = {
    **{name: RUNS_META[name] for name in _META},
    "root": pl.String,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "settings": pl.String,
    **{name: RUNS[name] for name in TRIAL_KEY},
    "trades_digest": pl.String,
}
"""One row per trial and commit. `settings`: digest of what a row is beside its key, on whatever dataset and core code;
`root`, `start_ns`, `end_ns`: the market, null where unknown."""

_SETTINGS = tuple(name for name in COMBINATION if name not in TRIAL_KEY)
_TRIAL = ("dataset_id", "settings", *TRIAL_KEY)
_BATCH = ("experiment_name", "config_hash")
_WINDOW = ("dataset_id", "sources_json", "root", "start_ns", "end_ns")


class MarketWindow(NamedTuple):
    """The market of a dataset: root of the instrument, and time in ns since the epoch, end excluded."""

    root: str
    start_ns: int
    end_ns: int


def ledger_rows(
    meta: pl.DataFrame, runs: pl.DataFrame, windows: Mapping[str, MarketWindow] | None = None
) -> pl.DataFrame:
    """Return rows of the ledger for runs and their rows, joined by ``run_id`` and ``batch_id`` where both have it."""
    texts = meta.select(_SETTINGS).rows()
    of = {row: bytes_digest("\x1f".join(map(str, row)).encode())[:16] for row in set(texts)}
    known = windows or {}
    places = [known.get(name) for name in meta["dataset_id"]]
    about = meta.with_columns(
        pl.Series("settings", [of[row] for row in texts], dtype=pl.String),
        *(
            pl.Series(name, [None if place is None else place[i] for place in places], dtype=LEDGER[name])
            for i, name in enumerate(MarketWindow._fields)
        ),
    )
    on = [name for name in ("run_id", "batch_id") if name in meta.columns and name in runs.columns]
    joined = runs.select(*on, *TRIAL_KEY, "trades_digest").join(
        about.select(*on, *(name for name in LEDGER if name in about.columns)), on=on, how="inner"
    )
    return joined.select(pl.col(name).cast(dtype) for name, dtype in LEDGER.items())


class Ledger:
    """The stored ledger of a workspace. Any number of processes write and read it at once.

    Parameters
    ----------
    root : Path or Folder
        The directory; made when something is first stored.
    """

    def __init__(self, root: Path | Folder) -> None:
        self.folder = Folder.of(root)
        self.root = self.folder.path

    def append(self, part: str, rows: pl.DataFrame) -> None:
        """Store rows of `ledger_rows` as one part.

        Raises
        ------
        StorageError
            If writing fails.
        """
        buffer = io.BytesIO()
        rows.select(list(LEDGER)).write_parquet(buffer, compression="zstd")
        data = buffer.getvalue()
        self.folder.put(f"v{LEDGER_VERSION}/{part_name(part, data)}", data, "store the ledger")

    def files(self) -> list[Path]:
        """Return the stored parts, sorted."""
        return (self.folder / f"v{LEDGER_VERSION}").files("part-*.parquet")

    def parts(self) -> list[str]:
        """Return the names of the stored parts."""
        return [part_id(path) for path in self.files()]

    def rows(self, wanted: Collection[str] | None = None) -> pl.LazyFrame:
        """Return every stored row, or those of some parts.

        Raises
        ------
        ResultsError
            If a part changed since it was written.
        """
        parts = [path for path in self.files() if wanted is None or part_id(path) in wanted]
        require_whole(parts)
        return pl.scan_parquet(parts, glob=False, schema=LEDGER) if parts else pl.LazyFrame(schema=LEDGER)


class Trials:
    """All trials, by market: distinct trades are counted once.

    Parameters
    ----------
    rows : LazyFrame
        Rows of `LEDGER`, repeated ones too.

    Notes
    -----
    A *market* is a root and connected time: datasets of one root whose windows overlap, directly or through others. A
    dataset of an unknown window belongs to the datasets of its symbol that share a source file with it. A trial that
    was evaluated again on its dataset, under newer core code, replaces the older one. A *batch* is one resolved
    experiment; a resumed run belongs to it.
    """

    def __init__(self, rows: pl.LazyFrame) -> None:
        # By 64-bit hashes: a million rows of strings take a second to sort, and only numbers of rows are asked for.
        trial, combination = (pl.struct(names).hash() for names in (_TRIAL, _TRIAL[1:]))
        trials, batches = [], []
        for _, part in in_slices(rows):
            trials.append(
                part.select(
                    "dataset_id", "finished_utc", trial.alias("trial"), combination.alias("combination"),
                    pl.when(pl.col("trades_digest").is_not_null()).then(pl.col("trades_digest").hash()).alias("trades"),
                ).collect()
            )  # fmt: skip
            batches.append(part.group_by(*_BATCH, *_WINDOW).agg(pl.col("started_utc").min()).collect())
        kept, began = pl.concat(trials), pl.concat(batches)
        del trials
        if kept["trial"].n_unique() < kept.height:
            kept = kept.sort(pl.col("trades").is_not_null(), "finished_utc", descending=True, nulls_last=True)
            kept = kept.unique("trial", keep="first", maintain_order=True)
        self._trials = kept.select("dataset_id", "combination", trades=pl.coalesce("trades", "trial"))
        self._began = began.group_by("dataset_id", *_BATCH).agg(pl.col("started_utc").min())
        self._market = _markets(began)

    def market(self, dataset_id: str) -> list[str]:
        """Return the datasets of the same market, this one included, sorted."""
        return sorted(self._market.get(dataset_id, {dataset_id}))

    def count(self, dataset_ids: Iterable[str]) -> int:
        """Return the number of distinct trials on the markets of some datasets."""
        names = sorted({other for name in dataset_ids for other in self.market(name)})
        return self._trials.filter(pl.col("dataset_id").is_in(names))["trades"].n_unique()

    def count_joint(self, engines: Sequence[Sequence[str]]) -> int:
        """Return the number of distinct trials on several sessions.

        One combination is one trial for all datasets of an engine, which are given together.
        """
        place = {name: i for i, names in enumerate(engines) for name in names}
        own = self._trials.filter(pl.col("dataset_id").is_in(list(place))).sort("dataset_id")
        own = own.with_columns(engine=pl.col("dataset_id").replace_strict(place, return_dtype=pl.Int64))
        by = ("engine", "combination")
        together = own.group_by(by, maintain_order=True).agg(pl.col("trades").cast(pl.String))["trades"]
        others = sorted({other for name in place for other in self.market(name)} - {*place})
        rest = self._trials.filter(pl.col("dataset_id").is_in(others))["trades"]
        return together.list.join(" ").n_unique() + rest.n_unique()

    def is_first(self, experiment: str, config_hash: str, dataset_ids: Iterable[str]) -> bool:
        """Return True if nothing was evaluated on the markets of the datasets before a batch began."""
        names = sorted({other for name in dataset_ids for other in self.market(name)})
        there = self._began.filter(pl.col("dataset_id").is_in(names)).group_by(_BATCH).agg(pl.col("started_utc").min())
        if there.is_empty():
            return True
        first = there.sort("started_utc", *_BATCH).row(0, named=True)
        return (first["experiment_name"], first["config_hash"]) == (experiment, config_hash)


def _markets(rows: pl.DataFrame) -> dict[str, set[str]]:
    """Return the datasets of the market of each dataset."""
    window: dict[str, tuple[str, int, int]] = {}
    files: dict[str, set[str]] = {}
    for name, sources, root, start, end in rows.select(_WINDOW).unique().sort(_WINDOW).iter_rows():
        files.setdefault(name, set()).update(json.loads(sources or "[]"))
        if root is not None:
            window[name] = (root, start, end)
    market = {name: {name} for name in files}

    def join(one: str, other: str) -> None:
        if market[one] is not market[other]:
            merged = market[one] | market[other]
            for name in merged:
                market[name] = merged

    reached: dict[str, tuple[int, str]] = {}
    for name, (root, start, end) in sorted(window.items(), key=lambda item: item[1]):
        if root in reached and start < reached[root][0]:
            join(name, reached[root][1])
        if root not in reached or end > reached[root][0]:
            reached[root] = (end, name)
    holders: dict[tuple[str, str], list[str]] = {}
    for name, sources in files.items():
        for source in sources:
            holders.setdefault((name.partition("_")[0], source), []).append(name)
    for names in holders.values():
        for name in names:
            if name not in window:
                for other in names:
                    join(name, other)
    return market
