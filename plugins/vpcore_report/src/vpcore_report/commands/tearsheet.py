"""``vp tearsheet``: what the values of a signal say about later returns, as one HTML page."""

from __future__ import annotations

import json as json_module
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, DatasetError, ResultsError, listed
from vpcore_cli.common import DatasetOption, JsonOption, RootOption, emit_json, open_workspace, progress, say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vpcore.backtest.session import Session
    from vpcore.workspace import Workspace

FRAMES = ("ic", "decay", "quantiles", "hits", "turnover", "day", "correlations")


def tearsheet(
    name: Annotated[str, typer.Argument(metavar="SIGNAL|ROW", help="An installed signal, or a stored row.")],
    dataset_id: DatasetOption = None,
    params_json: Annotated[
        str | None, typer.Option("--params-json", metavar="JSON", help="Parameters of the signal. [default: its own]")
    ] = None,
    horizon_ms: Annotated[
        int, typer.Option("--horizon-ms", min=1, help="Horizon of hit rate, decay and time of day.")
    ] = 10_000,
    quantiles: Annotated[int, typer.Option("--quantiles", min=2, max=20, help="Number of quantiles.")] = 5,
    learning: Annotated[
        bool, typer.Option("--learning", help="Correlate with learning signals too: each is fitted first.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="A,B,...", help="Correlate with these signals. [default: all installed ones]"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file. [default: tearsheet-NAME.html]")] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Write what a signal says about later returns, before barriers and thresholds, as one HTML page."""
    from vpcore_report.quick_start import skip_docstrings

    skip_docstrings()
    from vpcore_report.tearsheet import Settings, tearsheet as make

    settings = Settings(horizon_ms=horizon_ms, quantiles=quantiles)
    workspace = open_workspace(root)
    session, result, title, of = _values(workspace, name, dataset_id, params_json)
    others: dict[str, npt.NDArray[np.float64]] = {}
    left_out: list[str] = []
    wanted = [other for other in workspace.plugins.components("signal") if other != of]
    if against is not None:
        wanted = [item.strip() for item in against.split(",") if item.strip()]
        for other in wanted:
            workspace.plugins.get("signal", other, "--against")
    with progress("Other signals", total=len(wanted)) as update:
        for i, other in enumerate(wanted):
            update(i, description=f"Other signals: {other}")
            values = _other(workspace, other, session, learning)
            if isinstance(values, str):
                left_out.append(f"{other} ({values})")
            else:
                others[other] = values
    sheet = make(session.dataset, result, settings, name=title, others=others)
    if json:
        emit_json(
            {
                "name": sheet.name,
                "dataset_id": sheet.dataset_id,
                "n_bins": sheet.n_bins,
                "horizon_bins": sheet.horizon_bins,
                **{frame: getattr(sheet, frame).to_dicts() for frame in FRAMES},
                "left_out": left_out,
            }
        )
        return
    path = sheet.write(out if out is not None else Path(f"tearsheet-{title.replace(' ', '-')}.html"))
    if left_out:
        say(f"Not correlated: {listed(left_out)}.")
    print(path)


def _values(
    workspace: Workspace, name: str, dataset_id: str | None, params_json: str | None
) -> tuple[Session, Any, str, str]:
    """Return the session, the values, a title, and the signal's name."""
    from vpcore.backtest.session import Session
    from vpcore.experiment.trades import Leader
    from vpcore.signal import SignalResult

    if name not in workspace.plugins.components("signal"):
        with suppress(ResultsError):
            row = workspace.results.find_row(name)
            if dataset_id is not None or params_json is not None:
                raise ConfigError(
                    "A row has its own dataset and parameters", fix="Leave --dataset-id and --params-json out."
                )
            leader = Leader(workspace, row)
            title = f"{row['signal_name']} {row['row']}"
            return leader.session, SignalResult(leader.values, leader.mode), title, row["signal_name"]
    cls, given = workspace.plugins.load("signal", name), params_json or "{}"
    try:
        params = json_module.loads(given)
    except ValueError as error:
        raise ConfigError("--params-json", required="a JSON object", was=given, fix=str(error)) from None
    if not isinstance(params, dict):
        raise ConfigError("--params-json", required="a JSON object", was=given)
    signal = cls(cls.Params.parse(params, name))
    session = Session(workspace.datasets.open(_dataset_id(workspace, dataset_id), cache_dir=workspace.cache_dir))
    return session, _batch(signal, session), name, name


def _dataset_id(workspace: Workspace, named: str | None) -> str:
    if named is not None:
        return workspace.datasets.find(named)
    known = workspace.datasets.ids()
    if len(known) != 1:
        raise DatasetError(
            f"{len(known)} datasets are in the lake",
            fix=f"Name one: --dataset-id {known[-1]}." if known else "Generate one: vp generate PIPELINE",
        )
    return known[0]


def _batch(signal: Any, session: Session) -> Any:
    """Return the values of a signal, with the default scoring; a learning signal learns labels of 8 and 8 ticks."""
    from vpcore.rules import TradeRules
    from vpcore.scoring import ScoringConfig
    from vpcore.signal import MLSignal, batch, needs_score

    data = session.scored(ScoringConfig()) if needs_score(signal) else session.dataset
    labels = TradeRules(tp_ticks=8, sl_ticks=8) if isinstance(signal, MLSignal) else None
    return batch(signal, data, labels)


def _other(workspace: Workspace, name: str, session: Session, learning: bool) -> Any:
    """Return the values of another signal with its default parameters; the reason as text if it does not run here."""
    from vpcore.plugins.manager import describe
    from vpcore.signal import MLSignal

    try:
        cls = workspace.plugins.load("signal", name)
        if issubclass(cls, MLSignal) and not learning:
            return "learns: see --learning"
        return _batch(cls(cls.Params.parse({}, name)), session).values
    except Exception as error:  # the sheet of one signal does not depend on the code of another
        return describe(error)
