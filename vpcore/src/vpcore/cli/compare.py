"""``vp compare``: the stored rows, ranked, with what is needed to doubt them."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.cli.common import CsvOption, JsonOption, RootOption

if TYPE_CHECKING:
    import polars as pl

    from vpcore.workspace import Workspace

EXPORTED = (
    "row", "run_id", "signal", "dataset_id", "varied", "threshold", "cooldown_bins", "tp_ticks", "sl_ticks", "trades",
    "tp_rate", "tp_rate_lo", "tp_rate_hi", "n_eff", "timeout_rate", "tp_resolved", "tp_resolved_lo", "tp_resolved_hi",
    "breakeven_rate", "driftless_rate", "net_pnl_ticks", "mean_pnl_ticks", "events_per_hour", "sl_rate", "tie_rate",
    "median_time_to_outcome_ms", "max_concurrent", "n_signals", "n_up", "n_down", "n_dropped", "experiment_name",
    "code_digest",
)  # fmt: skip
"""Columns of a CSV."""

TABLE = (
    "row", "run", "signal", "threshold", "cooldown", "tp", "sl", "trades", "n_eff", "tp_rate", "95 %", "timeouts",
    "resolved", "resolved 95 %", "breakeven", "driftless", "net", "mean", "per_hour", "varied",
)  # fmt: skip
"""Columns for people; JSON and CSV have the names of the store."""


def compare(
    experiment: Annotated[str | None, typer.Argument(help="Only the rows that this experiment asks for.")] = None,
    signal: Annotated[str | None, typer.Option("--signal", help="Only rows of this signal.")] = None,
    dataset_id: Annotated[str | None, typer.Option("--dataset-id", help="Only rows of this dataset.")] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", help="Figure to rank by. [default: the experiment's, else net_pnl_ticks]"),
    ] = None,
    min_signals: Annotated[
        int | None,
        typer.Option("--min-signals", min=0, help="Least number of trades. [default: the experiment's, else 5]"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 20,
    stale: Annotated[bool, typer.Option("--stale", help="The rows of signals whose code was another.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Rank the stored rows of the current code, with interval, break-even rate and number of trades."""
    from vpcore.cli.common import open_workspace
    from vpcore.generate import find_dataset
    from vpcore.sweep import harness_config, plan_experiment

    workspace = open_workspace(root)
    filters: dict[str, Any] = {"signal": signal}
    if dataset_id is not None:
        filters["dataset_id"] = find_dataset(workspace, dataset_id)
    if experiment is not None:
        config = harness_config(workspace, experiment)
        sort, min_signals = sort or config.select_metric, config.min_signals if min_signals is None else min_signals
        if stale:
            filters |= {"experiment": config.name, "code_digests": current_code(workspace), "stale": True}
        else:
            plan = plan_experiment(workspace, config)
            filters["keys"] = [(run.run_id, trial) for run in plan.runs for trial in run.trials] if plan else []
    else:
        filters |= {"code_digests": current_code(workspace), "stale": stale}
    show(
        workspace,
        filters,
        sort=sort or "net_pnl_ticks",
        min_signals=5 if min_signals is None else min_signals,
        limit=limit,
        json=json,
        csv=csv,
        again=f" vp run {experiment}" if experiment else " vp run EXPERIMENT",
    )


def current_code(workspace: Workspace) -> dict[str, str]:
    """Return the code digest of every signal that loads."""
    from vpcore.signal import code_digest

    return {
        registered.component.name: code_digest(cls)
        for registered, cls, _ in workspace.plugins.resolve("signal")
        if cls is not None
    }


def show(
    workspace: Workspace,
    filters: Mapping[str, Any],
    *,
    sort: str,
    min_signals: int,
    limit: int,
    json: bool = False,
    csv: bool = False,
    again: str = "",
) -> None:
    """Print the ranked rows of a query, and say what they do not tell."""
    from vpcore.cli.common import emit_json, emit_table, say

    results = workspace.results
    found = results.query_runs(sort=sort, **filters)
    enough = found.filter(found["n_signals"] - found["n_dropped"] >= min_signals)
    rows = ranked(enough.head(limit), enough)
    few = found.height - enough.height
    trials = {name: results.count_trials(name) for name in sorted(set(found["dataset_id"].to_list()))}
    if json:
        emit_json(
            {
                "sort": sort,
                "min_signals": min_signals,
                "rows": rows,
                "n_rows": enough.height,
                "n_too_few_trades": few,
                "n_trials": trials,
                "statistics_against_luck": None,
            }
        )
        return
    empty = f"No row has {min_signals} trades." if found.height else f"There are no such rows. Make some with:{again}"
    if csv:
        emit_table(rows, EXPORTED, csv=True, empty=empty)
        return
    emit_table(for_people(rows, sort), people_columns(sort), title=f"By {sort}", empty=empty)
    if not rows:
        return
    say(caution(enough.height, len(rows), few, min_signals, trials))


def people_columns(sort: str) -> tuple[str, ...]:
    """Return the columns of the table, with the figure it is sorted by, if that is another one."""
    shown = {"net_pnl_ticks", "mean_pnl_ticks", "tp_rate", "n_eff", "timeout_rate", "breakeven_rate", "driftless_rate"}
    return TABLE if sort in shown | {"threshold", "events_per_hour"} else (*TABLE[:-1], sort, TABLE[-1])


def for_people(rows: Sequence[Mapping[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Return rows of `ranked` under short names, rounded, the interval in one cell."""

    def rounded(value: float | None, digits: int) -> float | None:
        return None if value is None else round(value, digits)

    def interval(lo: float | None, hi: float | None) -> str | None:
        return None if lo is None or hi is None else f"{lo:.3f}-{hi:.3f}"

    return [
        {
            sort: row[sort],
            "row": row["row"],
            "run": row["run_id"][:8],
            "signal": row["signal"],
            "threshold": row["threshold"],
            "cooldown": row["cooldown_bins"],
            "tp": row["tp_ticks"],
            "sl": row["sl_ticks"],
            "trades": row["trades"],
            "n_eff": rounded(row["n_eff"], 1),
            "tp_rate": rounded(row["tp_rate"], 3),
            "95 %": interval(row["tp_rate_lo"], row["tp_rate_hi"]),
            "timeouts": rounded(row["timeout_rate"], 3),
            "resolved": rounded(row["tp_resolved"], 3),
            "resolved 95 %": interval(row["tp_resolved_lo"], row["tp_resolved_hi"]),
            "breakeven": rounded(row["breakeven_rate"], 3),
            "driftless": rounded(row["driftless_rate"], 3),
            "net": rounded(row["net_pnl_ticks"], 3),
            "mean": rounded(row["mean_pnl_ticks"], 3),
            "per_hour": rounded(row["events_per_hour"], 1),
            "varied": row["varied"],
        }
        for row in rows
    ]


def caution(n_rows: int, n_shown: int, n_few: int, min_signals: int, trials: Mapping[str, int]) -> str:
    """Return what a reader of a ranking must know."""
    fewer = f"; {n_few} rows have fewer." if n_few else "."
    lines = [f"{n_shown} of {n_rows} rows with at least {min_signals} trades{fewer}"]
    for name, count in trials.items():
        lines.append(f"{count} combinations were tried on {name}: the best of them is partly luck.")
    lines.append(
        "Figures against luck (p-values, deflated Sharpe ratio) are not available yet. tp_rate is of all trades; "
        "'resolved' is of those that reached a barrier, and so are breakeven and driftless: hold its interval against "
        "them. The intervals take trades as independent; n_eff says how many they are worth. net is what a trade pays, "
        "mean the same trades from mid to mid without costs; both in ticks."
    )
    return "\n".join(lines)


def ranked(rows: pl.DataFrame, among: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as they are shown: with trades, parsed settings, and which settings vary among the runs of a signal.

    Parameters
    ----------
    rows, among : DataFrame
        Rows of `ResultsDB.query_runs`: those to return, and those among which settings may vary.
    """
    from vpcore.evaluation import wilson

    seen: dict[tuple[str, str], set[str]] = {}
    for row in among.unique("run_id", keep="any").to_dicts():
        for name, value in _settings(row).items():
            seen.setdefault((row["signal_name"], name), set()).add(_short(value))
    result = []
    for row in rows.to_dicts():
        varied = {name: v for name, v in _settings(row).items() if len(seen.get((row["signal_name"], name), ())) > 1}
        trades = None if row["n_signals"] is None else row["n_signals"] - row["n_dropped"]
        hits = round(row["tp_rate"] * trades) if trades else 0
        resolved = hits + round(row["sl_rate"] * trades) if trades else 0
        lo, hi = (float(bound) for bound in wilson(hits, resolved))
        result.append(
            {
                **{name: v for name, v in row.items() if not name.endswith("_json") and name != "block_pnl_ticks"},
                "signal": row["signal_name"],
                "varied": " ".join(f"{name}={_short(value)}" for name, value in varied.items()),
                "trades": trades,
                "tp_resolved": hits / resolved if resolved else None,
                "tp_resolved_lo": lo if resolved else None,
                "tp_resolved_hi": hi if resolved else None,
                "signal_params": json_module.loads(row["signal_params_json"]),
                "scoring": json_module.loads(row["scoring_json"]) if row["scoring_json"] else None,
                "eval": json_module.loads(row["eval_json"]),
                "finished_utc": row["finished_utc"].isoformat(),
            }
        )
    return result


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column in ("signal_params_json", "scoring_json", "eval_json"):
        found |= json_module.loads(row[column] or "{}")
    return found


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, separators=(",", ":"))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)
