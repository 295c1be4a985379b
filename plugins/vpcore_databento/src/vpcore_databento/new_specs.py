"""New specs from a file: pipeline, serving spec and experiment from its records, an instrument from its definitions."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from vpcore.config.clock import local_to_ns
from vpcore.config.grid import start_signals
from vpcore.config.instruments import InstrumentSpec, packaged_instrument, packaged_instruments
from vpcore.config.loader import parse_document
from vpcore.config.messages import validate
from vpcore.config.store import FOLDERS, ConfigStore
from vpcore.errors import ConfigError, SourceError, VpError, did_you_mean
from vpcore.source.protocol import SourceRequest, utc
from vpcore.storage import Folder
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore.units import NS_PER_S, int_to_price
from vpcore_cli.specs import check_spec
from vpcore_databento.definitions import Definition
from vpcore_dbn.inspect import MINUTE_NS, Inspection, InstrumentFigures

_RESERVE_NS = 30 * MINUTE_NS
"""A shorter window is too short to keep some of it back."""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a file that a new pipeline covers: ``[start_ns, end_ns)``, and the records of the symbol in it."""

    start_ns: int
    end_ns: int
    records: int


# -- pipeline, serving spec, experiment --------------------------------------------------------------------------------


def choose_symbol(found: Inspection, symbol: str | None = None) -> tuple[str, InstrumentFigures]:
    """Return the symbol of a file that a pipeline is for, and its figures: the given one, else the busiest.

    Raises
    ------
    SourceError
        If the file holds no record of it.
    """
    named = {name: item for item in found.instruments.values() for name in item.symbols if item.live_first_ns}
    if symbol is None and named:
        symbol = max(sorted(named), key=lambda name: (named[name].records, "." not in name))
    if symbol is None or symbol not in named:
        what = f"{found.file.path.name} holds no record of {symbol or 'a symbol that is mapped to an instrument'}"
        raise SourceError(
            f"{what}. It has records of: {', '.join(sorted(named)) or 'none'}.{did_you_mean(symbol or '', named)}"
        )
    return symbol, named[symbol]


def choose_window(found: Inspection, item: InstrumentFigures, minutes: int) -> Window:
    """Return the consecutive minutes with most records; of a file of less than two minutes, its whole seconds.

    Parameters
    ----------
    found : Inspection
        The file.
    item : InstrumentFigures
        The symbol in it.
    minutes : int
        Longest window.

    Raises
    ------
    SourceError
        If the records last less than a second.
    """
    unit = MINUTE_NS if item.live_last_ns - item.live_first_ns >= 2 * MINUTE_NS else NS_PER_S
    first = item.live_first_ns // unit
    end_ns = (
        item.live_last_ns
        if found.file.end_ns is None
        else min(item.live_last_ns // unit * unit + unit, found.file.end_ns)
    )
    last = end_ns // unit
    if last <= first:
        span = f"{utc(item.live_first_ns)} to {utc(item.live_last_ns)}"
        raise SourceError(f"The records of {found.file.path.name} must last at least a second, were {span}.")
    if unit == NS_PER_S:
        return Window(first * unit, last * unit, sum(item.minutes.values()))
    length = min(minutes, last - first)
    counts = [item.minutes.get(minute, 0) for minute in range(first, last)]
    sums = [sum(counts[:length])]
    for at in range(length, len(counts)):
        sums.append(sums[-1] + counts[at] - counts[at - length])
    best = max(range(len(sums)), key=lambda at: (sums[at], -at))
    return Window((first + best) * unit, (first + best + length) * unit, sums[best])


def new_experiment(
    store: ConfigStore, found: Inspection, *, symbol: str | None, name: str | None, signal: str | None, minutes: int
) -> tuple[list[Path], Window]:
    """Write a pipeline, a serving spec and a small experiment for a file; all three, or none.

    Parameters
    ----------
    store : ConfigStore
        Of the workspace.
    found : Inspection
        The file.
    symbol, name, signal : str, optional
        By default the busiest symbol, symbol with date and time, and the first installed signal that fits the grid.
    minutes : int
        Longest window.

    Returns
    -------
    list of Path
        The new files, lowest layer first.
    Window
        The chosen part of the file.

    Raises
    ------
    ConfigError
        If no instrument has the symbol, no signal fits, or a spec of that name is there.
    SourceError
        If the file holds no usable window of the symbol.
    """
    symbol, item = choose_symbol(found, symbol)
    instrument = store.instrument(symbol)
    window = choose_window(found, item, minutes)
    capture = _capture(store, found, symbol, instrument, window)
    name = name or _name(symbol, window, instrument)
    pipeline = (
        f"# Written from {found.file.path.name}.\nname: {_text(name)}\ncapture:\n{capture}"
        "pipeline: {cell_width_ms: 100}  # every engine parameter is optional\n"
    )
    paths = {kind: store.configs / FOLDERS[kind] / f"{name}.yaml" for kind in ("pipeline", "serving", "experiment")}
    there = [path for path in paths.values() if path.exists()]
    if there:
        raise ConfigError(f"{there[0]} is there already", fix="Give the new specs another name: --name NAME.")
    written: list[Path] = []
    try:
        _write(paths["pipeline"], pipeline, written)
        chosen = signal or _fitting_signal(store, paths["pipeline"])
        _write(
            paths["serving"],
            f"name: {_text(name)}\npipeline: {_text(name)}\nsignal: {{name: {_text(chosen)}}}\n",
            written,
        )
        _write(paths["experiment"], _experiment(name, instrument, window), written)
        check_spec(store, "experiment", paths["experiment"])
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written, window


def _capture(store: ConfigStore, found: Inspection, symbol: str, instrument: InstrumentSpec, window: Window) -> str:
    zone = instrument.timezone
    start, end = (_local(ns, zone) for ns in (window.start_ns, window.end_ns))
    if start is None or end is None:  # the clock changes then
        zone = "UTC"
        start, end = (_EPOCH + datetime.timedelta(seconds=ns // NS_PER_S) for ns in (window.start_ns, window.end_ns))
    lines = [f"symbol: {_text(symbol)}", f"date: {start:%Y-%m-%d}"]
    lines += [f'start_time: "{_clock(start)}"', f'end_time: "{_clock(end)}"']
    if end.date() != start.date():
        midnight = (end.hour, end.minute, end.second) == (0, 0, 0)
        lines[-1] = 'end_time: "24:00"' if midnight else lines[-1]
        lines += [] if midnight else ["overnight: true"]
    if zone != instrument.timezone:
        lines.append(f"timezone: {zone}")
    if found.snapshot == "none":
        lines.append("cold_book: build  # the file begins without a snapshot")
    path = found.file.path.absolute()
    below = path.is_relative_to(store.raw.absolute())
    if not below or not _found_alone(store, symbol, window):
        key = path.relative_to(store.raw.absolute()).as_posix() if below else str(path)
        lines.append(f"files: [{_text(key)}]")
    return "".join(f"  {line}\n" for line in lines)


def _found_alone(store: ConfigStore, symbol: str, window: Window) -> bool:
    """Return True if the files below lake/raw answer for the window without being named."""
    request = SourceRequest(symbol, window.start_ns, window.end_ns, raw=Folder.of(store.raw))
    try:
        store.plugins.load("source", "dbn")().check(request)
    except VpError:
        return False
    return True


def _local(ns: int, zone: str) -> datetime.datetime | None:
    """Return a time on the wall in a zone; None if the clock shows it twice."""
    at = (_EPOCH + datetime.timedelta(seconds=ns // NS_PER_S)).astimezone(ZoneInfo(zone))
    clock = ((at.hour * 60 + at.minute) * 60 + at.second) * NS_PER_S
    try:
        return at if local_to_ns(at.date(), clock, zone) == ns else None
    except ConfigError:
        return None


def _clock(at: datetime.datetime) -> str:
    return at.strftime("%H:%M:%S" if at.second else "%H:%M")


def _name(symbol: str, window: Window, instrument: InstrumentSpec) -> str:
    at = (_EPOCH + datetime.timedelta(seconds=window.start_ns // NS_PER_S)).astimezone(ZoneInfo(instrument.timezone))
    safe = "".join(letter if letter.isalnum() else "_" for letter in symbol.lower())
    return f"{safe}_{at:%Y%m%d_%H%M}"


def _fitting_signal(store: ConfigStore, pipeline: Path) -> str:
    resolved = store.pipeline(pipeline).resolve()
    for name, registered in sorted(store.plugins.components("signal").items()):
        try:
            if not store.plugins.load("signal", name).missing():
                start_signals(store.plugins, name, [{}], resolved)
                return registered.component.name
        except VpError:
            continue
    raise ConfigError(
        "No installed signal fits the pipeline", fix="Run: pip install vpcore-signals-stat, or name one: --signal NAME."
    )


def _experiment(name: str, instrument: InstrumentSpec, window: Window) -> str:
    lines = [f"name: {_text(name)}", f"serving: {_text(name)}"]
    if window.end_ns - window.start_ns >= _RESERVE_NS:
        lines.append("reserve: {share: 0.3}  # kept back until `vp confirm`")
    lines.append("eval:")
    if instrument.fee_ticks is None:
        lines.append("  fee_ticks: 0  # the instrument has no fee_per_side: write yours, in ticks for a round trip")
    lines += ["  tp_ticks: [4, 8]", "  sl_ticks: [4, 8]", "  cooldown_bins: [20, 40]"]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str, written: list[Path]) -> None:
    with storage_errors(path, "write the spec"):
        if not write_atomic(path, text.encode(), exclusive=True):
            raise ConfigError(f"{path} is there already", fix="Give the new specs another name: --name NAME.")
    written.append(path)


def _text(value: str) -> str:
    """Return a text as YAML: in quotes where it would be read as anything else."""
    try:
        plain = parse_document(f"a: {value}", "").data == {"a": value}
    except ConfigError:
        plain = False
    if plain and not set(value) & set(",[]{}#&*!|>'\"%@`"):
        return value
    return yaml.safe_dump(value, default_style='"', width=10_000).strip()


# -- instrument --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """Fields of an instrument as its user states them; None where nothing is stated.

    Parameters
    ----------
    tick_size, multiplier, fee_per_side : float, optional
        In points; in currency per point; in currency.
    timezone, symbol_pattern : str, optional
        As in an instrument.
    """

    tick_size: float | None = None
    multiplier: float | None = None
    fee_per_side: float | None = None
    timezone: str | None = None
    symbol_pattern: str | None = None


NO_TERMS = Terms()


def new_instrument(
    store: ConfigStore,
    root: str,
    *,
    definitions: Sequence[Definition] = (),
    terms: Terms = NO_TERMS,
    price_unit_int: int = 0,
) -> Path:
    """Write the YAML file of an instrument.

    Values come from `terms`, else from the definitions, else from the packaged instrument of the root.

    Parameters
    ----------
    store : ConfigStore
        Of the workspace.
    root : str
        Root symbol, as ES.
    definitions : sequence of Definition
        Of that root.
    terms : Terms
        Stated by the user.
    price_unit_int : int
        Common step of the prices in a file, in 1e-9, for a check of the tick; 0 for none.

    Raises
    ------
    ConfigError
        If tick or multiplier are unknown, a price of the file is off the tick, or the file is there already.
    """
    path = store.configs / FOLDERS["instrument"] / f"{root}.yaml"
    if path.exists():
        raise ConfigError(f"{path} is there already", fix="Change it by hand, or move it away.")
    packaged = packaged_instrument(root)[0] if root in packaged_instruments() else None
    known = packaged.model_dump(mode="json", exclude_defaults=True) if packaged is not None else {}
    stated = {name: value for name, value in asdict(terms).items() if value is not None}
    fields = {"root": root} | known | _defined(definitions) | stated
    lacking = [f"--{key.partition('_')[0]}" for key in ("tick_size", "multiplier") if key not in fields]
    if lacking:
        step = f" Prices in the file are multiples of {int_to_price(price_unit_int):g}." if price_unit_int else ""
        raise ConfigError(
            f"{' and '.join(lacking)} must be given for {root}: neither a definition nor a packaged instrument says it",
            fix=f"They are in the exchange's contract specification.{step} Or: vp fetch SYMBOL DATE --definitions.",
        )
    lines = [f"{key}: {_value(value)}" for key, value in fields.items()]
    lines += [f"# {one.symbol} expires {utc(one.expires_ns)} UTC" for one in definitions if one.expires_ns]
    text = "\n".join(lines) + "\n"
    spec = validate(InstrumentSpec, parse_document(text, f"the new {root}.yaml"))
    if price_unit_int % spec.tick_int:
        raise ConfigError(
            "tick_size",
            required=f"a divisor of {int_to_price(price_unit_int):g} points, the common step of the prices in the file",
            was=f"{spec.tick_size:g} points",
            fix="Give the tick of an outright: --tick.",
        )
    _write(path, text, [])
    return path


def _defined(definitions: Iterable[Definition]) -> dict[str, float | str]:
    """Return the fields that definitions state. Expiries of different ticks get the most frequent one."""
    own = list(definitions)
    if not own:
        return {}
    tick_int = Counter(one.tick_int for one in own).most_common(1)[0][0]
    one = next(one for one in own if one.tick_int == tick_int)
    fields: dict[str, float | str] = {"tick_size": int_to_price(tick_int)}
    if one.multiplier is not None:
        fields["multiplier"] = one.multiplier
    return fields | ({"currency": one.currency} if one.currency else {})


def _value(value: object) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
