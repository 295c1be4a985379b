"""Records as the databento client hands them out, as one array of `MBO_DTYPE`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.errors import EngineError
from vpcore.kernels.records import MBO_DTYPE

_WIDTH = 4
"""A record's length is counted in words of four bytes."""


def as_records(given: Any) -> npt.NDArray[Any]:
    """Return market-by-order records as an array of `MBO_DTYPE`.

    Parameters
    ----------
    given : array, message or iterable of messages
        An array of `MBO_DTYPE`, `DBNStore.to_ndarray()`, a `databento_dbn.MBOMsg`, or several of them. Messages of
        other kinds (system, error, symbol mapping) are left out.

    Raises
    ------
    EngineError
        If it is anything else, or an array of another schema.
    """
    if isinstance(given, np.ndarray):
        return _of_array(given)
    messages: Iterable[Any] = (given,) if hasattr(given, "rtype") else given
    if isinstance(messages, (str, bytes)):
        messages = [None]
    try:
        rows = [_row(message) for message in messages if hasattr(message, "order_id") or not hasattr(message, "rtype")]
    except (TypeError, AttributeError):
        raise EngineError(
            "Records",
            required="an array of MBO records, an MBOMsg, or several of them",
            was=type(given).__name__,
            fix="Subscribe to the schema mbo; of a DBNStore take to_ndarray().",
        ) from None
    return np.array(rows, dtype=MBO_DTYPE)


def _of_array(given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if given.dtype == MBO_DTYPE:
        return given
    names = MBO_DTYPE.names or ()
    if given.dtype.names is None or not set(names) <= set(given.dtype.names):
        raise EngineError(
            "Records",
            required="an array of MBO records",
            was=f"an array of {given.dtype.names or given.dtype}",
            fix="Subscribe to the schema mbo.",
        )
    found = np.empty(len(given), MBO_DTYPE)
    for name in names:
        column = given[name]
        found[name] = column.view("u1") if column.dtype.kind == "S" else column
    return found


def _row(message: Any) -> tuple[Any, ...]:
    return (
        MBO_DTYPE.itemsize // _WIDTH,
        int(getattr(message.rtype, "value", message.rtype)),
        message.publisher_id,
        message.instrument_id,
        message.ts_event,
        message.order_id,
        message.price,
        message.size,
        int(message.flags),
        message.channel_id,
        ord(str(getattr(message.action, "value", message.action))),
        ord(str(getattr(message.side, "value", message.side))),
        message.ts_recv,
        message.ts_in_delta,
        message.sequence,
    )
