"""Reserves: stretches of a market that are kept back from research until a row is confirmed on them.

No count of trials corrects a researcher who looks, refines and looks again; data that nobody has seen does. `Dataset`
ends where a reserve begins, so that no caller sees into it by accident. Reserves and confirmations are files of the
ledger, written once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vpcore.canonical import canonical_json, digest, sealed, unsealed
from vpcore.errors import StorageError
from vpcore.storage import Folder

RESERVES = "reserves"
"""Folder of the reserves, in the ledger."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Time of a market that is kept back.

    Attributes
    ----------
    root : str
        Root that names the market.
    symbols : str
        Regular expression of the symbols of the market.
    windows : tuple of (int, int)
        Start and end of each stretch, ns since the epoch, end excluded, in order of time.
    budget : int
        Number of confirmations, after which the reserve is open data.
    experiment : str
        Experiment that declared it.
    """

    root: str
    symbols: str
    windows: tuple[tuple[int, int], ...]
    budget: int
    experiment: str

    @property
    def id(self) -> str:
        """16 hex digits of market, time and budget: experiments that declare the same share one reserve."""
        return digest([self.root, self.windows, self.budget])[:16]

    def overlaps(self, symbol: str, start_ns: int, end_ns: int) -> bool:
        """Return True if some of it lies in a window of a contract."""
        return self.holds(symbol) and any(start < end_ns and end > start_ns for start, end in self.windows)

    def holds(self, symbol: str) -> bool:
        """Return True if a contract is of its market."""
        return re.fullmatch(self.symbols, symbol) is not None


class Reserves:
    """The reserves of a workspace.

    Parameters
    ----------
    ledger : Path or Folder
        The directory of the ledger.
    symbols : mapping of str to str, optional
        By root, a regular expression of the symbols with its prices. Reserves from before instruments had price groups
        hold the symbols of one root.
    """

    def __init__(self, ledger: Path | Folder, symbols: Mapping[str, str] | None = None) -> None:
        self.folder = Folder.of(ledger) / RESERVES
        self._symbols = symbols or {}

    def all(self) -> list[Reserve]:
        """Return every declared reserve, spent ones too, by id.

        Raises
        ------
        StorageError
            If a file is damaged: what it keeps back is then unknown, and nothing is opened.
        """
        found = []
        for path in self.folder.files("*.reserve.json"):
            about = _read(path)
            try:
                windows = tuple((int(start), int(end)) for start, end in about["windows"])
                symbols = dict.fromkeys((about["symbols"], self._symbols.get(about["root"], about["symbols"])))
                found.append(Reserve(**{**about, "windows": windows, "symbols": "|".join(symbols)}))
            except (KeyError, TypeError, ValueError):
                raise _damaged(path) from None
        return found

    def in_force(self) -> list[Reserve]:
        """Return the reserves with confirmations left."""
        return [reserve for reserve in self.all() if self.left(reserve)]

    def left(self, reserve: Reserve) -> int:
        """Return the number of confirmations that are left."""
        return max(0, reserve.budget - len(self.confirmations(reserve)))

    def declare(self, reserve: Reserve) -> None:
        """Store a reserve; one with the same id stays as it is."""
        content = canonical_json(sealed(asdict(reserve)))
        self.folder.put(f"{reserve.id}.reserve.json", content, "store the reserve", exclusive=True)

    def confirmations(self, reserve: Reserve) -> list[dict[str, Any]]:
        """Return the confirmations on a reserve, in the order in which they were made."""
        paths = self.folder.files(f"{reserve.id}.confirmation-*.json")
        return [_read(path) for path in sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))]

    def record(self, reserve: Reserve, confirmation: Mapping[str, Any]) -> bool:
        """Store a confirmation; return False if the budget was spent meanwhile."""
        content = canonical_json(sealed(confirmation))
        names = (f"{reserve.id}.confirmation-{number}.json" for number in range(reserve.budget))
        return any(self.folder.put(name, content, "store the confirmation", exclusive=True) for name in names)

    def open_bins(self, symbol: str, start_ns: int, n_bins: int, width_ns: int) -> int:
        """Return the number of bins of a session before the first reserve in force.

        Parameters
        ----------
        symbol : str
            Its contract.
        start_ns, n_bins, width_ns : int
            Start of the first bin, number of bins, width of a bin in ns.
        """
        end_ns = start_ns + n_bins * width_ns
        starts = [
            start
            for reserve in self.in_force()
            if reserve.holds(symbol)
            for start, end in reserve.windows
            if start < end_ns and end > start_ns
        ]
        return max(0, min(n_bins, (min(starts) - start_ns) // width_ns)) if starts else n_bins


def _read(path: Path) -> dict[str, Any]:
    try:
        found = unsealed(path.read_bytes())
    except OSError:
        found = None
    if found is None:
        raise _damaged(path)
    return found


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"The ledger's file {path.name} is damaged: what it keeps back is unknown",
        where=str(path),
        fix="Restore it from a backup; the workspace opens no dataset until then.",
    )
