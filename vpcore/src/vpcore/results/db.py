"""Read the results: lazy frames, queries, stored keys."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
from polars.exceptions import ComputeError

from vpcore.backtest.trial import Trial
from vpcore.errors import ResultsError, did_you_mean, lack_of_system, listed
from vpcore.results.frames import (
    WITH_A_ROW,
    best_first,
    coded,
    committed,
    gathered,
    key_frame,
    newest,
    of_batches,
    preferred,
    rows_that_count,
)
from vpcore.results.ledger import Ledger, MarketWindow, Trials, ledger_rows
from vpcore.results.parts import part_id, require_whole
from vpcore.results.schema import (
    CIRCUMSTANCES,
    RESULTS_VERSION,
    ROW_KEY,
    RUNS,
    RUNS_META,
    SORTABLE,
    TRIAL_KEY,
    VECTORS,
    VECTORS_AT_ONCE,
    traded,
)
from vpcore.results.writer import TABLES, meta_frame, new_batch_id, write_batch
from vpcore.storage import Folder

if TYPE_CHECKING:
    from vpcore.signal import InstalledCode

T = TypeVar("T")

_TEXTS = ("run_id", "batch_id")
_VERSION = re.compile(r"v(\d+)\Z")


@dataclass(slots=True)
class StoredRun:
    """Which trials of a run are in the store."""

    ok: set[Trial] = field(default_factory=set)
    failed: set[Trial] = field(default_factory=set)


LEAST_DIGITS = 6
"""The shortest beginning of a run's id that names it."""


class ResultsDB:
    """The results of a workspace: an append-only store that any number of processes write and read at once.

    Parameters
    ----------
    root : Path or Folder
        The directory; made when something is first stored.
    ledger : Path or Folder, optional
        Directory of the ledger; by default inside `root`.
    markets : callable, optional
        Returns the root that names the market of an instrument, by its root. By default every root is a market.
    """

    def __init__(
        self,
        root: Path | Folder,
        ledger: Path | Folder | None = None,
        *,
        markets: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.folder = Folder.of(root)
        self.root = self.folder.path
        self._markets = markets
        self.ledger = Ledger(self.folder / "ledger" if ledger is None else ledger)

    def __repr__(self) -> str:
        return f"ResultsDB({str(self.root)!r})"

    # -- parts ---------------------------------------------------------------------------------------------------------

    def parts(self, table: str) -> list[Path]:
        """Return the finished parts of ``runs`` or ``runs_meta``, all versions, sorted. Foreign files are left out.

        Raises
        ------
        ResultsError
            If a store has a newer version than this vpcore reads.
        """
        base = (self.folder / f"{table}.parquet").here()
        found: list[Path] = []
        for folder in sorted(base.iterdir()) if base.is_dir() else ():
            match = _VERSION.match(folder.name)
            if match and int(match[1]) > RESULTS_VERSION:
                raise ResultsError(
                    "The version of the results",
                    required=f"at most {RESULTS_VERSION}",
                    was=match[1],
                    where=str(folder),
                    fix="Install the vpcore that wrote them, or a newer one.",
                )
            if match:
                found += sorted(folder.glob("part-*.parquet"))
        return found

    def _scan(self, table: str) -> pl.LazyFrame:
        schema = TABLES[table]
        parts = self.parts(table)
        if not parts:
            return pl.LazyFrame(schema=schema)
        require_whole(parts)
        if table == "runs_meta":
            self._require_rows_of(parts)
        return pl.scan_parquet(parts, glob=False, missing_columns="insert", schema=schema)

    def _require_rows_of(self, commits: Sequence[Path]) -> None:
        """Refuse commits whose rows are gone. A merge by another process removes rows and commits one by one."""
        rows = {part_id(path) for path in self.parts("runs")}
        gone = [path for path in commits if part_id(path) not in rows]
        if any(path.exists() for path in gone) and not self._merged(gone):
            raise ResultsError(
                f"The rows of {len(gone)} commits of the results are gone",
                where=", ".join(str(path) for path in gone[:5]),
                fix="Restore the files of the same name in runs.parquet from a backup, or move these away and run "
                "their experiments again. See: vp doctor",
            )

    def _merged(self, commits: Sequence[Path]) -> bool:
        """Return whether a later commit holds the batches of these: a merge is under way, or was interrupted."""
        rows = {part_id(path) for path in self.parts("runs")}
        others = [path for path in self.parts("runs_meta") if part_id(path) in rows]
        held, asked = (
            {batch for path in paths for batch in pl.read_parquet(path, glob=False, columns=["batch_id"])["batch_id"]}
            for paths in (others, [path for path in commits if path.exists()])
        )
        return asked <= held

    def lost(self) -> set[tuple[str, str]]:
        """Return the batches, experiment and digest of its settings, of which the ledger has trials and the store lacks
        rows: they were deleted, or lost.
        """
        stored = self._scan("runs_meta").select("batch_id").unique().collect()["batch_id"]
        parts = set(self.ledger.parts()) - set(stored)
        if not parts:
            return set()
        runs = self._scan("runs").select("run_id", "batch_id", *TRIAL_KEY, "trades_digest").collect()
        have = ledger_rows(self._scan("runs_meta").collect(), runs).lazy()
        on = ["dataset_id", "settings", *TRIAL_KEY]
        lacking = self.ledger.rows(parts).join(have, on=on, how="anti").select("experiment_name", "config_hash")
        return set(lacking.unique().collect().rows())

    def read(self, query: Callable[[], pl.LazyFrame]) -> pl.DataFrame:
        """Build a lazy frame and collect it; once more if a part vanished meanwhile (another process compacts)."""
        return self.again(lambda: query().collect())

    @staticmethod
    def again(read: Callable[[], T]) -> T:
        """Read; once more if a part vanished meanwhile (another process compacts)."""
        try:
            return read()
        except (FileNotFoundError, ComputeError) as error:
            if isinstance(error, ComputeError) and "No such file" not in str(error):
                raise _unreadable(error) from None
        try:
            return read()
        except ComputeError as error:
            raise _unreadable(error) from None

    # -- lazy frames ---------------------------------------------------------------------------------------------------

    def runs(
        self, where_meta: pl.Expr | None = None, where_rows: pl.Expr | None = None, *, blocks: bool = True
    ) -> pl.LazyFrame:
        """Return every row once, with the columns of its run that a reader needs.

        Contains the rows of committed batches. For a repeated key an ok row beats a failed row, then the latest finish
        wins.

        Parameters
        ----------
        where_meta, where_rows : Expr, optional
            Conditions on columns of `runs_meta` and on the key of `runs`, applied before anything else is read.
        blocks : bool
            With the columns of lists, `VECTORS`, which are most of the data.
        """
        # The rows are listed before the commits: a batch that lands in between is then not seen, instead of half seen.
        rows, meta = self._scan("runs"), self._scan("runs_meta")
        if not blocks:
            rows = rows.drop(VECTORS)
        if where_rows is not None:
            rows = rows.filter(where_rows)
        return committed(rows, of_batches(meta, where_meta).collect())

    def meta(self, where: pl.Expr | None = None) -> pl.LazyFrame:
        """Return every run once: its row of `runs_meta`; ok beats failed, then the latest finish counts."""
        meta = self._scan("runs_meta")
        return newest(meta if where is None else meta.filter(where), ("run_id",))

    def batches(self, **equal: Any) -> pl.DataFrame:
        """Return the ``run_id`` and ``batch_id`` of every commit of runs with these values, as in `query_runs`."""
        where = _all(_where(equal))

        def query() -> pl.LazyFrame:
            meta = self._scan("runs_meta")
            return (meta if where is None else meta.filter(where)).select(_TEXTS).unique()

        return self.read(query)

    # -- queries -------------------------------------------------------------------------------------------------------

    def query_runs(
        self,
        *,
        keys: Collection[tuple[str, Trial]] | None = None,
        code: InstalledCode | None = None,
        stale: bool = False,
        min_signals: int = 0,
        sort: str | None = None,
        blocks: bool = False,
        columns: Sequence[str] | None = None,
        **settings: Any,
    ) -> pl.DataFrame:
        """Return rows with their settings.

        Parameters
        ----------
        keys : collection of (run id, Trial), optional
            Only these rows.
        code : InstalledCode, optional
            Only rows that this code of the core and of their signal made.
        stale : bool
            With `code`: only the other rows.
        min_signals : int
            Only rows with at least this many signals that traded.
        sort : str, optional
            One of `SORTABLE`, the best first: the highest, or the lowest of a figure that should be low; null comes
            last. By default, and for equal rows, the order of keys.
        blocks : bool
            With the columns of lists, `VECTORS`.
        columns : sequence of str, optional
            Only these beside `ROW_KEY` and ``batch_id``; texts of runs as `pl.Enum`. A million rows take 100 MB.
        **settings
            Only rows of runs with these values in `runs_meta`, such as ``signal_name="erd"`` or
            ``run_id=["...", "..."]``; None allows any. ``status`` is ``"ok"`` by default.

        Returns
        -------
        DataFrame
            The columns of `runs`, and the settings among those in `runs_meta`.

        Raises
        ------
        ResultsError
            If `sort` or a setting is unknown.
        """
        if sort is not None and sort not in SORTABLE:
            raise ResultsError(
                f"Rows cannot be sorted by '{sort}'",
                fix=f"{did_you_mean(sort, SORTABLE)} Figures: {listed(SORTABLE)}.",
            )
        status = settings.pop("status", "ok")  # of a row's latest batch, so it is compared after the batches are
        if keys is not None:
            settings.setdefault("run_id", sorted({run for run, _ in keys}))
        conditions = _where(settings)
        of_runs = _all(_where({name: value for name, value in settings.items() if name == "run_id"}))
        if code is not None:
            own = pl.col("signal_name").replace_strict(dict(code.signals), default="", return_dtype=pl.String)
            made = (own == pl.col("code_digest")) & pl.col("core_digest").eq_missing(code.core)
            conditions.append(made != stale)

        def query() -> pl.DataFrame:
            scan, meta = self._scan("runs"), self._scan("runs_meta")  # in this order: see `runs`
            if of_runs is not None:
                scan = scan.filter(of_runs)
            made_by = preferred(of_batches(meta, _all(conditions)), "run_id").collect()
            wanted = None if keys is None else key_frame(ROW_KEY, [(run, *trial) for run, trial in keys])
            numbers = [name for name in columns or () if name in RUNS and RUNS[name].is_numeric()]
            deciding = dict.fromkeys(["n_signals", "n_dropped", *([] if sort is None else [sort]), *numbers])
            found = rows_that_count(scan, made_by, list(deciding), wanted)
            if status is not None:
                found = found.filter((made_by["status"] == status)[found["_made_by"]])
            if min_signals > 0:
                found = found.filter(traded(min_signals))
            if sort is not None:
                found = best_first(found, sort)
            if columns is None:
                names = [name for name in RUNS if blocks or name not in VECTORS] + list(WITH_A_ROW)
            else:
                made_by = made_by.with_columns(map(coded, made_by.get_columns()))
                names = list(dict.fromkeys((*ROW_KEY, "batch_id", *columns)))
            of_run = {name: made_by[name][found["_made_by"]] for name in names if name in made_by.columns}
            rest = scan.select(name for name in names if name not in of_run and name not in found.columns).collect()
            more = gathered(rest, found["_row"])
            return pl.DataFrame(
                [of_run[name] if name in of_run else (found if name in found.columns else more)[name] for name in names]
            )

        return self.again(query)

    def with_vectors(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows of `query_runs` with their columns of lists, `VECTORS`.

        Raises
        ------
        ResultsError
            If the store lacks one of them.
        """
        parts = [pl.DataFrame(schema={"_at": pl.UInt32, **{name: RUNS[name] for name in VECTORS}})]
        self.each_vectors(rows, VECTORS, parts.append)
        found = pl.concat(parts).unique("_at", keep="any").sort("_at")
        return rows.hstack(found.select(VECTORS))

    def whole(self, rows: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return rows of `query_runs` with all that it returns by default, or with other `columns`, in the same order.

        Raises
        ------
        ResultsError
            If the store lacks one of them.
        """
        on = [*ROW_KEY, "batch_id"]
        keys = _as_texts(rows.select(on))
        runs, batches = (keys[name].unique().to_list() for name in _TEXTS)
        found = _as_texts(self.query_runs(run_id=runs, batch_id=batches, status=None, columns=columns))
        at = found.select(on).with_row_index("_at")
        places = keys.join(at, on=on, how="left", maintain_order="left")["_at"]
        self._require_all(places.null_count())
        return gathered(found, places)

    def _require_all(self, n_gone: int) -> None:
        if n_gone:
            raise ResultsError(
                f"{n_gone} rows were removed while they were read", where=str(self.root), fix="Try again."
            )

    def each_vectors(self, rows: pl.DataFrame, columns: Sequence[str], take: Callable[[pl.DataFrame], object]) -> None:
        """Read the vectors of rows in parts, in the order of the store.

        Parameters
        ----------
        rows : DataFrame
            With the columns of `ROW_KEY` and ``batch_id``.
        columns : sequence of str
            Of `VECTORS`.
        take : callable
            Called with frames of at most `VECTORS_AT_ONCE` rows: ``_at``, the place in `rows`, and `columns`. A row may
            come twice, with equal values.

        Raises
        ------
        ResultsError
            If the store lacks one of them.
        """
        on = [*ROW_KEY, "batch_id"]
        places = rows.select(on).with_row_index("_at").sort("run_id")
        runs = places["run_id"].rle().struct.unnest()
        lengths = runs["len"].to_list()
        starts = itertools.accumulate(lengths, initial=0)
        slices = dict(zip(runs["value"].to_list(), zip(starts, lengths, strict=False), strict=True))
        of_runs = pl.col("run_id").is_in(list(slices))

        def query() -> None:
            seen = np.zeros(rows.height, dtype=bool)
            paths = self.parts("runs")
            require_whole(paths)
            for path in paths:
                scan = pl.scan_parquet([path], glob=False, missing_columns="insert", schema=TABLES["runs"])
                stored = scan.select(on).with_row_index("_row").filter(of_runs).collect()
                mine = [places.slice(*slices[run]) for run in stored["run_id"].unique()]
                if not mine:
                    continue
                wanted = stored.join(_as_texts(pl.concat(mine)), on=on, how="inner").sort("_row")
                for (first,), some in wanted.group_by(pl.col("_row") // VECTORS_AT_ONCE, maintain_order=True):
                    start = int(first) * VECTORS_AT_ONCE
                    vectors = scan.select(columns).slice(start, VECTORS_AT_ONCE).collect()
                    take(some.select("_at").hstack(vectors[some["_row"] - start]))
                    seen[some["_at"].to_numpy()] = True
            self._require_all(int(np.count_nonzero(~seen)))

        self.again(query)

    def query_best(
        self, metric: str = "net_pnl_ticks", *, min_signals: int = 5, limit: int = 10, **filters: Any
    ) -> pl.DataFrame:
        """Return the best rows by a figure; `filters` as in `query_runs`. The best of many may be luck.

        Raises
        ------
        ResultsError
            If `metric` or a filter is unknown.
        """
        return self.whole(self.query_runs(sort=metric, min_signals=min_signals, columns=(), **filters).head(limit))

    def query_meta(self, **equal: Any) -> pl.DataFrame:
        """Return runs, sorted by id, with these values in `runs_meta`, as in `query_runs`."""
        return self.read(lambda: self.meta(_all(_where(equal))).sort("run_id"))

    def find_run(self, run_id: str) -> dict[str, Any]:
        """Return the row of `runs_meta` of a run, named by its id or an unambiguous prefix.

        Raises
        ------
        ResultsError
            If zero or several runs match, or the prefix is too short.
        """
        found = self.read(lambda: self.meta(pl.col("run_id").str.starts_with(run_id)).sort("run_id"))
        if len(found) == 1 and len(run_id) < LEAST_DIGITS and run_id != found["run_id"][0]:
            raise ResultsError(
                "The name of a run",
                required=f"its id, or at least the first {LEAST_DIGITS} digits of it",
                was=f"'{run_id}'",
                fix="A shorter name may become ambiguous with the next experiment. Tables show 8 digits: vp compare",
            )
        if len(found) == 1:
            return found.row(0, named=True)
        if len(found) > 1:
            raise ResultsError(
                f"'{run_id}' begins {len(found)} run ids: {listed(found['run_id'].head(5))}", fix="Write more digits."
            )
        of_row = self.read(
            lambda: self.runs(blocks=False).select("run_id", "row").filter(pl.col("row").str.starts_with(run_id))
        )
        if len(of_row) == 1:
            owner, row = of_row.row(0)
            raise ResultsError(f"'{run_id}' is row {row} of run {owner}, not a run", fix=f"Name the run: {owner[:8]}.")
        known = self.read(lambda: self.meta().select("run_id"))["run_id"].to_list()
        raise ResultsError(
            f"No run is called '{run_id}'",
            fix=f"{did_you_mean(run_id, known)} {len(known)} runs are stored; see: vp compare",
        )

    def find_row(self, name: str) -> dict[str, Any]:
        """Return a row of `query_runs`, given its short name or an unambiguous beginning of it.

        Raises
        ------
        ResultsError
            If no row or several rows match; the message lists up to ten.
        """
        rows = self.query_runs(columns=("row",))
        found = rows.filter(pl.col("row").str.starts_with(name)) if name else rows.clear()
        if found.height == 1:
            return self.whole(found).row(0, named=True)
        if found.height:
            names = listed(found["row"].head(10))
            raise ResultsError(f"More than one row is called '{name}'", fix=f"Rows: {names}. Write more of the name.")
        near = did_you_mean(name, rows["row"].to_list())
        raise ResultsError(f"No stored row is called '{name}'", fix=f"{near} The rows: vp compare".strip())

    def find_rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return rows of `query_runs`, given their full short names, in the order of the names.

        Raises
        ------
        ResultsError
            If a name belongs to no row or to several.
        """
        rows = self.query_runs(columns=("row",)).filter(pl.col("row").is_in(list(names)))
        if rows.height != len(names) or rows["row"].n_unique() != len(names):
            return [self.find_row(name) for name in names]  # says which
        places = pl.DataFrame({"row": names}, {"row": pl.String}).join(rows, on="row", maintain_order="left")
        return self.whole(places).to_dicts()

    def stored(self, run_ids: Iterable[str]) -> dict[str, StoredRun]:
        """Return the stored trials of the given runs, by run; only runs with stored trials appear.

        Trials that failed because the system lacked disk, memory or descriptors count as not stored: they may pass now.
        """
        wanted = sorted(set(run_ids))
        found: dict[str, StoredRun] = {}
        if not wanted:
            return found
        condition = pl.col("run_id").is_in(wanted)
        frame = self.read(lambda: self.runs(condition, condition, blocks=False).select(*ROW_KEY, "status", "error"))
        for run, *key, status, error in frame.iter_rows():
            if status != "ok" and lack_of_system(error):
                continue
            trials = found.setdefault(run, StoredRun())
            (trials.ok if status == "ok" else trials.failed).add(Trial(*key))
        return found

    def trials(self) -> Trials:
        """Return every trial ever evaluated: those of the ledger, and those of stored rows that it lacks."""
        return self.again(lambda: Trials(self._trial_rows()))

    def trial_rows(self) -> pl.DataFrame:
        """Return the rows of `vpcore.results.ledger.LEDGER` behind `trials`."""
        return self.read(self._trial_rows)

    def _trial_rows(self) -> pl.LazyFrame:
        found = self.ledger.rows()
        runs, meta = self._scan("runs"), self._scan("runs_meta")
        lacking = meta.filter(~pl.col("batch_id").is_in(self.ledger.parts())).collect()
        if lacking.height:
            stored = runs.filter(pl.col("batch_id").is_in(lacking["batch_id"].unique().to_list()))
            rows = stored.select("run_id", "batch_id", *TRIAL_KEY, "trades_digest").collect()
            found = pl.concat([found, ledger_rows(lacking, rows).lazy()])
        # Rows keep the root of their instrument: a price group holds for what was stored before it too.
        others = {root: market for root, market in self._markets().items() if root != market}
        return found.with_columns(pl.col("root").replace(others)) if others else found

    # -- canonical read ------------------------------------------------------------------------------------------------

    def canonical(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return ``(runs, runs_meta)`` in canonical form: each key once, sorted, without host and times."""
        runs = self.read(lambda: self.runs().select(name for name in RUNS if name not in CIRCUMSTANCES).sort(ROW_KEY))
        meta = self.read(
            lambda: self.meta().select(name for name in RUNS_META if name not in CIRCUMSTANCES).sort("run_id")
        )
        return runs, meta

    def canonical_bytes(self) -> bytes:
        """Return the canonical read as bytes, for comparisons."""
        return b"\0".join(frame.write_ndjson().encode() for frame in self.canonical())

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(
        self,
        meta: Sequence[Mapping[str, Any]],
        runs: pl.DataFrame,
        windows: Mapping[str, MarketWindow] | None = None,
    ) -> str:
        """Append a batch and return its id; see `vpcore.results.writer.write_batch`.

        The ledger gets its rows first: a crash in between leaves trials that are evaluated again. `windows` has the
        markets of the datasets, as far as they are known.
        """
        frame, batch_id = meta_frame(meta, runs), new_batch_id()
        self.ledger.append(batch_id, ledger_rows(frame, runs, windows))
        return write_batch(self.folder, frame, runs, batch_id)


def _as_texts(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col(_TEXTS).cast(pl.String))


def _unreadable(error: ComputeError) -> ResultsError:
    text = " ".join(str(error).split())
    return ResultsError(f"The results cannot be read: {text[:200]}", fix="See which file it is: vp doctor")


def _where(settings: Mapping[str, Any]) -> list[pl.Expr]:
    """Return the conditions on columns of `runs_meta`: equal to a value, or to one of several. None allows any."""
    for name in settings:
        if name not in RUNS_META:
            raise ResultsError(
                f"A run has no column '{name}'", fix=f"{did_you_mean(name, RUNS_META)} Columns: {listed(RUNS_META)}."
            )
    return [
        pl.col(name) == value
        if isinstance(value, str) or not isinstance(value, Collection)
        else pl.col(name).is_in(list(value))
        for name, value in settings.items()
        if value is not None
    ]


def _all(conditions: Sequence[pl.Expr]) -> pl.Expr | None:
    return pl.all_horizontal(conditions) if conditions else None
