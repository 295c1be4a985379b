"""Base classes of signals: parameters, a state, and one step per bin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, get_args

import numpy as np
import numpy.typing as npt

from vpcore.errors import ConfigError, SignalError
from vpcore.rules import TradeRules
from vpcore.schema import BIN_COLUMNS, SCORE_COLUMNS
from vpcore.signal.frame import SignalFrame, check_columns
from vpcore.signal.params import SignalParams
from vpcore.units import NS_PER_S

PredictionMode = Literal["value", "probability", "confidence"]


class SignalData(Protocol):
    """The part of a dataset that signals read; `vpcore.Dataset` conforms."""

    @property
    def n_bins(self) -> int:
        """Number of bins."""

    @property
    def n_cells(self) -> int:
        """Cells per bin, ``2 * radius + 1``."""

    @property
    def k(self) -> npt.NDArray[np.int16]:
        """Signed distance of each cell from the mid, in ticks, ascending."""

    @property
    def cell_width_ns(self) -> int:
        """Width of a bin."""

    @property
    def tick_int(self) -> int:
        """Tick size, fixed point 1e-9."""

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """True for each bin with a valid book at its end."""

    def bin(self, name: str) -> npt.NDArray[Any]:
        """Return a bin column, shape (n_bins,)."""

    def grid(self, name: str) -> npt.NDArray[Any]:
        """Return a grid column, shape (n_bins, n_cells)."""


@dataclass(frozen=True, slots=True)
class SignalContext:
    """Grid, bin width and trade rules, known before the first bin.

    Parameters
    ----------
    k : int16[n_cells]
        Signed distance of each cell from the mid, in ticks, ascending from ``-radius`` to ``radius``.
    cell_width_ns : int
        Width of a bin.
    tick_int : int
        Tick size, fixed point 1e-9.
    rules : TradeRules, optional
        Trade rules behind the labels of a learning signal.
    """

    k: npt.NDArray[np.int16]
    cell_width_ns: int
    tick_int: int
    rules: TradeRules | None = field(default=None)

    @classmethod
    def of(cls, dataset: SignalData, rules: TradeRules | None = None) -> Self:
        """Return the context of a dataset's bins."""
        return cls(np.asarray(dataset.k, dtype=np.int16), int(dataset.cell_width_ns), int(dataset.tick_int), rules)

    @property
    def n_cells(self) -> int:
        """Cells per frame."""
        return len(self.k)

    @property
    def radius(self) -> int:
        """Distance of the outermost cell, in ticks; also the index of the cell ``k = 0``."""
        return len(self.k) // 2

    @property
    def bin_seconds(self) -> float:
        """Width of a bin, in seconds."""
        return self.cell_width_ns / NS_PER_S


@dataclass(frozen=True, slots=True)
class SignalResult:
    """A signal over a session.

    Parameters
    ----------
    values : float64[n_bins]
        NaN in invalid bins and until the signal is warm. Positive is bullish.
    prediction_mode : {"value", "probability", "confidence"}
    state : object, optional
        State of a learning signal after the last bin; `MLSignal.save_model` takes the model from it.

    Raises
    ------
    SignalError
        If the values have another type than a float64 vector.
    """

    values: npt.NDArray[np.float64]
    prediction_mode: PredictionMode = "value"
    state: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.values, np.ndarray) or self.values.dtype != np.float64 or self.values.ndim != 1:
            shown = (
                f"{self.values.dtype} of shape {self.values.shape}"
                if isinstance(self.values, np.ndarray)
                else type(self.values).__name__
            )
            raise SignalError(f"The values of a SignalResult must be a float64 vector, one per bin, was {shown}.")


class Signal(ABC):
    """Base of all signals. Derive from `StatisticalSignal` or `MLSignal`.

    A signal object holds its parameters and never changes. All memory of past bins is in the state: `start` makes the
    state and `step` advances it. The plugin declares the name and the summary of a signal.

    Parameters
    ----------
    params : Params, optional
        Default: the default values.
    **overrides
        Parameters by name, on top of `params`.

    Raises
    ------
    ConfigError
        If a parameter is unknown, of another type or out of range.
    """

    version: ClassVar[int] = 1
    """Raise it when the meaning of the values changes."""
    columns: ClassVar[tuple[str, ...]] = ()
    """Grid and bin columns that the signal reads."""
    data_files: ClassVar[tuple[str, ...]] = ()
    """Files that the signal reads, relative to the folder of its module. Their bytes are part of its code."""
    uses_clock: ClassVar[bool] = False
    """The values depend on the time of day or the number of the bin. Otherwise a session has the same values at any
    time."""
    uses_price_level: ClassVar[bool] = False
    """The values depend on the price itself. Otherwise a session has the same values some ticks higher."""
    Params: ClassVar[type[SignalParams]] = SignalParams
    prediction_mode: ClassVar[PredictionMode] = "value"

    params: SignalParams

    def __init__(self, params: SignalParams | None = None, **overrides: Any) -> None:
        cls = type(self)
        if not cls.columns:
            raise SignalError(
                f"Signal '{cls.__name__}' declares no columns. Name the columns it reads: columns = ('v_add',)."
            )
        if params is not None and not isinstance(params, cls.Params):
            raise ConfigError(
                f"params of {cls.__name__} must be {cls.Params.__qualname__}, was {type(params).__name__}."
            )
        if params is not None and not overrides:
            self.params = params
        else:
            self.params = cls.Params.parse(
                {**(params.plain() if params is not None else {}), **overrides}, cls.__name__
            )

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        columns: object = cls.columns
        if not isinstance(columns, (tuple, list)) or not all(isinstance(name, str) for name in columns):
            raise SignalError(f"columns of signal '{cls.__name__}' must be a tuple of names, was {columns!r}.")
        cls.columns = tuple(columns)
        check_columns(cls.columns, cls.__name__)
        data: object = cls.data_files
        if not isinstance(data, (tuple, list)) or not all(isinstance(name, str) for name in data):
            raise SignalError(f"data_files of signal '{cls.__name__}' must be a tuple of file names, was {data!r}.")
        if not (isinstance(cls.Params, type) and issubclass(cls.Params, SignalParams)):
            raise SignalError(f"Params of signal '{cls.__name__}' must derive from SignalParams.")
        if cls.prediction_mode not in get_args(PredictionMode):
            raise SignalError(
                f"prediction_mode of signal '{cls.__name__}' must be 'value', 'probability' or 'confidence', "
                f"was {cls.prediction_mode!r}."
            )
        if not isinstance(cls.version, int) or cls.version < 1:
            raise SignalError(f"version of signal '{cls.__name__}' must be a whole number from 1, was {cls.version!r}.")

    @abstractmethod
    def start(self, context: SignalContext) -> Any:
        """Return a fresh state.

        Raises
        ------
        ConfigError
            If the grid is too small for the parameters.
        """

    @abstractmethod
    def step(self, state: Any, frame: SignalFrame) -> float:
        """Advance `state` by one valid bin and return the value of the bin; NaN until warm."""

    def skip(self, state: Any, frame: SignalFrame) -> None:
        """Advance `state` by one invalid bin, whose value is NaN. By default the state stays as it is."""
        return

    @abstractmethod
    def warmup_bins(self, context: SignalContext) -> int:
        """Return the number of valid bins without a value at the start."""

    def thresholds(self) -> tuple[float, ...]:
        """Return the default thresholds, ascending, above 0."""
        return (0.2, 0.4, 0.6, 0.8)

    @classmethod
    def missing(cls) -> str:
        """Return how to install the requirements of the signal; empty if all are installed."""
        return ""

    def compute(self, dataset: SignalData) -> SignalResult:
        """Return the values of every bin. The bits are those of `step`.

        Parameters
        ----------
        dataset : Dataset
            With the score attached, if `columns` names it.

        Returns
        -------
        SignalResult
        """
        from vpcore.signal.drivers import stream

        return stream(self, dataset)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in self.params)
        return f"{type(self).__name__}({inner})"


class StatisticalSignal(Signal):
    """A signal that is a formula: a bounded memory of frames, and the mirrored market gives the negative value.

    Define `start`, `warmup_bins`, and either `kernel` or `step`.
    """

    kernel: ClassVar[Callable[..., float] | None] = None
    """Formula for one valid bin, compiled by `vpcore.kernels.jit`: ``kernel(state, *numbers, *rows) -> float``.

    The arguments are the bin columns and then the grid columns, each group in the order of `columns`: a number per bin
    column (int64 of integers), float64[n_cells] per grid column.
    """

    def step(self, state: Any, frame: SignalFrame) -> float:
        """Advance `state` by one valid bin with the `kernel` and return the value of the bin; NaN until warm.

        Raises
        ------
        SignalError
            If the class defines neither `kernel` nor `step`.
        """
        kernel = type(self).kernel
        if kernel is None:
            raise SignalError(f"Signal '{type(self).__name__}' has no formula. Define its kernel or its step.")
        bins, grid = self._inputs()
        return kernel(state, *[frame[name] for name in bins], *[frame[name] for name in grid])

    def compute(self, dataset: SignalData) -> SignalResult:
        """Return the values of every bin: by a compiled loop over the `kernel`, else by `step`."""
        kernel = type(self).kernel
        if kernel is None:
            return super().compute(dataset)
        from vpcore.kernels.bin_loop import bin_loop

        bins, grid = self._inputs()
        values, rows = np.empty(dataset.n_bins), np.empty((len(grid), dataset.n_cells))
        views = rows.view()
        views.flags.writeable = False
        bin_loop(kernel)(
            self.start(SignalContext.of(dataset)),
            tuple(dataset.bin(name) for name in bins),
            tuple(dataset.grid(name) for name in grid),
            tuple(rows),
            tuple(views),
            dataset.valid,
            values,
        )
        return SignalResult(values)

    @classmethod
    @cache
    def _inputs(cls) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the declared bin columns and grid columns, the order of the arguments of `kernel`."""
        bins = tuple(name for name in cls.columns if name in BIN_COLUMNS)
        return bins, tuple(name for name in cls.columns if name not in BIN_COLUMNS)


class BackgroundFit(NamedTuple):
    """A model fit by an executor, in the background.

    Attributes
    ----------
    due_bin : int
        Bin of the same fit without an executor.
    ready_bin : int or None
        First bin with a prediction of the new model; earlier bins use the previous model. None while the fit runs.
    settled_bin : int or None
        First bin from which all values equal the values of a synchronous fit: `ready_bin`, or later for a model with
        missed bins to catch up on. None before this bin.
    ns : int or None
        Duration of the fit.
    """

    due_bin: int
    ready_bin: int | None = None
    settled_bin: int | None = None
    ns: int | None = None


class MLSignal(Signal):
    """A signal that resolves labels itself, learns from them, and predicts from the labels resolved so far.

    `context.rules` defines the trades; the touches in the frames resolve them. For equal streamed and batch values,
    `compute` predicts row by row too.
    """

    prediction_mode: ClassVar[PredictionMode] = "probability"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a model, in order; empty for a signal with unnamed features.

        `load_model` refuses a model with other features.
        """
        return ()

    @abstractmethod
    def save_model(self, state: Any, folder: Path) -> None:
        """Write the fitted model of a state into an empty folder. Pickle is forbidden."""

    @abstractmethod
    def load_model(self, folder: Path, context: SignalContext) -> Any:
        """Return a new state that predicts with a saved model."""

    def fit_elsewhere(self, state: Any, executor: Executor) -> None:
        """Refit the model of a state with an executor. The current model serves until the new one is ready.

        ``state.background`` lists the fits as `BackgroundFit`. Submitted tasks can be pickled.

        Raises
        ------
        SignalError
            If the signal fits synchronously only, as by default.
        """
        raise SignalError(
            f"Signal '{type(self).__name__}' learns inside its step and has no fits that could be made in the "
            "background. Leave out --retrain background."
        )

    def diagnose(self, dataset: SignalData, rules: TradeRules, result: SignalResult, *, full: bool) -> Any:
        """Return diagnostics of `result` beside its trades, as JSON values; None if the signal has none.

        Parameters
        ----------
        dataset : Dataset
            Dataset of `result`.
        rules : TradeRules
            Trade rules behind the labels.
        result : SignalResult
            Values and state.
        full : bool
            True includes expensive diagnostics.
        """
        return None

    def thresholds(self) -> tuple[float, ...]:
        """Return the default thresholds: above 1/2 for a probability, above 0 for a confidence."""
        return (0.55, 0.6, 0.65, 0.7) if self.prediction_mode == "probability" else (0.1, 0.2, 0.3, 0.4)

    def compute(self, dataset: SignalData, rules: TradeRules | None = None) -> SignalResult:
        """Return the predictions of every bin; see `Signal.compute`.

        Raises
        ------
        SignalError
            If `rules` is missing.
        """
        from vpcore.signal.drivers import stream

        if rules is None:
            raise SignalError(f"Signal '{type(self).__name__}' learns: compute(dataset, rules) needs TradeRules.")
        return stream(self, dataset, rules)


def needs_score(signal: Signal | type[Signal]) -> bool:
    """Return True if a signal reads the score; its values then depend on the scoring settings."""
    return any(name in SCORE_COLUMNS for name in signal.columns)
