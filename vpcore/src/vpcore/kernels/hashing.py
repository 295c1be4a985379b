"""An open-addressing table from keys to rows of another array: linear probing and backward-shift deletion.

A table is int64[capacity, 2], the key and the row + 1 of each slot, 0 where the slot is empty: one line of the
processor's cache answers a look-up. Deletion closes its gap and leaves no tombstone, so cost is independent of past
keys. The capacity is a power of two and at most half of it is used.
"""

from __future__ import annotations

import numpy as np

from vpcore.kernels.jit import jit

KEY, ROW = 0, 1


@jit(inline=True, borrows=True)
def _hash(key):
    # Two 32-bit halves times 32-bit odd constants: full mixing without an overflowing product, so that the interpreted
    # run of the tests warns of nothing. The identity keeps neighbours together and is faster until a venue numbers its
    # orders in strides of a power of two.
    low = np.uint64(key & 0xFFFFFFFF) * np.uint64(0x9E3779B1)
    high = np.uint64((key >> 32) & 0xFFFFFFFF) * np.uint64(0x85EBCA77)
    mixed = low ^ high
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(0x7FFFFFFF))


@jit(inline=True, borrows=True)
def find_slot(table, key):
    """Return the slot that holds `key`, or ``-1 - slot`` of the empty slot where it would go."""
    mask = table.shape[0] - 1
    slot = _hash(key) & mask
    while table[slot, ROW] != 0:
        if table[slot, KEY] == key:
            return slot
        slot = (slot + 1) & mask
    return -1 - slot


@jit(inline=True, borrows=True)
def remove_slot(table, slot):
    """Empty a slot, and move back whatever was pushed past it."""
    mask = table.shape[0] - 1
    hole = slot
    probe = slot
    while True:
        probe = (probe + 1) & mask
        if table[probe, ROW] == 0:
            break
        home = _hash(table[probe, KEY]) & mask
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            table[hole, KEY] = table[probe, KEY]
            table[hole, ROW] = table[probe, ROW]
            hole = probe
    table[hole, ROW] = 0


@jit(borrows=True)
def rehash(table, larger):
    """Insert every live slot of a table into a larger, empty one."""
    mask = larger.shape[0] - 1
    for old in range(table.shape[0]):
        if table[old, ROW] != 0:
            slot = _hash(table[old, KEY]) & mask
            while larger[slot, ROW] != 0:
                slot = (slot + 1) & mask
            larger[slot, KEY] = table[old, KEY]
            larger[slot, ROW] = table[old, ROW]
