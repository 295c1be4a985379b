"""A least-recently-used cache of intermediate results for the runs over one dataset, with a limit in bytes."""

from __future__ import annotations

import sys
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

V = TypeVar("V")

KEEP_MB = 1024
"""Memory in MB that one worker keeps for shared intermediate results; `parallel.keep_mb` overrides it."""


@dataclass(slots=True)
class Tally:
    """Number of requests and computations of one kind of value, and the seconds of computation without nested kinds."""

    asked: int = 0
    made: int = 0
    seconds: float = 0.0

    @property
    def saved(self) -> float:
        """Seconds saved by the cache: number of hits times the mean seconds of a computation."""
        return (self.asked - self.made) * self.seconds / self.made if self.made else 0.0


class Shared:
    """Cache of values of any kind up to a number of bytes. The latest value stays, whatever its size.

    Parameters
    ----------
    limit : int
        Bytes.

    Attributes
    ----------
    tallies : dict of str to Tally
        By kind.
    """

    def __init__(self, limit: int = KEEP_MB << 20) -> None:
        self.limit = limit
        self.tallies: dict[str, Tally] = {}
        self._kept: OrderedDict[tuple[str, Hashable], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._inner: list[float] = []

    @property
    def nbytes(self) -> int:
        """Bytes in the cache."""
        return self._bytes

    def get(self, kind: str, key: Hashable, make: Callable[[], V], size: Callable[[V], int]) -> V:
        """Return the cached value of a kind and key, or call `make` and cache its result."""
        tally = self.tallies.setdefault(kind, Tally())
        tally.asked += 1
        if (kind, key) in self._kept:
            self._kept.move_to_end((kind, key))
            value: V = self._kept[kind, key][0]
            return value
        value = self.timed(kind, make)
        self.put(kind, key, value, size(value))
        return value

    def timed(self, kind: str, make: Callable[[], V]) -> V:
        """Call `make`, count the call and add its own seconds, without nested calls."""
        tally = self.tallies.setdefault(kind, Tally())
        self._inner.append(0.0)
        began = time.perf_counter()
        try:
            return make()
        finally:
            spent = time.perf_counter() - began
            tally.made += 1
            tally.seconds += spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent

    def put(self, kind: str, key: Hashable, value: Any, size: int) -> None:
        """Cache a value and evict the least recently used values beyond the limit."""
        self.drop(kind, key)
        self._kept[kind, key] = (value, size)
        self._bytes += size
        while len(self._kept) > 1 and self._bytes > self.limit:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed

    def drop(self, kind: str, key: Hashable) -> None:
        """Remove a value, if cached."""
        _, freed = self._kept.pop((kind, key), (None, 0))
        self._bytes -= freed

    def peek(self, kind: str, key: Hashable) -> Any:
        """Return the cached value of a kind and key; `KeyError` if absent."""
        if (kind, key) not in self._kept:
            raise KeyError(key)
        self._kept.move_to_end((kind, key))
        return self._kept[kind, key][0]

    def keys_of(self, kind: str) -> list[Any]:
        """Return the cached keys of a kind, least recently used first."""
        return [key for of, key in self._kept if of == kind]

    def view(self, kind: str, owner: Hashable) -> MutableMapping[str, Any]:
        """Return a mapping with its values in this cache, for the features that signals compute from a dataset."""
        return _View(self, kind, owner)


class _View(MutableMapping[str, Any]):
    """The cached values of one kind and owner, as a mapping.

    The reference to the `Shared` is weak: a cached value may hold the dataset that holds this mapping, and a strong
    cycle would keep all of them in memory. After the `Shared` is deleted, the mapping uses a cache of its own.
    """

    def __init__(self, shared: Shared, kind: str, owner: Hashable) -> None:
        self._shared, self._kind, self._owner = weakref.ref(shared), kind, owner
        self._alone: Shared | None = None

    def __getitem__(self, key: str) -> Any:
        return self._there().peek(self._kind, (self._owner, key))

    def __setitem__(self, key: str, value: Any) -> None:
        self._there().put(self._kind, (self._owner, key), value, size_of(value))

    def __delitem__(self, key: str) -> None:
        self[key]
        self._there().drop(self._kind, (self._owner, key))

    def __iter__(self) -> Iterator[str]:
        return iter([key for owner, key in self._there().keys_of(self._kind) if owner == self._owner])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _there(self) -> Shared:
        found = self._shared()
        if found is None:
            self._alone = found = Shared()
            self._shared = weakref.ref(found)
        return found


def size_of(value: Any) -> int:
    """Return the approximate size of a value in bytes: exact for arrays, with all items for containers."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    own = sys.getsizeof(value)
    if isinstance(value, dict):
        return own + sum(size_of(item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return own + sum(size_of(item) for item in value)
    return own
