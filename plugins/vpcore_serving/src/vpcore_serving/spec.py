"""`PublishedServingSpec`: the only model of a published version. `promote` writes it; a live server reads it.

The `runtime` part decides the values and the trades of a server. The id of the version is a digest of this part. The
`evidence` part holds the figures and the verdict of the row at its first publication.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from vpcore.backtest.cross_validation import SplitSpec
from vpcore.canonical import canonical_json
from vpcore.config.loader import Document
from vpcore.config.messages import validate_value
from vpcore.config.pipeline import ResolvedPipeline
from vpcore.engine import EngineParams
from vpcore.errors import ConfigError, RegistryError
from vpcore.inference.summaries import Evidence, OutOfSample
from vpcore.projection import ProjectionConfig
from vpcore.rules import TradeRules
from vpcore.scoring import ScoringConfig
from vpcore.signal import core_digest
from vpcore.source.prepare import Events, Repeated
from vpcore.units import PRICE_SCALE
from vpcore_serving.models import PackedModel
from vpcore_serving.registry import (
    Publication,
    PublishedVersion,
    ServingRegistry,
    VersionInfo,
    read_export,
    serving_id_of,
)

SPEC_VERSION = 2
"""Version of the file's form. Version 1, of earlier releases, had no number and no barriers in its runtime part."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedPipeline(_Part):
    """The resolved pipeline, free of local paths."""

    name: str
    symbol: str
    tick_int: int = Field(ge=1, description="Tick size, in 1e-9")
    timezone: str = Field(description="Time zone of the session, IANA name")
    start_ns: int = Field(description="Start of the first bin, ns since the epoch")
    end_ns: int = Field(description="End of the last bin, ns since the epoch")
    source: str
    options: dict[str, JsonValue]
    files: tuple[str, ...] | None
    cold_book: Literal["refuse", "build"]
    events: Events = "flags"
    repeated: Repeated = "refuse"
    engine: EngineParams
    format_version: int = Field(description="Version of the engine's columns")

    @classmethod
    def of(cls, pipeline: ResolvedPipeline) -> Self:
        """Return the published form of a resolved pipeline."""
        return cls(name=pipeline.name, timezone=pipeline.instrument.timezone, **pipeline.resolved_dict())


class PublishedDataset(_Part):
    """A dataset that the row was evaluated on."""

    dataset_id: str
    sources: tuple[str, ...] = Field(description="sha256 of every source file")


class PublishedSignal(_Part):
    """The signal, its parameters, and the code that was evaluated."""

    name: str
    version: int
    distribution: str
    distribution_version: str
    code_digest: str
    params: dict[str, JsonValue]


class ServingRuntime(_Part):
    """Everything that decides the values and the trades of a server. The id is its digest."""

    pipeline: PublishedPipeline
    dataset: PublishedDataset = Field(description="The latest session")
    sessions: tuple[PublishedDataset, ...] = Field((), description="All sessions, if there are several")
    scoring: ScoringConfig
    signal: PublishedSignal
    core_digest: str = Field(description="Code of vpcore that evaluated the row")
    projection: ProjectionConfig
    threshold: float = Field(allow_inf_nan=False)
    cooldown_bins: int = Field(ge=0)
    rules: TradeRules
    model: PackedModel | None = None


class Selection(_Part):
    """How the experiment ranks its rows."""

    metric: str
    min_signals: int


class ServingEvidence(_Part):
    """Figures and verdict of the row at the first publication of the version."""

    experiment: str
    run_id: str
    row: str
    select: Selection
    null_draws: int
    bootstrap_draws: int
    seed: int
    splits: SplitSpec | None
    figures: dict[str, JsonValue] = Field(description="Figures of the row, as `vp compare` shows them")
    among: Evidence = Field(description="The rows of the experiment together")
    out_of_sample: OutOfSample | None
    dataset_files: dict[str, dict[str, str]] = Field(description="sha256 of every file, by dataset")
    packages: dict[str, JsonValue]
    summary: str = Field(description="The figures behind the verdict, in words")
    verdict: Literal["proven", "unproven"]
    reasons: tuple[str, ...] = Field(description="Conditions of a proven verdict that do not hold")
    weaknesses: tuple[str, ...] = Field((), description="What is weak besides, and decides nothing")
    confirmation: dict[str, JsonValue] | None = Field(None, description="Result on the reserve of the experiment")


class _PlainDumper(yaml.SafeDumper):
    """Writes equal parts out instead of naming them: the reader refuses aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class PublishedServingSpec(_Part):
    """A published version: the whole content of ``configs/serving_versions/<serving_id>.yaml``.

    Read one with `published`, or from bytes with `from_version`.
    """

    spec_version: Literal[2] = 2
    serving_id: str
    published_utc: str
    description: str = ""
    runtime: ServingRuntime
    evidence: ServingEvidence

    @classmethod
    def of(cls, name: str, runtime: ServingRuntime, evidence: ServingEvidence, description: str = "") -> Self:
        """Return a new version of the serving spec called `name`, published now."""
        serving_id = serving_id_of(f"{name}__{runtime.signal.name}", runtime.model_dump(mode="json"))
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(
            serving_id=serving_id, published_utc=now, description=description, runtime=runtime, evidence=evidence
        )

    @classmethod
    def from_version(cls, version: PublishedVersion) -> Self:
        """Return the model of a version's bytes.

        Raises
        ------
        RegistryError
            If an earlier or later vpcore published the version, or the file is damaged. The message names the first
            wrong field.
        """
        document = version.document
        found = document.get("spec_version", 1)
        if found != SPEC_VERSION:
            raise RegistryError(
                f"The file format of serving version '{version.serving_id}'",
                required=str(SPEC_VERSION),
                was=str(found),
                fix="Another release of vpcore published the version: promote its row again with this release.",
            )
        try:
            spec = validate_value(cls, document, Document(document))
        except ConfigError as error:
            first, *more = str(error).splitlines()
            raise RegistryError(
                f"Serving version '{version.serving_id}' cannot be read: {first}",
                fix=(f"{len(more)} more fields are wrong. " if more else "")
                + "Restore the file from a copy, or promote again.",
            ) from None
        if spec.serving_id != version.serving_id:
            raise RegistryError(
                "serving_id",
                required=f"'{version.serving_id}'",
                was=f"'{spec.serving_id}'",
                where="the published file",
                fix="Restore the file from a copy, or promote again.",
            )
        return spec

    def to_yaml(self) -> bytes:
        """Return the content of the file."""
        content = self.model_dump(mode="json")
        return yaml.dump(content, Dumper=_PlainDumper, sort_keys=True, allow_unicode=True, width=120).encode()


# -- reading and importing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A published version, and the alias of the request.

    Attributes
    ----------
    spec : PublishedServingSpec
        The whole version.
    alias : str or None
        Alias in the request; None if the request named the id.
    """

    spec: PublishedServingSpec
    alias: str | None

    @property
    def serving_id(self) -> str:
        """Id of the version."""
        return self.spec.serving_id

    @property
    def signal(self) -> str:
        """Name of the signal."""
        return self.spec.runtime.signal.name

    @property
    def symbol(self) -> str:
        """Symbol that the row was evaluated on."""
        return self.spec.runtime.pipeline.symbol

    @property
    def tick_size(self) -> float:
        """Tick size, in points."""
        return self.spec.runtime.pipeline.tick_int / PRICE_SCALE

    @property
    def threshold(self) -> float:
        """Value of the signal above which a long is entered, and below whose mirror image a short."""
        return self.spec.runtime.threshold

    @property
    def barriers(self) -> TradeRules:
        """Take-profit, stop, hold, latency and price of the evaluated trades."""
        return self.spec.runtime.rules

    @property
    def warning(self) -> str:
        """Warning to show beside the version; empty if the installed core code evaluated its row."""
        published_by = self.spec.runtime.core_digest
        if published_by == core_digest():
            return ""
        return (
            f"Other code of vpcore ({published_by[:12]}) than the installed code ({core_digest()[:12]}) evaluated "
            f"serving version '{self.serving_id}'. Run its experiment again and promote the row."
        )

    @property
    def evidence(self) -> ServingEvidence:
        """Figures and verdict of the row."""
        return self.spec.evidence


def published(registry: ServingRegistry, alias_or_id: str) -> ServedVersion:
    """Return the version that an alias names, or the version of an id, checked and typed.

    Raises
    ------
    RegistryError
        If the version is unknown, or its file is changed or unreadable.
    """
    version = registry.resolve(alias_or_id)
    alias = alias_or_id if alias_or_id != version.serving_id else None
    return ServedVersion(PublishedServingSpec.from_version(version), alias)


def list_published(registry: ServingRegistry) -> Iterator[tuple[VersionInfo, PublishedServingSpec | RegistryError]]:
    """Yield every published version, the latest first, with its content or the reason of a failed reading."""
    for info in registry.versions():
        try:
            yield info, published(registry, info.serving_id).spec
        except RegistryError as error:
            yield info, error


def import_version(
    registry: ServingRegistry, file: Path, alias: str, *, why: str = "", who: str | None = None
) -> Publication:
    """Publish an exported version. The whole content is checked before the alias moves.

    Raises
    ------
    RegistryError
        If the file is no export, was changed, or holds a version of an unknown format.
    """
    version = read_export(file)
    PublishedServingSpec.from_version(version)
    return registry.publish(version.serving_id, version.data, alias, why=why, who=who, action="import")


def roll_back(
    registry: ServingRegistry, alias: str, *, to: str | None = None, why: str = "", who: str | None = None
) -> Publication:
    """Let an alias name the version before, or the version `to`, after checking that this vpcore can serve it.

    Raises
    ------
    RegistryError
        If the alias or the version is unknown, the history is too short, or the version is unreadable.
    """
    target = registry.previous(alias) if to is None else to
    if to is None or target in {info.serving_id for info in registry.versions()}:
        PublishedServingSpec.from_version(registry.resolve(target))
    return registry.rollback(alias, to=target, why=why, who=who)


# -- comparing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs between two versions, by its dotted name; None where a version lacks it."""

    name: str
    a: Any
    b: Any


def diff(a: PublishedServingSpec, b: PublishedServingSpec) -> list[Difference]:
    """Return every setting of the runtime part that differs, by name; empty for versions with the same id."""
    files = {"model": {"files"}}  # the model's sha256 stands for them
    one, other = (dict(_leaves(spec.runtime.model_dump(mode="json", exclude=files))) for spec in (a, b))
    return [
        Difference(name, one.get(name), other.get(name))
        for name in sorted({*one, *other})
        if canonical_json([one.get(name)]) != canonical_json([other.get(name)])
    ]


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item
