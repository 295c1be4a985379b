"""``vp audit``: check a row for look-ahead, and its sensitivity to delays and fees."""

from __future__ import annotations

from typing import Annotated

import typer

from vpcore_cli.common import JsonOption, RootOption, emit_json, emit_table, fail, open_workspace, progress, say


def audit(
    target: Annotated[
        str, typer.Argument(metavar="EXPERIMENT|RUN|ROW", help="An experiment, or a stored run or row by its id.")
    ],
    row: Annotated[str | None, typer.Option("--row", help="Another row than the best one.", show_default=False)] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Look for look-ahead in a row: compute it on prefixes, with other futures, bin by bin, with other delays and fees.

    Exits 1 if a comparison that requires equality differs.
    """
    from vpcore.experiment.audit import audit as audit_row

    workspace = open_workspace(root)
    with progress(f"Auditing {target}") as update:
        found = audit_row(
            workspace, target, row=row, on_progress=lambda what: update(0, description=f"Auditing: {what}")
        )
    if json:
        emit_json(found.plain())
    else:
        say(f"Row {found.row} of run {found.run_id} ({found.signal}) on {found.dataset_id}, {found.n_bins:,} bins")
        say(f"It {found.verdict}.")
        rows = [
            {"compared": f.what, "result": "equal" if f.equal else "DIFFERS", "bin": f.bin, "was": f.was, "now": f.now}
            for f in found.findings
        ]
        emit_table(rows, ("compared", "result", "bin", "was", "now"))
        print()
        figures = [
            {"latency_bins": f.latency_bins, "fee_ticks": f.fee_ticks, "trades": f.n_trades, "net_pnl_ticks": f.net,
             "net_pnl_lo": f.lo, "net_pnl_hi": f.hi}
            for f in found.figures
        ]  # fmt: skip
        emit_table(figures, ("latency_bins", "fee_ticks", "trades", "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi"))
    if not found.passed:
        different = sum(not f.equal for f in found.findings)
        fail(f"{different} of {len(found.findings)} comparisons differ: this row is not what was known at the time.")
