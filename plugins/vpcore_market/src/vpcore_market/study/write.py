"""A study from the first market to the page."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from vpcore.errors import PluginError
from vpcore.plugins.manager import Plugins
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore_market.study.page import page
from vpcore_market.study.plan import Study
from vpcore_market.study.planted_effect import effect_sizes
from vpcore_market.study.run import StudyProgress, plain_json, run_scenarios, run_study
from vpcore_market.study.scenarios import summarise_cases
from vpcore_market.study.summary import plain, summarise

RESULTS, PAGE, IMAGES, PREFIX = "results.json", "calibration.md", "images", "calibration-"

STRENGTH_MARKETS = 100
"""At most; they are simulated without an engine, which takes a moment."""


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_study` made: the answers, and where they are."""

    answers: dict[str, Any]
    results: Path
    page: Path
    pictures: tuple[Path, ...]


def write_study(
    study: Study,
    folder: Path,
    *,
    command: str,
    workers: int = 1,
    plugins: Plugins | None = None,
    on_progress: Callable[[StudyProgress], None] = lambda progress: None,
) -> Written:
    """Run a study and write its answers as JSON, its pictures and its page into a folder.

    Parameters
    ----------
    study : Study
        What to simulate.
    folder : Path
        Made if it is missing.
    command : str
        That repeats the study, for the page.
    workers, plugins, on_progress
        See `run_study`.
    """
    draw_study = import_figures().draw_study  # before an hour of simulation
    found = run_study(study, folder, workers=workers, plugins=plugins, on_progress=on_progress)
    seeds = range(study.first_seed, study.first_seed + min(study.seeds, STRENGTH_MARKETS))
    strength = effect_sizes((0.0, *study.alphas), seeds, study.minutes) if study.power_seeds else []
    cases = run_scenarios(study, folder, workers=workers, plugins=plugins, on_progress=on_progress)
    answers = plain({**summarise(study, found), "strength": strength, "scenarios": summarise_cases(cases)})
    results, text = folder / RESULTS, folder / PAGE
    with storage_errors(results, "write the results of the study"):
        write_atomic(results, plain_json(answers), durable=False)
    (folder / IMAGES).mkdir(exist_ok=True)
    pictures = draw_study(folder / IMAGES, PREFIX, study, found, answers)
    with storage_errors(text, "write the page of the study"):
        write_atomic(text, page(study, answers, pictures, command, folder).encode(), durable=False)
    return Written(answers, results, text, tuple(pictures.values()))


def import_figures() -> ModuleType:
    """Return the module that draws, `vpcore_market.study.figures`.

    Raises
    ------
    PluginError
        If vpcore-report is not installed: its style is that of every picture.
    """
    try:
        return importlib.import_module("vpcore_market.study.figures")
    except ModuleNotFoundError as error:
        raise PluginError(
            "Pictures of simulated markets need vpcore-report, which is not installed",
            fix="Run: pip install vpcore-report",
        ) from error
