"""The specs of a workspace: by name or by path, with their references."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from vpcore.backtest.config import EvalConfig
from vpcore.config.axes import engines, points, signal_params
from vpcore.config.experiment import ExperimentSpec
from vpcore.config.fields import Spec
from vpcore.config.instruments import InstrumentSpec, packaged_instrument, packaged_instruments, why_no_instrument
from vpcore.config.loader import Document, find_by_name, load_document, names_in
from vpcore.config.messages import validate
from vpcore.config.pipeline import CaptureSpec, PipelineSpec, ResolvedPipeline, resolve_pipeline
from vpcore.config.reserve import keep_back
from vpcore.config.resolved import ExperimentConfig, MarketName
from vpcore.config.serving import ResolvedServing, ServingSpec
from vpcore.config.sessions import check_splits, on_engines, resolve_sessions
from vpcore.config.workspace import WORKSPACE_FILE, WorkspaceSpec
from vpcore.errors import ConfigError
from vpcore.plugins.manager import Plugins
from vpcore.projection import ProjectionConfig
from vpcore.source.protocol import Source, SourceRequest
from vpcore.storage import Folder

FOLDERS: dict[str, str] = {
    "instrument": "instruments",
    "pipeline": "pipelines",
    "serving": "serving",
    "experiment": "experiments",
}
"""Kind of spec and its folder below configs/."""

MODELS: dict[str, type[Spec]] = {
    "instrument": InstrumentSpec,
    "pipeline": PipelineSpec,
    "serving": ServingSpec,
    "experiment": ExperimentSpec,
}

_CALLED = {
    "instrument": "an instrument",
    "pipeline": "a pipeline",
    "serving": "a serving spec",
    "experiment": "an experiment",
}

_Spec = TypeVar("_Spec", bound=Spec)
NameOrPath = str | os.PathLike[str]


class ConfigStore:
    """The specs below ``configs/`` of a workspace.

    Parameters
    ----------
    configs : Path
    plugins : Plugins
        Whose signals, sources, executors and trackers specs may name.
    raw : callable, optional
        Returns the folder of the source files, by default ``lake/raw`` beside `configs`.
    """

    def __init__(self, configs: Path, *, plugins: Plugins, raw: Callable[[], Folder] | None = None) -> None:
        self.configs = configs
        self.plugins = plugins
        self._raw = raw or (lambda: Folder.of(configs.parent / "lake" / "raw"))

    @property
    def raw(self) -> Path:
        """Source files, as this machine has them."""
        return self._raw().path

    # -- loading -------------------------------------------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """Return the sorted names of the specs of a kind; for instruments, with the packaged ones."""
        found = names_in(self.configs / FOLDERS[kind])
        return sorted({*found, *packaged_instruments()}) if kind == "instrument" else found

    def document(self, path: Path) -> Document:
        """Read a file; messages name it as it lies below the workspace."""
        full = path.absolute()
        root = self.configs.parent
        name = full.relative_to(root).as_posix() if full.is_relative_to(root) else str(path)
        return load_document(full, name=name)

    def path_of(self, kind: str, name_or_path: NameOrPath, place: str = "") -> Path:
        """Return the file of a spec. A text with a separator or the ending .yaml or .yml is a path, any other text a
        name.
        """
        text = os.fspath(name_or_path)
        if os.sep in text or text.endswith((".yaml", ".yml")):
            path = Path(text).expanduser()
            try:
                return path if path.is_absolute() or path.exists() else self._in_root(path)
            except (OSError, ValueError) as error:  # a name that is too long, or has a NUL
                reason = getattr(error, "strerror", None) or error
                raise ConfigError(f"{text[:80]} cannot be the path of {_CALLED[kind]}: {reason}.") from None
        try:
            return find_by_name(self.configs / FOLDERS[kind], _CALLED[kind].partition(" ")[2], text, place)
        except ConfigError as error:
            others = [_CALLED[other] for other in FOLDERS if text in names_in(self.configs / FOLDERS[other])]
            hint = f" '{text}' is {' and '.join(others)}." if others else ""
            raise ConfigError(f"{error}{hint}") from None

    def _in_root(self, path: Path) -> Path:
        below = self.configs.parent / path
        return below if below.exists() else path

    def load(self, kind: str, model: type[_Spec], name_or_path: NameOrPath, place: str = "") -> tuple[_Spec, Document]:
        """Return a spec as its file has it, and the file; references are not followed."""
        document = self.document(self.path_of(kind, name_or_path, place))
        _require_kind(kind, document)
        spec = validate(model, document)
        self._check_name(kind, spec, document)
        return spec, document

    def _check_name(self, kind: str, spec: Spec, document: Document) -> None:
        """A spec is found by its file's name, so the name in it must be the same."""
        field = "root" if kind == "instrument" else "name"
        path = document.path
        if path is None or path.parent.resolve() != (self.configs / FOLDERS[kind]).resolve():
            return
        name = getattr(spec, field)
        if name != path.stem:
            raise ConfigError(
                f"{field} must be the name of its file, was '{name}' ({document.where((field,))}). "
                f"Write {field}: {path.stem}, or call the file {name}.yaml."
            )

    # -- instruments ---------------------------------------------------------------------------------------------------

    def instrument(self, symbol: str, place: str = "") -> InstrumentSpec:
        """Return the instrument of a symbol.

        A file below configs/instruments goes before the packaged one of the same root.

        Raises
        ------
        ConfigError
            If zero or several instruments match.
        """
        return self._instrument(symbol, place)[0]

    def _instrument(self, symbol: str, place: str = "") -> tuple[InstrumentSpec, Document]:
        found = [(spec, document) for spec, document in self._instruments() if spec.matches(symbol)]
        if len(found) == 1:
            return found[0]
        where = f" ({place})" if place else ""
        if found:
            both = ", ".join(document.name for _, document in found)
            raise ConfigError(
                f"'{symbol}'{where} is a symbol of more than one instrument: {both}. Narrow a symbol_pattern."
            )
        raise ConfigError(
            f"No instrument has the symbol '{symbol}'{where}. {why_no_instrument(symbol, self.names('instrument'))}"
        )

    def _instruments(self) -> Iterable[tuple[InstrumentSpec, Document]]:
        own = names_in(self.configs / "instruments")
        for root in sorted({*own, *packaged_instruments()}):
            yield self.load("instrument", InstrumentSpec, root) if root in own else packaged_instrument(root)

    def markets(self) -> dict[str, MarketName]:
        """Return the market of each instrument, by its root: instruments with one price group are one market.

        Raises
        ------
        ConfigError
            If the price group of an instrument has another price group itself.
        """
        group, symbols = {}, {}
        for spec, _ in self._instruments():
            inherits = spec.price_group is None and spec.root in packaged_instruments()
            own = packaged_instrument(spec.root)[0].price_group if inherits else spec.price_group
            group[spec.root], symbols[spec.root] = own or spec.root, spec.symbols
        for root, of in group.items():
            if group.get(of, of) != of:
                raise ConfigError(
                    f"price_group of instrument {root} is {of}, whose own price_group is {group[of]}",
                    fix=f"Write price_group: {group[of]}.",
                )
        found = {}
        for root, of in group.items():
            found[root] = MarketName(of, "|".join(symbols[other] for other in group if group[other] == of))
        return found

    # -- the workspace -------------------------------------------------------------------------------------------------

    def workspace(self) -> WorkspaceSpec:
        """Return the defaults of the workspace, from ``configs/workspace.yaml`` where the file exists.

        Raises
        ------
        ConfigError
            If a field is wrong.
        PluginError
            If a named component is missing.
        """
        path = self.configs / WORKSPACE_FILE
        if not path.is_file():
            return WorkspaceSpec()
        document = self.document(path)
        spec = validate(WorkspaceSpec, document)
        self.plugins.get("storage", spec.storage.backend, document.place(("storage", "backend")))
        self.plugins.get("executor", spec.executor.name, document.place(("executor", "name")))
        self.plugins.get("tracker", spec.tracker.backend, document.place(("tracker", "backend")))
        return spec

    # -- the three layers ----------------------------------------------------------------------------------------------

    def pipeline(self, name_or_path: NameOrPath | PipelineSpec, place: str = "") -> PipelineSpec:
        """Return a pipeline spec, ready to `resolve`."""
        return self._linked("pipeline", PipelineSpec, name_or_path, self._resolve_pipeline, place)

    def serving(self, name_or_path: NameOrPath | ServingSpec, place: str = "") -> ServingSpec:
        """Return a serving spec, ready to `resolve`."""
        return self._linked("serving", ServingSpec, name_or_path, self._resolve_serving, place)

    def experiment(self, name_or_path: NameOrPath | ExperimentSpec, place: str = "") -> ExperimentSpec:
        """Return an experiment spec, ready for `to_harness_config`."""
        return self._linked("experiment", ExperimentSpec, name_or_path, self._resolve_experiment, place)

    def _linked(
        self, kind: str, model: type[_Spec], wanted: NameOrPath | _Spec, resolver: Callable[..., Any], place: str
    ) -> _Spec:
        if isinstance(wanted, model):
            spec, document = wanted.model_copy(), Document({})
        else:
            spec, document = self.load(kind, model, cast(NameOrPath, wanted), place)
        spec._resolver = partial(resolver, document=document)  # type: ignore[attr-defined]
        return spec

    def _resolve_pipeline(self, spec: PipelineSpec, document: Document) -> ResolvedPipeline:
        instrument, instrument_document = self._instrument(spec.capture.symbol, document.place(("capture", "symbol")))
        self.plugins.get("source", spec.capture.source, document.place(("capture", "source")))
        return resolve_pipeline(
            spec, instrument, document=document, instrument_document=instrument_document, raw_root=self.raw
        )

    def _resolve_serving(self, spec: ServingSpec, document: Document) -> ResolvedServing:
        pipeline = self.pipeline(spec.pipeline, document.place(("pipeline",))).resolve()
        params = signal_params(self.plugins, spec.signal, document)
        _check_horizons(spec.projection, (pipeline,), document.place(("projection", "horizons_ms")))
        return ResolvedServing(
            name=spec.name,
            pipeline=pipeline,
            scoring=spec.scoring,
            signal_name=spec.signal.name,
            signal_params=params,
            projection=spec.projection,
        )

    def _resolve_experiment(self, spec: ExperimentSpec, document: Document) -> ExperimentConfig:
        serving_spec = self.serving(spec.serving, document.place(("serving",)))
        serving = serving_spec.resolve()
        defaults = self.workspace()
        executor = spec.parallel.executor or defaults.executor.name
        tracker = spec.tracking.backend or defaults.tracker.backend
        # Options of the workspace belong to the executor of the workspace.
        options = defaults.executor.options if executor == defaults.executor.name else {}
        self.plugins.get("executor", executor, document.place(("parallel", "executor")))
        self.plugins.get("tracker", tracker, document.place(("tracking", "backend")))
        self.plugins.get("sampler", spec.sweep.sample.method, document.place(("sweep", "sample", "method")))
        plans, scorings = points(self.plugins, spec, serving_spec.signal, serving.scoring, document)
        sessions = self._sessions(spec, serving_spec, serving, document)
        swept = engines(serving.pipeline, spec.sweep.pipeline, document)
        if swept:
            _check_horizons(serving.projection, swept, document.where(("sweep", "pipeline")))
            sessions = on_engines(sessions, swept)
        sessions, kept_back = keep_back(spec.reserve, sessions, document)
        check_splits(spec.eval.splits, len(sessions) // max(1, len(swept)), document)
        return ExperimentConfig(
            name=spec.name,
            description=spec.description,
            serving_name=serving.name,
            pipeline=serving.pipeline,
            sessions=tuple(session for session, _ in sessions),
            session_places=tuple(place for _, place in sessions),
            engines=swept,
            market=self.markets()[serving.pipeline.instrument.root],
            projection=serving.projection,
            scorings=scorings,
            signals=plans,
            eval=_with_halt(_with_fee(spec.eval, serving.pipeline, document), serving.pipeline),
            kept_back=kept_back,
            select_metric=spec.select.metric,
            min_signals=spec.select.min_signals,
            executor=executor,
            max_workers=spec.parallel.max_workers or defaults.executor.max_workers,
            keep_mb=spec.parallel.keep_mb,
            timeout_seconds=spec.parallel.timeout_seconds,
            executor_options={**options, **spec.parallel.options},
            tracker=tracker,
            tracking_experiment=spec.tracking.experiment_name or f"vp/{spec.name}",
            tags=dict(spec.tracking.tags),
            tracking_files=spec.tracking.files,
            diagnostics=spec.diagnostics,
        )

    def _sessions(
        self, spec: ExperimentSpec, serving_spec: ServingSpec, serving: ResolvedServing, document: Document
    ) -> tuple[tuple[ResolvedPipeline, str], ...]:
        if spec.pipelines is None and spec.dates is None:
            return ((serving.pipeline, document.place(("serving",))),)
        names = spec.pipelines or (serving_spec.pipeline,)
        by_hand = spec.pipelines is not None
        places = [document.place(("pipelines", i) if by_hand else ("serving",)) for i in range(len(names))]
        bases = [(self.pipeline(name, place), place) for name, place in zip(names, places, strict=True)]

        def resolve(wanted: PipelineSpec, where: str) -> ResolvedPipeline:
            if any(wanted is base for base, _ in bases):
                return wanted.resolve()
            try:
                return self.pipeline(wanted).resolve()
            except ConfigError as error:
                raise ConfigError(f"{error}{f' ({where})' if where else ''}") from None

        def contract(capture: CaptureSpec, start_ns: int, end_ns: int) -> str:
            source: Source = self.plugins.load("source", capture.source)()
            instrument = serving.pipeline.instrument
            request = SourceRequest(instrument.root, start_ns, end_ns, raw=self._raw(), options=capture.options)
            return source.contract(request, instrument.matches)

        return resolve_sessions(bases, spec.dates, serving.pipeline, resolve, document, contract)


def _check_horizons(projection: ProjectionConfig, pipelines: Iterable[ResolvedPipeline], place: str) -> None:
    for pipeline in pipelines:
        try:
            projection.check(pipeline.width_ns)
        except ConfigError as error:
            raise ConfigError(f"{error}{f' ({place})' if place else ''}") from None


def _with_fee(rules: EvalConfig, pipeline: ResolvedPipeline, document: Document) -> EvalConfig:
    """Return the rules with the fee of the instrument, unless they state one. No fee is silently 0."""
    if "fee_ticks" in rules.model_fields_set:
        return rules
    fee = pipeline.instrument.fee_ticks
    if fee is None:
        raise ConfigError(
            f"eval.fee_ticks is missing, and instrument {pipeline.instrument.root} has no fee_per_side",
            where=document.where(("eval",)),
            fix="Write one of them; 0 is possible in eval.fee_ticks, and every verdict names it.",
        )
    return rules.model_copy(update={"fee_ticks": fee})


def _with_halt(rules: EvalConfig, pipeline: ResolvedPipeline) -> EvalConfig:
    """Return the rules with the daily halt of the instrument, unless they state one or none."""
    if "daily_halt" in rules.model_fields_set or pipeline.instrument.halt is None:
        return rules
    return rules.model_copy(update={"daily_halt": pipeline.instrument.halt})


def _require_kind(kind: str, document: Document) -> None:
    """Refuse a file that is plainly another kind of spec: its fields would all be called wrong."""
    try:
        found = kind_of(document)
    except ConfigError:
        return
    fields, other = ({*MODELS[name].model_fields} & {*document.data} for name in (kind, found))
    if found != kind and len(other) > len(fields):
        raise ConfigError(f"{document.name} is {_CALLED[found]}, not {_CALLED[kind]}.")


def kind_of(document: Document) -> str:
    """Return the probable kind of a spec: by its folder, else by fields that only one kind has."""
    if document.path is not None:
        if (document.path.parent.name, document.path.name) == ("configs", WORKSPACE_FILE):
            return "workspace"
        for kind, folder in FOLDERS.items():
            if document.path.parent.name == folder:
                return kind
    for kind, field in (
        ("pipeline", "capture"),
        ("instrument", "root"),
        ("experiment", "serving"),
        ("serving", "pipeline"),
    ):
        if field in document.data:
            return kind
    raise ConfigError(
        f"{document.name} is none of the specs: a pipeline has 'capture', a serving spec 'pipeline' and 'signal', "
        "an experiment 'serving', an instrument 'root'."
    )
