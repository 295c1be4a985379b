"""``vp synth``: write a file of simulated market."""

from __future__ import annotations

import datetime
import json as json_module
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError, SourceError, VpError
from vpcore_cli.common import JsonOption, RootOption, emit_json, open_workspace, say

if TYPE_CHECKING:
    from vpcore.workspace import Workspace
    from vpcore_market.source import SyntheticParams, SyntheticReport

_START_TICKS = 24_800  # 6200 for a tick of 0.25
_LONGEST_WINDOW_S = 23 * 3600


def synth(
    out: Annotated[
        Path | None,
        typer.Option(help="The file, .dbn or .dbn.zst. [default: below lake/raw/synthetic]", show_default=False),
    ] = None,
    symbol: Annotated[str, typer.Option(help="Symbol in the file's symbology.")] = "ESU5",
    date: Annotated[str, typer.Option(help="Local date of the start.")] = "2025-07-01",
    start_time: Annotated[str, typer.Option(help="Local time of the start, HH:MM[:SS].")] = "09:30",
    timezone: Annotated[
        str | None, typer.Option(help="Time zone. [default: the instrument's, else UTC]", show_default=False)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Length. [default: 60, or as --records says]", show_default=False)
    ] = None,
    records: Annotated[
        int | None, typer.Option(help="Instead of --minutes: at least so many records.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    alpha: Annotated[
        float, typer.Option(help="Planted effect: tilt of the price walk, -1 to 1; 0: none at all.")
    ] = 0.0,
    events_per_second: Annotated[float, typer.Option(help="Ordinary events per second.")] = 15.0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other parameter of the market, as tick_size=0.01."),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also write configs/pipelines/NAME.yaml for this file.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file of other content.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Simulate a market order by order and write it as a DBN file that any reader of Databento files can read."""
    from vpcore_market.source import parse_params

    if records is not None and minutes is not None:
        raise ConfigError("--minutes and --records both say where the market ends. Leave one out.")
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"--minutes must be greater than 0, was {minutes:g}.")
    workspace = _workspace(root, required=out is None or pipeline is not None, open_workspace=open_workspace)
    zone, tick_size = _instrument(workspace, symbol, timezone)
    values: dict[str, Any] = {
        "symbol": symbol,
        "start_ns": _start_ns(date, start_time, zone),
        "duration_s": 60.0 * (60.0 if minutes is None else minutes),
        "records": records,
        "seed": seed,
        "alpha": alpha,
        "events_per_second": events_per_second,
    }
    values |= {"tick_size": tick_size} if tick_size else {}
    values |= _parse_settings(settings or [], values)
    if "tick_size" in values and "start_price" not in values:
        values["start_price"] = _whole_ticks(values["tick_size"])
    params = parse_params(values, "vp synth")
    path = out or _default_path(workspace, params, date)
    report, fresh = _write(path, params, force)
    if workspace is not None and path.is_relative_to(workspace.raw):
        workspace.keep_raw(path)
    text = _pipeline_text(pipeline or "synthetic", workspace, report, zone, explicit=timezone is not None)
    spec = None
    if pipeline is not None and workspace is not None:
        spec = _write_pipeline(workspace, pipeline, text, force)
    if json:
        emit_json(_as_dict(report, fresh, spec))
        return
    say(f"{'Wrote' if fresh else 'Already there, the same bytes:'} {path}")
    for line in _lines(report):
        print(line)
    if spec is not None:
        say(f"Wrote {spec}")
    else:
        say("A pipeline for it (or run again with --pipeline NAME):")
        say(text.rstrip())


def _workspace(root: Path | None, *, required: bool, open_workspace: Any) -> Workspace | None:
    try:
        found: Workspace = open_workspace(root)
    except VpError:
        if required or root is not None:
            raise
        return None
    return found


def _instrument(workspace: Workspace | None, symbol: str, timezone: str | None) -> tuple[str, float | None]:
    """Return the time zone of the command's date and time, and the tick size if an instrument says it."""
    from vpcore.halts import check_timezone

    zone = None
    if timezone is not None:
        try:
            zone = check_timezone(timezone)
        except ValueError as error:
            raise ConfigError(f"--timezone: {error}") from error
    if workspace is None:
        return zone or "UTC", None
    instrument = workspace.instrument(symbol)
    return zone or instrument.timezone, float(instrument.tick_size)


def _start_ns(date: str, start_time: str, zone: str) -> int:
    from vpcore.config.clock import clock_ns, local_to_ns

    try:
        day = datetime.date.fromisoformat(date)
    except ValueError as error:
        raise ConfigError(f"--date must be a date such as 2025-07-01, was '{date}'.") from error
    try:
        return local_to_ns(day, clock_ns(start_time), zone)
    except ValueError as error:
        raise ConfigError(f"--start-time: {error}") from error


def _parse_settings(settings: list[str], taken: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set takes NAME=VALUE, was '{setting}'.")
        if name in taken and name != "tick_size":
            raise ConfigError(f"--set {name}: this parameter has an option of its own, see vp synth --help.")
        try:
            found[name] = text if name == "mode" else int(text) if text.lstrip("-").isdigit() else float(text)
        except ValueError as error:
            raise ConfigError(f"--set {name} takes a number, was '{text}'.") from error
    return found


def _whole_ticks(tick_size: float) -> float:
    from vpcore.units import PRICE_SCALE, tick_to_int

    try:
        return _START_TICKS * tick_to_int(tick_size) / PRICE_SCALE
    except ValueError as error:
        raise ConfigError(f"--set tick_size: {error}") from error


def _default_path(workspace: Workspace | None, params: SyntheticParams, date: str) -> Path:
    assert workspace is not None
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in params.symbol)
    return workspace.raw / "synthetic" / f"{name}-{date}-seed{params.seed}-{params.digest()[:8]}.mbo.dbn.zst".lower()


def _write(path: Path, params: SyntheticParams, force: bool) -> tuple[SyntheticReport, bool]:
    """Write the file; an existing one of the same bytes stays, one of others only goes if `force` says so."""
    import os
    import shutil

    from vpcore.canonical import file_digest
    from vpcore.storage.atomic import temporary_folder
    from vpcore_market.source import write_synthetic

    if not path.name.endswith((".dbn", ".dbn.zst")):
        raise SourceError(f"--out must end in .dbn or .dbn.zst, was {path}.")
    if force or not path.exists():
        return write_synthetic(path, params), True
    folder, held = temporary_folder(path)
    try:
        rival = folder / path.name
        report = write_synthetic(rival, params)
        if file_digest(rival) != file_digest(path):
            raise SourceError(
                f"{path} exists and holds something else. Choose another --out, or replace it with --force."
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
    return replace(report, path=path), False


def _pipeline_text(
    name: str, workspace: Workspace | None, report: SyntheticReport, zone: str, *, explicit: bool
) -> str:
    """Return a pipeline spec that reads the whole file, or its first 23 hours."""
    from zoneinfo import ZoneInfo

    seconds = min((report.end_ns - report.start_ns) // 10**9, _LONGEST_WINDOW_S)
    start = datetime.datetime.fromtimestamp(report.start_ns // 10**9, ZoneInfo(zone))
    end = datetime.datetime.fromtimestamp(report.start_ns // 10**9 + seconds, ZoneInfo(zone))
    lines = [
        f"name: {name}",
        "capture:",
        f"  symbol: {json_module.dumps(report.params.symbol)}",
        f"  date: {start:%Y-%m-%d}",
        f'  start_time: "{start:%H:%M:%S}"',
        f'  end_time: "{end:%H:%M:%S}"',
    ]
    if end.date() != start.date():
        lines.append("  overnight: true")
    if explicit or workspace is None:
        lines.append(f"  timezone: {zone}")
    if workspace is not None and report.path.resolve().is_relative_to(workspace.raw.resolve()):
        named = report.path.resolve().relative_to(workspace.raw.resolve()).as_posix()
    else:
        named = str(report.path.resolve())
    lines.append(f"  files: [{json_module.dumps(named)}]")
    return "\n".join(lines) + "\n"


def _write_pipeline(workspace: Workspace, name: str, text: str, force: bool) -> Path:
    from vpcore.storage.atomic import write_atomic

    path = workspace.configs / "pipelines" / f"{name}.yaml"
    before = path.read_text() if path.exists() else None
    if before is not None and before != text and not force:
        raise ConfigError(f"{path} exists and says something else. Choose another name, or replace it with --force.")
    try:
        write_atomic(path, text.encode())
        workspace.pipeline(name)
    except VpError:  # a name that no spec may have: leave nothing behind
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_atomic(path, before.encode())
        raise
    except OSError as error:
        raise ConfigError(f"{path} could not be written: {error.strerror or error}.") from error
    return path


def _as_dict(report: SyntheticReport, fresh: bool, spec: Path | None) -> dict[str, Any]:
    found = asdict(report)
    found["params"] = report.params.model_dump()
    return found | {"written": fresh, "pipeline": spec}


def _lines(report: SyntheticReport) -> list[str]:
    from vpcore.source.protocol import utc

    params = report.params
    return [
        f"market     {params.symbol} (instrument {params.instrument_id}), seed {params.seed}, alpha {params.alpha:g}",
        f"span       {utc(report.start_ns)} to {utc(report.end_ns)} (UTC)",
        f"records    {report.records:,} in {report.events:,} events, {report.trades:,} trades, "
        f"{report.volume:,} contracts",
        f"walk       {report.steps:,} steps; imbalance {report.imbalance_std:.3f} (rms), "
        f"correlation with the next step {report.imbalance_correlation:+.3f}",
    ]
