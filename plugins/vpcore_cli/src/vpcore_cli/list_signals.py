"""``vp list-signals``: installed signals, and signals that fail to load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore_cli.common import (
    EXIT_INPUT,
    JsonOption,
    current_plugins,
    emit_json,
    emit_table,
    failed_rows,
    say_failed,
    shown,
)

if TYPE_CHECKING:
    from vpcore.plugins.manager import FailedPlugin, Plugins, Registered


def list_signals(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Only these. [default: all]")] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Add parameters, columns and thresholds: imports the signals.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the signals: name, summary, package, version, and failures. Works outside a workspace too."""
    plugins = current_plugins()
    installed = plugins.components("signal")
    wanted = list(names) if names else list(installed)
    signals = [_row(plugins.get("signal", name)) for name in wanted]
    unusable = _add_details(plugins, signals) if details else []
    if json:
        emit_json({"signals": signals, "failed": failed_rows([*plugins.failed, *unusable])})
    elif details:
        for i, signal in enumerate(signals):
            _print_details(signal, first=i == 0)
    else:
        columns = ("name", "summary", "package", "version")
        emit_table(
            signals, columns, empty="No signals are installed. Install a package with some, as vpcore-signals-stat."
        )
    say_failed(plugins, unusable)
    if names and unusable:  # it was asked for by name, so it is an error
        raise typer.Exit(EXIT_INPUT)


def _row(registered: Registered) -> dict[str, Any]:
    component = registered.component
    return {
        "name": component.name,
        "summary": component.summary,
        "package": registered.package.name,
        "version": registered.package.version,
        "plugin": registered.plugin,
        "target": component.target,
    }


def _add_details(plugins: Plugins, signals: list[dict[str, Any]]) -> list[FailedPlugin]:
    """Import each signal, add the details of its class, and return the signals that fail."""
    from vpcore.plugins.manager import FailedPlugin, describe

    unusable = []
    for signal in signals:
        try:
            signal |= _details(plugins.load("signal", signal["name"]))
        except Exception as error:  # a plugin's class can raise anything
            unusable.append(
                FailedPlugin(signal["name"], plugins.get("signal", signal["name"]).package, describe(error))
            )
    return unusable


def _details(cls: Any) -> dict[str, Any]:
    from vpcore.config.fields import allowed_range
    from vpcore.signal import needs_score
    from vpcore_cli.fields import default_of, type_of

    parameters = [
        {
            "name": name,
            "type": type_of(info),
            "range": allowed_range(info),
            "default": default_of(info),
            "description": info.description or "",
        }
        for name, info in cls.Params.model_fields.items()
    ]
    return {
        "signal_version": cls.version,
        "columns": list(cls.columns),
        "reads_score": bool(needs_score(cls)),
        "prediction_mode": cls.prediction_mode,
        "thresholds": list(cls().thresholds()),
        "missing": cls.missing(),
        "parameters": parameters,
    }


def _print_details(signal: dict[str, Any], *, first: bool) -> None:
    if not first:
        print()
    print(f"{signal['name']}  {signal['summary']}")
    print(f"  package     {signal['package']} {signal['version']} ({signal['target']})")
    if "columns" not in signal:
        return
    print(f"  columns     {shown(signal['columns'])}")
    print(f"  score       {'read' if signal['reads_score'] else 'not read'}")
    print(f"  values      {signal['prediction_mode']}")
    print(f"  thresholds  {shown(signal['thresholds'])}")
    if signal["missing"]:
        print(f"  missing     {signal['missing']}")
    emit_table(signal["parameters"], ("name", "type", "range", "default", "description"))
