"""Names and types of the dataset's columns.

Types are numpy dtype names as text, so this module imports without numpy.
"""

from __future__ import annotations

FORMAT_VERSION = 1
"""Version of the dataset's bytes: columns, their meaning, and the engine's arithmetic. Part of every dataset id."""

QUANTITIES = ("add", "pull", "fill", "bid_depth", "ask_depth")
"""The impulse trains of the mechanics, in the order of the kernels' last axis."""

GRID_KEYS: dict[str, str] = {"bin_seq": "int64", "k": "int16", "book_valid": "bool"}
"""Columns that identify a row of the grid."""

GRID_VALUES: tuple[str, ...] = (
    "add_mass", "pull_mass", "fill_mass", "bid_depth", "ask_depth",
    "v_add", "v_pull", "v_fill", "v_bid_depth", "v_ask_depth",
    "a_add", "a_pull", "a_fill", "a_bid_depth", "a_ask_depth",
    "j_add", "j_pull", "j_fill", "j_bid_depth", "j_ask_depth",
    "pressure", "vacuum",
    "composite", "composite_d1", "composite_d2", "composite_d3",
)  # fmt: skip
"""float32 columns of the grid, in the order in which the frame kernel writes them."""

GRID_SUMS: dict[str, tuple[str, str]] = {
    "rest_depth": ("bid_depth", "ask_depth"),
    "v_rest_depth": ("v_bid_depth", "v_ask_depth"),
    "a_rest_depth": ("a_bid_depth", "a_ask_depth"),
    "j_rest_depth": ("j_bid_depth", "j_ask_depth"),
}
"""Columns that `Dataset` serves as the float64 sum of two stored ones."""

SCORE_COLUMNS: dict[str, str] = {"flow_score": "float64", "flow_state_code": "int8"}
"""Columns that the scorer adds to the grid. A signal that names one depends on the scoring parameters."""

BIN_COLUMNS: dict[str, str] = {
    "bin_seq": "int64",
    "ts_ns": "int64",
    "bin_start_ns": "int64",
    "bin_end_ns": "int64",
    "book_valid": "bool",
    "mid_price": "float64",
    "best_bid_price_int": "int64",
    "best_ask_price_int": "int64",
    "best_bid_size": "int32",
    "best_ask_size": "int32",
    "spread_ticks": "int32",
    "event_id": "int64",
    "bin_event_count": "int32",
    "bid_high_int": "int64",
    "bid_low_int": "int64",
    "ask_high_int": "int64",
    "ask_low_int": "int64",
    "mid2_high": "int32",
    "mid2_low": "int32",
    "buy_volume": "int32",
    "sell_volume": "int32",
    "cross_volume": "int32",
    "trade_count": "int32",
    "best_bid_move_ticks": "int32",
    "best_ask_move_ticks": "int32",
    "microstate_id": "int32",
    "state_above": "int32",
    "state_below": "int32",
}
"""Columns of the bins, one row per bin, in file order."""
