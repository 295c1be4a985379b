"""Rows of the several engines of `sweep.pipeline`: their session, their rotations and their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.canonical import canonical_json
from vpcore.errors import VpError
from vpcore.inference.blocks import ENGINES, datasets_of

if TYPE_CHECKING:
    from vpcore.inference.ranking import Family
    from vpcore.workspace import Workspace

SESSION = pl.col("dataset_id").str.replace_all(r"__[0-9a-f]{8}( \+ |$)", "__${1}")
"""Session of a row: its dataset id without the digest. Datasets of one batch and session differ in the digest alone."""


def rings_of(workspace: Workspace, experiment: str, dataset_id: str) -> dict[str, str]:
    """Return `vpcore.inference.ranking.Family.rings` of a family; empty for rows of one engine.

    Rotations are shares of the ring of open bins. Engines with bins of one width have the same bins and the same ring,
    so that a draw moves the trades of all of them by the same time. A dataset of unknown width has a ring of its own.
    """
    names = dataset_id.split(ENGINES)
    if len(names) == 1:
        return {}
    known = _params(workspace, experiment, names)
    return {name: f"{known[name]['cell_width_ms']} ms" if name in known else name for name in names}


def with_engines(workspace: Workspace, rows: pl.DataFrame, families: Mapping[str, Family]) -> pl.DataFrame:
    """Return rows with the engine parameters of their datasets as ``pipeline_json``, if a family has several engines.

    Null in the other rows, and where nothing says any more what made a dataset.
    """
    texts: dict[str, str] = {}
    for family in families.values():
        if family.rings:
            known = _params(workspace, family.experiment, family.dataset_id.split(ENGINES))
            texts |= {name: canonical_json(params).decode() for name, params in known.items()}
    if not any(family.rings for family in families.values()):
        return rows
    column = pl.col("dataset_id").replace_strict(texts, default=None, return_dtype=pl.String)
    return rows.with_columns(pipeline_json=column)


def _params(workspace: Workspace, experiment: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the engine parameters of datasets, by id: of the spec of the experiment, else of the manifest.

    Of the datasets of a combination the first counts.
    """
    found: dict[str, dict[str, Any]] = {}
    known: dict[str, dict[str, Any]] = {}
    with suppress(VpError):
        sessions = workspace.experiment(experiment).to_harness_config().sessions
        known = {session.dataset_id(): session.params.model_dump(mode="json") for session in sessions}
    for name in names:
        first = datasets_of(name)[0]
        if first in known:
            found[name] = known[first]
            continue
        with suppress(VpError, KeyError):  # the spec has changed since
            found[name] = workspace.datasets.manifest(first)["pipeline"]["resolved"]["engine"]
    return found
