"""An open-addressing table of order ids: linear probing and backward-shift deletion.

Deletion closes its gap and leaves no tombstone, so cost is independent of past orders. A slot is empty where its row is
negative; the table's length is a power of two and at most half of it is used.
"""

from __future__ import annotations

import numpy as np

from vpcore.kernels.jit import jit


@jit(inline=True, borrows=True)
def _hash(order_id):
    # Two 32-bit halves times 32-bit odd constants: full mixing without an overflowing product, so that the interpreted
    # run of the tests warns of nothing. The identity keeps neighbours together and is faster until a venue numbers its
    # orders in strides of a power of two.
    low = np.uint64(order_id & 0xFFFFFFFF) * np.uint64(0x9E3779B1)
    high = np.uint64((order_id >> 32) & 0xFFFFFFFF) * np.uint64(0x85EBCA77)
    mixed = low ^ high
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(0x7FFFFFFF))


@jit(inline=True, borrows=True)
def find_slot(keys, rows, order_id):
    """Return the slot that holds `order_id`, or ``-1 - slot`` of the empty slot where it would go."""
    mask = keys.shape[0] - 1
    slot = _hash(order_id) & mask
    while rows[slot] >= 0:
        if keys[slot] == order_id:
            return slot
        slot = (slot + 1) & mask
    return -1 - slot


@jit(inline=True, borrows=True)
def remove_slot(keys, rows, slot):
    """Empty a slot, and move back whatever was pushed past it."""
    mask = keys.shape[0] - 1
    hole = slot
    probe = slot
    while True:
        probe = (probe + 1) & mask
        if rows[probe] < 0:
            break
        home = _hash(keys[probe]) & mask
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            keys[hole] = keys[probe]
            rows[hole] = rows[probe]
            hole = probe
    rows[hole] = -1


@jit(borrows=True)
def rehash(keys, rows, new_keys, new_rows):
    """Insert every live slot of a table into a larger, empty one."""
    mask = new_keys.shape[0] - 1
    for old in range(keys.shape[0]):
        if rows[old] >= 0:
            slot = _hash(keys[old]) & mask
            while new_rows[slot] >= 0:
                slot = (slot + 1) & mask
            new_keys[slot] = keys[old]
            new_rows[slot] = rows[old]
