"""The middle layer: one signal over one dataset, as it could be served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from vpcore.config.fields import Spec, SpecName
from vpcore.config.pipeline import ResolvedPipeline
from vpcore.errors import ConfigError
from vpcore.projection import ProjectionConfig
from vpcore.scoring import ScoringConfig


class SignalRef(Spec):
    """A signal and the parameters that differ from its defaults."""

    name: str = Field(min_length=1, description="Name of a signal, see `vp list-signals`")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Its parameters, see `vp list-signals --details NAME`; default: the signal's"
    )


class ServingSpec(Spec):
    """A signal over a pipeline's dataset, with scoring and projection."""

    name: SpecName = Field(description="Name of the file without .yaml")
    description: str = Field("", description="What it is for; a published version carries it")
    pipeline: str = Field(min_length=1, description="Name of a pipeline")
    scoring: ScoringConfig = Field(ScoringConfig(), description="Settings of the scorer")
    signal: SignalRef = Field(description="The signal")
    projection: ProjectionConfig = Field(ProjectionConfig(), description="Forward projection of the score")

    _resolver: Callable[[ServingSpec], ResolvedServing] | None = PrivateAttr(default=None)

    def resolve(self) -> ResolvedServing:
        """Return the spec with its pipeline and the signal's parameters resolved.

        Raises
        ------
        ConfigError, PluginError
            If a reference or a parameter is wrong, or the spec has no workspace.
        """
        if self._resolver is None:
            raise ConfigError(
                f"Serving spec '{self.name}' belongs to no workspace. "
                f"Get it from one: workspace.serving('{self.name}')."
            )
        return self._resolver(self)


class ResolvedServing(BaseModel):
    """A serving spec with every reference resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pipeline: ResolvedPipeline
    scoring: ScoringConfig
    signal_name: str
    signal_params: dict[str, Any]
    """Every parameter of the signal, defaults applied, as JSON holds them."""
    projection: ProjectionConfig
