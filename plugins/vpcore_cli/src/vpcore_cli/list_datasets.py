"""``vp list-datasets``: the datasets of the lake."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import VpError
from vpcore_cli.common import CsvOption, JsonOption, RootOption, emit_json, emit_table, open_workspace, say

if TYPE_CHECKING:
    from vpcore.dataset import DatasetInfo

COLUMNS = ("dataset_id", "symbol", "start_utc", "end_utc", "bins", "invalid", "valid_share", "size_mb", "created_utc")


def list_datasets(
    details: Annotated[str | None, typer.Option("--details", metavar="ID", help="The manifest of one dataset.")] = None,
    root: RootOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """List the datasets: id, symbol, span, bins, share of valid bins, size, time of creation."""
    workspace = open_workspace(root)
    if details is not None:
        emit_json(workspace.datasets.manifest(details))
        return
    rows: list[dict[str, Any]] = []
    broken: list[dict[str, Any]] = []
    for dataset_id in workspace.datasets.ids():
        try:
            rows.append(_row(workspace.datasets.info(dataset_id)))
        except (VpError, KeyError) as error:  # one damaged dataset leaves the others listed
            broken.append({"dataset_id": dataset_id, "error": str(error)})
    if not json and not csv:
        rows = [{**row, "valid_share": _below_one(row["valid_share"])} for row in rows]
    emit_table(
        rows + broken if json else rows,
        COLUMNS,
        json=json,
        csv=csv,
        empty="The lake has no dataset yet. Make one with: vp generate PIPELINE",
    )
    for one in broken:
        say(f"Warning: Dataset '{one['dataset_id']}' cannot be listed: {one['error']}")


def _row(info: DatasetInfo) -> dict[str, Any]:
    from vpcore.source.protocol import utc

    return {
        "dataset_id": info.dataset_id,
        "symbol": info.symbol,
        "start_utc": utc(info.first_ns),
        "end_utc": utc(info.last_ns),
        "bins": info.n_bins,
        "invalid": info.n_bins - info.valid_bins,
        "valid_share": info.valid_share,
        "size_mb": round(info.size_bytes / 1e6, 3),
        "created_utc": f"{info.created:%Y-%m-%d %H:%M:%S}",
    }


def _below_one(share: float) -> float:
    """Return a share for a table, rounded down: 1 means that every bin is valid."""
    return math.floor(share * 10_000) / 10_000
