"""Holidays, early closes and late opens of CME Group's markets.

The table, ``data/closures.json``, holds the spans in which regular hours say open and the exchange was, or will be,
closed. `docs/closures.py` writes it from a library of calendars and holds it against another one.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

from vpcore.units import NS_PER_S

CalendarName = Literal["equity", "rates", "fx", "energy_metals", "grains", "livestock", "crypto"]


@dataclass(frozen=True, slots=True)
class Closures:
    """Table of a calendar.

    Parameters
    ----------
    first, last : datetime.date
        Days that the table covers, both included.
    spans : int64[n, 2]
        Start and end, ns since the epoch, in order of time.
    """

    first: datetime.date
    last: datetime.date
    spans: npt.NDArray[np.int64]

    def between(self, start_ns: int, end_ns: int) -> npt.NDArray[np.int64]:
        """Return the spans that overlap ``[start_ns, end_ns)``."""
        return self.spans[(self.spans[:, 0] < end_ns) & (self.spans[:, 1] > start_ns)]


@cache
def closures_of(name: CalendarName) -> Closures:
    """Return the table of a calendar."""
    content = json.loads((resources.files("vpcore") / "data" / "closures.json").read_text())
    spans = [
        [int(datetime.datetime.fromisoformat(text).timestamp()) * NS_PER_S for text in pair]
        for pair in content["calendars"][name]
    ]
    array = np.array(spans, dtype=np.int64).reshape(-1, 2)
    array.setflags(write=False)
    return Closures(datetime.date.fromisoformat(content["first"]), datetime.date.fromisoformat(content["last"]), array)
