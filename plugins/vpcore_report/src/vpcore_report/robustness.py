"""The sections of a report that say whether a result holds: on every session, and where it was not chosen."""

from __future__ import annotations

from vpcore.inference.blocks import datasets_of
from vpcore.inference.out_of_sample import split_summary
from vpcore_report.facts import Facts
from vpcore_report.page import Page

_MOST_CHOICES = 30


def sessions(page: Page, facts: Facts) -> None:
    """Add what the leader pays on each session, if there are several."""
    row = facts.leader
    if row.get("sessions") is None:
        return
    page.section("Sessions")
    page.text(
        f"The leader pays in {row['sessions_paid']} of {row['sessions']} sessions. Its other figures are of all trades "
        "together; they do not say that the sessions are alike."
    )
    nets, trades = row["session_net_pnl_ticks"], row["session_trades"]
    page.table(
        ("dataset", "row", "trades", "net, ticks"),
        [
            (name, member, count, "–" if net is None else f"{net:+.2f}")
            for name, member, count, net in zip(
                datasets_of(row["dataset_id"]), row["session_rows"], trades, nets, strict=True
            )
        ],
    )
    page.text(
        "What this report says of single trades, and of the quality of the data, is of the latest session.", note=True
    )


def out_of_sample(page: Page, facts: Facts) -> None:
    """Add what came of choosing in-sample, if the experiment has splits."""
    found = facts.splits
    if found is None:
        return
    page.section("Out of sample")
    page.text(split_summary(found))
    if not found.choices:
        return
    shown = found.choices[:_MOST_CHOICES]
    page.table(
        ("fold", "judged on groups", "chosen", "row", "trades in", "net in, ticks", "trades out", "net out, ticks"),
        [
            (
                choice.fold + 1, ", ".join(str(group + 1) for group in choice.tested), choice.signal, choice.row,
                choice.trades_in, f"{choice.net_in:+.2f}", choice.trades_out,
                "–" if choice.net_out is None else f"{choice.net_out:+.2f}",
            )
            for choice in shown
        ],
    )  # fmt: skip
    if len(found.choices) > len(shown):
        page.text(f"The first {len(shown)} of {len(found.choices)} folds.", note=True)
    if len(found.paths) > 1:
        page.table(
            ("path", "trades", "net, ticks"),
            [(i, n, "–" if net is None else f"{net:+.2f}") for i, (net, n) in enumerate(found.paths, 1)],
        )
    page.text(
        "In each fold the best row of the training part is judged on groups that had no part in its choice; trades "
        "whose outcome reaches into them are left out of the training part.",
        note=True,
    )
