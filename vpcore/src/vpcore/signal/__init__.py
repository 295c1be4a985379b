"""Signals: one value per bin, from the frames up to that bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.signal.base import (
        BackgroundFit,
        MLSignal,
        PredictionMode,
        Signal,
        SignalContext,
        SignalData,
        SignalResult,
        StatisticalSignal,
        needs_score,
    )
    from vpcore.signal.code import (
        InstalledCode,
        code_digest,
        code_of,
        core_digest,
        declared_digests,
        distribution_of,
        imported_distributions,
        require_core,
        require_importable,
        require_loaded_as,
    )
    from vpcore.signal.diagnostics import DIAGNOSTICS, keep_diagnostics, read_diagnostics
    from vpcore.signal.drivers import DeclaredData, SignalStream, batch, frames, share_in, stream
    from vpcore.signal.extent import Extent
    from vpcore.signal.frame import COLUMN_NAMES, GRID_NAMES, SignalFrame
    from vpcore.signal.models import MODELS, PackedModel, keep_model, model_folder, pack_model, unpack_model
    from vpcore.signal.params import SignalParams

__getattr__ = exports(
    __name__,
    models="MODELS PackedModel keep_model model_folder pack_model unpack_model",
    base=(
        "BackgroundFit MLSignal PredictionMode Signal SignalContext SignalData SignalResult StatisticalSignal "
        "needs_score"
    ),
    diagnostics="DIAGNOSTICS keep_diagnostics read_diagnostics",
    drivers="DeclaredData SignalStream batch frames share_in stream",
    extent="Extent",
    frame="COLUMN_NAMES GRID_NAMES SignalFrame",
    params="SignalParams",
    code=(
        "InstalledCode code_digest code_of core_digest declared_digests distribution_of imported_distributions "
        "require_core require_importable require_loaded_as"
    ),
)

__all__ = [
    "COLUMN_NAMES",
    "DIAGNOSTICS",
    "GRID_NAMES",
    "BackgroundFit",
    "DeclaredData",
    "Extent",
    "InstalledCode",
    "MODELS",
    "MLSignal",
    "PredictionMode",
    "Signal",
    "SignalContext",
    "SignalData",
    "SignalFrame",
    "SignalParams",
    "SignalResult",
    "SignalStream",
    "StatisticalSignal",
    "batch",
    "code_digest",
    "code_of",
    "core_digest",
    "declared_digests",
    "distribution_of",
    "frames",
    "imported_distributions",
    "keep_diagnostics",
    "keep_model",
    "model_folder",
    "needs_score",
    "PackedModel",
    "pack_model",
    "read_diagnostics",
    "require_core",
    "require_importable",
    "require_loaded_as",
    "share_in",
    "stream",
    "unpack_model",
]
