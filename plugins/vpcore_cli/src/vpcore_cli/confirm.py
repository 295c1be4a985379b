"""``vp confirm``: evaluate one row on the reserve of its experiment, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vpcore_cli.common import (
    EXIT_REFUSED,
    ExperimentOrRow,
    JsonOption,
    RootOption,
    emit_json,
    open_workspace,
    say,
)

if TYPE_CHECKING:
    from vpcore_serving.confirm import Confirmation


def confirm(
    experiment: ExperimentOrRow,
    row: Annotated[
        str | None, typer.Option("--row", help="Row, as vp compare prints it. [default: the best by select]")
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Evaluate a row once on the reserve of its experiment, data that nobody has looked at.

    The result stands in the ledger and uses one of the confirmations of the reserve. Exits 1 if the row fails.
    """
    from vpcore.inference.evidence import LEVEL
    from vpcore_serving.confirm import confirm as evaluate, plain

    workspace = open_workspace(root)
    found = evaluate(workspace, experiment, row)
    if json:
        emit_json(plain(found))
    else:
        when = f" It was held against the reserve on {found.confirmed_utc}, once for all." if found.repeated else ""
        earned = "no trade" if found.net_pnl_ticks is None else f"{found.net_pnl_ticks:+.3f} ticks a trade"
        say(
            f"Row {found.row} of run {found.run_id} ({found.signal}) on the reserve: "
            f"{found.n_trades} trades, {found.n_eff:.1f} effective, {earned} at {found.price} prices, "
            f"fee {found.fee_ticks:g} ticks.{when}"
        )
        answer = "confirmed" if found.passed else "not confirmed"
        say(f"{_product(found)} Required: at most {LEVEL:g}, and a net PnL above 0. Row {found.row} is {answer}.")
        say(f"Confirmations left: {found.left} of {found.budget}.")
    if not found.passed:
        raise typer.Exit(EXIT_REFUSED)


def _product(found: Confirmation) -> str:
    """Return the arithmetic of p_confirm as a sentence."""
    if found.budget == 1:
        return f"p_confirm is p_random, {found.p_confirm:.3g}: the experiment plans one confirmation."
    most = " (at most 1)" if found.p_confirm == 1.0 else ""
    return (
        f"p_confirm is p_random, {found.p_random:.3g}, times the {found.budget} confirmations that the experiment "
        f"plans: {found.p_confirm:.3g}{most}."
    )
