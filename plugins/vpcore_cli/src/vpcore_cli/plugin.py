"""The commands of this package, and the packages of other commands."""

from __future__ import annotations

from collections.abc import Iterator

from vpcore import Component, hookimpl

_COMMANDS: dict[str, dict[str, str]] = {
    "Set up": {
        "init": "Make a workspace: configs/ and an empty lake/.",
        "validate": "Check specs and their references, signal parameters and sweep axes included.",
        "list-specs": "List the specs: kind, name, spec or symbol below, file, description.",
        "plugins": "List the plugins, their components, and the failures.",
        "list-signals": "List the signals: name, summary, package, version, and failures.",
        "new-signal": "Write an installable package with a working signal, its parameters, its conformance test and a README.",
        "check": "Check signals: causality, batch equals stream, mirror antisymmetry, dead parameters, and the rest.",
        "schema": "Print the JSON schemas of the specs.",
    },
    "Data": {
        "inspect": "Show the content of files: schema, symbols, span, records by action, snapshot, silences, books, data quality.",
        "generate": "Generate the dataset of a pipeline, or those of an experiment's sessions, several at a time.",
        "verify": "Recompute the checksums of a dataset; with --rebuild, generate it again from its source and compare.",
        "list-datasets": "List the datasets: id, symbol, span, bins, share of valid bins, size, time of creation.",
    },
    "Experiments": {
        "run": "Run an experiment: generate missing datasets, evaluate missing rows, and rank all rows.",
        "compare": "Rank the stored rows of the current code, with the evidence against luck and a verdict on the leaders.",
        "trades": "Print the trades of a row, with their figures: ratios, drawdown, exposure, profit factor.",
        "results": "The results store: show a run, export, import, tag, note, archive, compact.",
        "track": "Report the stored runs of an experiment to its tracker, each run once.",
    },
    "Trust": {
        "doctor": "Read every stored file of the workspace and say what is wrong, file by file, with the command that mends it.",
        "confirm": "Evaluate a row once on the reserve of its experiment, data that nobody has looked at.",
        "audit": "Look for look-ahead in a row: compute it on prefixes, with other futures, bin by bin, with other delays and fees.",
    },
    "Serving": {
        "promote": "Publish a row of an experiment as a serving version, and move an alias to it.",
        "serving": "The published serving versions.",
        "online-sim": "Stream a dataset through scorer and signal bin by bin, time every bin, and compare with the batch values.",
    },
}

_GROUPS = ("results", "serving")


@hookimpl
def vp_commands() -> Iterator[Component]:
    """Yield the commands in the order of the help. Command and module have the same name."""
    for heading, commands in _COMMANDS.items():
        for name, summary in commands.items():
            module = name.replace("-", "_")
            target = f"vpcore_cli.{module}:{'app' if name in _GROUPS else module}"
            yield Component(name, target, summary, heading)


PACKAGES: dict[str, str] = {
    "calibrate": "vpcore-market",
    "demo": "vpcore-market",
    "fetch": "vpcore-databento",
    "import-spec": "vpcore-databento",
    "inspect-market": "vpcore-market",
    "mlflow-ui": "vpcore-mlflow",
    "new-instrument": "vpcore-databento",
    "new-pipeline": "vpcore-databento",
    "plot": "vpcore-report",
    "plot-equity": "vpcore-report",
    "plot-pivot": "vpcore-report",
    "report": "vpcore-report",
    "serve": "vpcore-server",
    "synth": "vpcore-market",
    "execution": "vpcore-report",
    "tearsheet": "vpcore-report",
}
"""By command, the package of this project that has it, for messages."""
