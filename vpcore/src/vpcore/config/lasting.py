"""Settings as the hash of a batch has them: fields that the product gains later leave a hash as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

FIRST_FIELDS: Mapping[str, frozenset[str]] = {
    model: frozenset(names.split())
    for model, names in {
        "EvalConfig": "tp_ticks sl_ticks max_hold_bins warmup_bins cooldown_bins latency_bins stale_after_ms "
        "daily_halt entry_rule positions price fee_ticks thresholds threshold_quantiles calibration_bins null_draws "
        "bootstrap_draws seed",
        "SplitSpec": "method by test_share groups train_groups test_groups embargo_bins",
        "ScoringConfig": "zscore_window_bins zscore_min_periods derivative_weights tanh_scale threshold_neutral "
        "zscore_scale_floor",
        "SignalPlan": "name reads_score params",
        "Search": "sampler n seed round scoring params",
        "Grid": "base axes",
        "KeptBack": "share sessions confirmations",
        "ResolvedPipeline": "name symbol instrument params start_ns end_ns label source files file_keys cold_book "
        "events repeated options",
        "InstrumentSpec": "root description exchange currency tick_size multiplier fee_per_side timezone daily_halt "
        "calendar symbol_pattern engine",
        "EngineParams": "cell_width_ms grid_radius_ticks band_margin_ticks tau_velocity tau_acceleration tau_jerk "
        "tau_rest_decay c1 c2 c3 c4 c5 c6 c7 composite_floor flow_windows columns",
    }.items()
}
"""Fields that are always part of the hash of a batch. The list never grows: a field that a model gains later is left
out at its default, so that an experiment from before the field stays the same batch. All fields of a model that is not
in the list came later.
"""


def lasting_settings(model: BaseModel) -> dict[str, Any]:
    """Return a model as JSON values, without fields that came after `FIRST_FIELDS` and are at their defaults."""
    values = model.model_dump(mode="json")
    _leave_out(model, values)
    return values


def _leave_out(value: Any, values: Any) -> None:
    if isinstance(value, BaseModel):
        named = (FIRST_FIELDS[cls.__name__] for cls in type(value).__mro__ if cls.__name__ in FIRST_FIELDS)
        first = next(named, frozenset())
        for name, field in type(value).model_fields.items():
            if name not in values:
                continue
            item = getattr(value, name)
            if name not in first and item == field.get_default(call_default_factory=True):
                del values[name]
            else:
                _leave_out(item, values[name])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item, plain in zip(value, values, strict=True):
            _leave_out(item, plain)
