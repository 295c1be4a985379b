"""``vp check``: the conformance checks of signals from the command line."""

from __future__ import annotations

from dataclasses import asdict
from json import JSONDecodeError, loads
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, listed
from vpcore_cli.common import (
    EXIT_REFUSED,
    JsonOption,
    RootOption,
    current_plugins,
    emit_json,
    emit_table,
    failed_rows,
    open_workspace,
    say,
    say_failed,
)

if TYPE_CHECKING:
    from vpcore.dataset import Dataset
    from vpcore.plugins.manager import Plugins


def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SIGNAL...]", help="Signals to check.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check every installed signal.")] = False,
    dataset_id: Annotated[
        str | None, typer.Option("--dataset-id", help="Check on this dataset. [default: a synthetic session in memory]")
    ] = None,
    params_json: Annotated[
        str | None, typer.Option("--params-json", help="Parameters of the signal, as JSON. [default: its own]")
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Check signals: causality, batch equals stream, mirror antisymmetry, dead parameters, and the rest.

    Reads only. Exits 1 if a check fails.
    """
    plugins = current_plugins()
    installed = plugins.components("signal")
    if bool(names) == every:
        raise ConfigError("vp check needs signals", fix=f"Name them, or give --all. Installed: {listed(installed)}.")
    if params_json is not None and len(names or ()) != 1:
        raise ConfigError("--params-json belongs to one signal", fix="Name exactly one.")
    chosen = list(installed) if every else list(dict.fromkeys(names or ()))
    for name in chosen:
        plugins.get("signal", name)  # an unknown name is an error before anything runs
    dataset = open_workspace(root).datasets.open(dataset_id) if dataset_id is not None else None
    reports = [_checked(plugins, name, dataset, params_json) for name in chosen]
    if json:
        emit_json(
            {"passed": all(r["passed"] for r in reports), "signals": reports, "failed": failed_rows(plugins.failed)}
        )
    else:
        rows = [
            {"signal": report["signal"], "check": row["check"], "result": "ok" if row["passed"] else "FAILED", **row}
            for report in reports
            for row in report["checks"]
        ]
        emit_table(rows, ("signal", "check", "result", "seconds"), empty="No signals are installed.")
        # What stops a signal altogether fails most of its checks, with one and the same message.
        for message in dict.fromkeys(row["message"] for row in rows if row["message"]):
            say(message)
    say_failed(plugins)
    if not all(report["passed"] for report in reports):
        raise typer.Exit(EXIT_REFUSED)


def _checked(plugins: Plugins, name: str, dataset: Dataset | None, params_json: str | None) -> dict[str, Any]:
    """Return the report of one signal. After a failed import or construction, its only check is ``load``."""
    from vpcore.signal.conformance.check import check_signal

    given = parameters(params_json)
    try:
        signal = plugins.load("signal", name)(**given)
    except Exception as error:  # a plugin's class can raise anything; the other signals are checked all the same
        if given and isinstance(error, ConfigError):
            raise
        row = {"check": "load", "passed": False, "message": f"Signal '{name}': {error}", "seconds": 0.0}
        return {"signal": name, "passed": False, "dataset_id": "", "n_bins": 0, "params": {}, "checks": [row]}
    report = check_signal(signal, dataset, name=name)
    rows = [{**asdict(result), "seconds": round(result.seconds, 3)} for result in report.results]
    return {
        "signal": name,
        "passed": report.passed,
        "dataset_id": report.dataset_id,
        "n_bins": report.n_bins,
        "params": signal.params.plain(),
        "checks": rows,
    }


def parameters(text: str | None) -> dict[str, Any]:
    """Return ``--params-json`` as a dictionary."""
    if text is None:
        return {}
    try:
        values = loads(text)
    except JSONDecodeError as error:
        raise ConfigError(
            f"--params-json is not JSON: {error}", fix="Write --params-json '{\"window\": 20}'."
        ) from None
    if not isinstance(values, dict):
        raise ConfigError("--params-json", required="an object of names and values", was=text)
    return values
