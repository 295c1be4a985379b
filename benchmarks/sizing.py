"""A year of ES and NQ on 1, 10 and 100 workers: CPU, disk, traffic and wall time, from measured unit costs.

    python benchmarks/sizing.py        the table, from the unit costs below
    python benchmarks/sizing.py --measure FILE::SYMBOL::DATE::START::END
                                       unit costs of this machine: CPU seconds, bytes

Prints Markdown; docs/background/sizing.md quotes it. The simulation hands out tasks as `vp run` and Dask do: tasks of
one dataset together, each to the next free worker. A worker reads the columns of a dataset that are new to it.
"""

from __future__ import annotations

import argparse
import heapq
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

RUNS_PER_TASK = 16
TASKS_PER_WORKER = 4


@dataclass(frozen=True)
class Costs:
    """Unit costs: CPU seconds of one core, and bytes."""

    record_cpu_s: float = 0.16e-6  # decompress, decode, engine, per record
    bin_cpu_s: float = 53e-6  # frames of 101 cells, Parquet, checksums, per bin of 100 ms
    raw_bytes: float = 14.5  # .dbn.zst, per record
    grid_bytes: float = 4650.0  # Parquet, all columns, per bin
    column_bytes: float = 179.0  # Parquet, one grid column, per bin
    cached_bytes: float = 404.0  # one column in the cache, 101 float32, per bin
    column_cpu_s: float = 4.1e-6  # read, check and decompress a column, per bin
    run_cpu_s: float = 3.8e-6  # values, proof on a prefix and rows of a run, per bin
    row_cpu_s: float = 3.6e-3  # one row more of a run
    row_bytes: float = 1380.0  # parts of results and ledger, per row
    commit_cpu_s: float = 0.11e-3  # the parent's work per row: frames, parts, progress
    rank_cpu_s: float = 0.175e-3  # `vp compare`, per row


@dataclass(frozen=True)
class Plan:
    """The work: a year of two futures, and one sweep over it."""

    sessions: int = 500
    hours: float = 23.0
    records: float = 10e9
    columns: int = 4
    runs_per_session: int = 64
    rows_per_run: int = 12
    worker_bytes_s: float = 60e6  # one worker's connection to the object store
    store_bytes_s: float = 5e9  # all connections together
    seed: int = 1


@dataclass
class Outcome:
    """What a number of workers takes."""

    workers: int
    generate_h: float
    sweep_h: float
    parent_h: float
    rank_s: float
    moved: float


def sizes(plan: Plan) -> list[float]:
    """Return records per session: log-normal around the mean, as volume is from day to day."""
    random_of = random.Random(plan.seed)
    weights = [random_of.lognormvariate(0, 0.5) for _ in range(plan.sessions)]
    return [plan.records * weight / sum(weights) for weight in weights]


def spread(tasks: list[tuple[float, float]], workers: int, plan: Plan) -> float:
    """Return the end of the last task, s: each (CPU, bytes) goes to the worker that is free first."""
    rate = min(plan.worker_bytes_s, plan.store_bytes_s / min(workers, len(tasks)))
    free = [0.0] * workers
    end = 0.0
    for cpu, size in tasks:
        done = heapq.heappop(free) + cpu + size / rate
        heapq.heappush(free, done)
        end = max(end, done)
    return end


def simulate(plan: Plan, costs: Costs, workers: int) -> Outcome:
    """Return what the year takes on a number of workers."""
    bins = plan.hours * 36_000
    grid = bins * costs.grid_bytes
    generate = [(n * costs.record_cpu_s + bins * costs.bin_cpu_s, n * costs.raw_bytes + grid) for n in sizes(plan)]
    moved = sum(size for _, size in generate)
    runs = plan.sessions * plan.runs_per_session
    portion = max(1, min(RUNS_PER_TASK, runs // (TASKS_PER_WORKER * workers)))
    rate = min(plan.worker_bytes_s, plan.store_bytes_s / workers)
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    known: list[set[int]] = [set() for _ in range(workers)]
    finished = []
    per_run = bins * costs.run_cpu_s + plan.rows_per_run * costs.row_cpu_s
    for session in range(plan.sessions):
        left = plan.runs_per_session
        while left:
            size = min(portion, left)
            left -= size
            start, worker = heapq.heappop(free)
            took = size * per_run
            if session not in known[worker]:
                known[worker] = {session}  # the next dataset pushes this one out, so that the cache stays small
                read = plan.columns * bins * costs.column_bytes
                moved += read
                took += read / rate + plan.columns * bins * costs.column_cpu_s
            heapq.heappush(free, (start + took, worker))
            finished.append((start + took, size * plan.rows_per_run))
    # The parent stores rows as they arrive, one batch after the other.
    now = 0.0
    for at, rows in sorted(finished):
        now = max(now, at) + rows * costs.commit_cpu_s
    rows = runs * plan.rows_per_run
    return Outcome(
        workers,
        spread(generate, workers, plan) / 3600,
        now / 3600,
        rows * costs.commit_cpu_s / 3600,
        rows * costs.rank_cpu_s,
        moved + rows * costs.row_bytes,
    )


def tables(plan: Plan, costs: Costs) -> str:
    """Return the tables of the page as Markdown."""
    bins = plan.sessions * plan.hours * 36_000
    rows = plan.sessions * plan.runs_per_session * plan.rows_per_run
    run = plan.sessions * plan.runs_per_session
    lines = [
        "| what | amount |",
        "|---|---|",
        f"| records, bins of 100 ms | {plan.records / 1e9:,.0f} billion, {bins / 1e6:,.0f} million |",
        f"| source files, .dbn.zst | {plan.records * costs.raw_bytes / 1e9:,.0f} GB |",
        f"| datasets, all columns | {bins * costs.grid_bytes / 1e9:,.0f} GB |",
        f"| a column of the year in a cache, uncompressed | {bins * costs.cached_bytes / 1e9:,.0f} GB |",
        f"| results and ledger of {rows:,} rows | {rows * costs.row_bytes / 1e9:,.1f} GB |",
        f"| CPU: generate | {(plan.records * costs.record_cpu_s + bins * costs.bin_cpu_s) / 3600:,.1f} h |",
        f"| CPU: one sweep of {run:,} runs | "
        f"{(plan.runs_per_session * bins * costs.run_cpu_s + rows * costs.row_cpu_s) / 3600:,.1f} h |",
        "",
        "| workers | generate | sweep | of it the parent alone | rank | moved | speed-up of the sweep |",
        "|---|---|---|---|---|---|---|",
    ]
    one = simulate(plan, costs, 1)
    for workers in (1, 10, 100, 1000):
        found = simulate(plan, costs, workers)
        lines.append(
            f"| {workers:,} | {found.generate_h:,.2f} h | {found.sweep_h:,.2f} h | {found.parent_h:,.2f} h | "
            f"{found.rank_s:,.0f} s | {found.moved / 1e9:,.0f} GB | {one.sweep_h / found.sweep_h:,.1f} |"
        )
    return "\n".join(lines)


# -- unit costs --------------------------------------------------------------------------------------------------------


def measure(files: list[tuple[Path, str, str, str, str]]) -> dict[str, dict[str, float]]:
    """Return unit costs by file: path, symbol, date, start and end of the window in New York."""
    found = {}
    for path, symbol, date, start, end in files:
        folder = Path(tempfile.mkdtemp(prefix="sizing-"))
        try:
            found[path.name] = _measured(folder, path, symbol, date, start, end)
        finally:
            shutil.rmtree(folder)
    return found


def _cpu(work: Any) -> tuple[float, Any]:
    began = time.process_time()
    answer = work()
    return time.process_time() - began, answer


def _measured(folder: Path, path: Path, symbol: str, date: str, start: str, end: str) -> dict[str, float]:
    from vpcore import Workspace, generate
    from vpcore.dataset.cache import ColumnCache
    from vpcore.dataset.manifest import GRID_FILE
    from vpcore.engine import Engine  # noqa: F401  compiled before the clock runs
    from vpcore.experiment.run import run_experiment
    from vpcore_dbn.header import read_header
    from vpcore_dbn.records import RecordReader

    ws, _ = Workspace.create(folder / "ws")
    shutil.copyfile(path, ws.raw / path.name)
    for name in ("warm", "p"):
        (ws.configs / "pipelines" / f"{name}.yaml").write_text(
            f"name: {name}\ncapture: {{symbol: {symbol}, date: {date}, start_time: '{start}', end_time: '{end}', "
            "timezone: America/New_York}\n"
        )
    generate(ws, "warm")
    reader = RecordReader(read_header(path))
    records = sum(len(part) for part in reader)
    reader.close()
    generating, dataset = _cpu(lambda: generate(ws, "p"))
    grid = ws.datasets.path(dataset.dataset_id) / GRID_FILE
    column, _ = _cpu(lambda: ColumnCache(folder / "cache", "x").get_or_make("v_add", lambda: dataset["v_add"]))
    import pyarrow.parquet as pq

    meta = pq.ParquetFile(grid).metadata
    sizes_of: dict[str, int] = {}
    for group in range(meta.num_row_groups):
        for i in range(meta.num_columns):
            chunk = meta.row_group(group).column(i)
            sizes_of[chunk.path_in_schema] = sizes_of.get(chunk.path_in_schema, 0) + chunk.total_compressed_size
    stored = [size for name, size in sizes_of.items() if name in dataset.grid_columns]
    (ws.configs / "serving" / "s.yaml").write_text("name: s\npipeline: p\nsignal: {name: msd}\n")
    axes = (
        "ads: {zscore_window: [100, 150, 200, 250]}, msd: {band_ticks: [3, 5, 8, 10]}, erd: {zscore_window: [50, 90]}"
    )
    rules = "tp_ticks: [4, 8], sl_ticks: [4, 8], cooldown_bins: [20], fee_ticks: 0"
    many = ", ".join(f"0.{i:02d}" for i in range(5, 95))
    rows, cpu = {}, {}
    for name, thresholds in (("first", "0.3"), ("few", "0.2, 0.4, 0.6"), ("many", many)):
        (ws.configs / "experiments" / f"{name}.yaml").write_text(
            f"name: {name}\nserving: s\nsignals: [ads, msd, erd]\neval: {{{rules}, thresholds: [{thresholds}]}}\n"
            f"sweep: {{per_signal: {{{axes}}}}}\nparallel: {{executor: serial}}\n"
        )
        began = time.process_time()
        report = run_experiment(ws, name)
        cpu[name], rows[name] = time.process_time() - began, report.n_computed
    runs = 10
    row = max(0.0, (cpu["many"] - cpu["few"]) / (rows["many"] - rows["few"]))
    stored_bytes = sum(file.stat().st_size for file in (ws.results_dir.parent).rglob("part-*.parquet"))
    from vpcore import leaderboard

    ranking, _ = _cpu(lambda: leaderboard(ws, "many"))
    return {
        "records": records,
        "bins": dataset.n_bins,
        "generate_cpu_s": generating,
        "raw_bytes_per_record": path.stat().st_size / records,
        "grid_bytes_per_bin": grid.stat().st_size / dataset.n_bins,
        "column_bytes_per_bin": sum(stored) / len(stored) / dataset.n_bins,
        "column_cpu_s_per_bin": column / dataset.n_bins,
        "run_cpu_s_per_bin": (cpu["few"] - rows["few"] * row) / runs / dataset.n_bins,
        "row_cpu_s": row,
        "row_bytes": stored_bytes / sum(rows.values()),
        "rank_cpu_s_per_row": ranking / rows["many"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", metavar="WINDOW", help="measure unit costs on windows of DBN files")
    options = parser.parse_args()
    if options.measure:
        windows = []
        for text in options.measure:
            name, symbol, date, start, end = text.split("::")
            windows.append((Path(name), symbol, date, start, end))
        for name, costs in measure(windows).items():
            print(f"\n{name}")
            for what, value in costs.items():
                print(f"  {what:24} {value:,.6g}")
        return
    print(tables(Plan(), Costs()))
    print(
        "\n" + ", ".join(f"{field.name} {getattr(Costs(), field.name):g}" for field in fields(Costs)), file=sys.stderr
    )


if __name__ == "__main__":
    main()
