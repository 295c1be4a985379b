"""Signals: one value per bin, from the frames up to that bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.signal.base import (
        BackgroundFit as BackgroundFit,
        MLSignal as MLSignal,
        PredictionMode as PredictionMode,
        Signal as Signal,
        SignalContext as SignalContext,
        SignalData as SignalData,
        SignalResult as SignalResult,
        StatisticalSignal as StatisticalSignal,
        needs_score as needs_score,
    )
    from vpcore.signal.code import (
        InstalledCode as InstalledCode,
        code_digest as code_digest,
        code_of as code_of,
        core_digest as core_digest,
        declared_digests as declared_digests,
        distribution_of as distribution_of,
        imported_distributions as imported_distributions,
        require_core as require_core,
        require_importable as require_importable,
        require_loaded_as as require_loaded_as,
    )
    from vpcore.signal.diagnostics import (
        DIAGNOSTICS as DIAGNOSTICS,
        keep_diagnostics as keep_diagnostics,
        read_diagnostics as read_diagnostics,
        refit_series as refit_series,
    )
    from vpcore.signal.drivers import (
        DeclaredData as DeclaredData,
        SignalStream as SignalStream,
        batch as batch,
        frames as frames,
        share_in as share_in,
        stream as stream,
    )
    from vpcore.signal.extent import Extent as Extent
    from vpcore.signal.frame import COLUMN_NAMES as COLUMN_NAMES, GRID_NAMES as GRID_NAMES, SignalFrame as SignalFrame
    from vpcore.signal.models import MODELS as MODELS, keep_model as keep_model, model_folder as model_folder
    from vpcore.signal.params import SignalParams as SignalParams

__getattr__, __all__ = exports(__name__)
