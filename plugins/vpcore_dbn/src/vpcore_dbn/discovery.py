"""Which files hold a capture window of a symbol. Only headers are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vpcore.errors import SourceError, did_you_mean
from vpcore.source.protocol import SourceRequest, utc
from vpcore.storage import Folder
from vpcore.storage.protocol import TEMPORARY
from vpcore_dbn.header import SourceFile, read_header, require_complete, require_mbo

SUFFIXES = (".dbn", ".dbn.zst")
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Selection:
    """Files in reading order, the requested symbol's instrument in each, and remarks on the choice."""

    files: tuple[SourceFile, ...]
    instrument_ids: tuple[int, ...]
    warnings: tuple[str, ...]


def select_files(request: SourceRequest) -> Selection:
    """Choose the files of a window: the named ones, else those found anywhere below `request.raw`.

    Raises
    ------
    SourceError
        If a named file is unfit; if no file holds the symbol, or none covers any of the window; if files overlap,
        unless one of them is damaged and the others cover all of the window that it does.
    """
    if request.files:
        candidates = [_usable(path) for path in request.files]
        for file in candidates:
            file.instrument(request.symbol, request.start_ns, request.end_ns)
        if not any(file.overlaps(request.start_ns, request.end_ns) for file in candidates):
            raise SourceError(_not_covered(request, "the files of capture.files", candidates))
    else:
        candidates = _discover(request)
    files = sorted(candidates, key=lambda file: (file.start_ns, str(file.path)))
    late = [file for file in files if file.start_ns >= request.end_ns]
    files = [file for file in files if file.start_ns < request.end_ns]
    files, warnings = _without_damaged(request, files)
    _refuse_overlap(request.symbol, files)
    warnings += [
        f"{file.path.name} begins at {utc(file.start_ns)}, after the window, and is not read." for file in late
    ]
    warnings += _gaps(request, files)
    ids = tuple(file.instrument(request.symbol, request.start_ns, request.end_ns) for file in files)
    _refuse_roll(request, files, ids)
    return Selection(tuple(files), ids, tuple(warnings))


def folder_of(request: SourceRequest) -> Folder:
    """Return the folder in which files are looked for.

    Raises
    ------
    SourceError
        If the request has none.
    """
    if request.raw is None:
        raise SourceError("No file is named and no folder to look in is known. Name the files in capture.files.")
    return request.raw


def _usable(path: Path) -> SourceFile:
    file = read_header(path)
    require_mbo(file)
    return file


def _discover(request: SourceRequest) -> list[SourceFile]:
    root = folder_of(request).path
    named = (path for path in root.rglob("*") if path.name.endswith(SUFFIXES) and path.is_file())
    paths = sorted(
        path for path in named if not any(part.startswith(TEMPORARY) for part in path.relative_to(root).parts)
    )
    if not paths:
        raise SourceError(
            f"There is no .dbn or .dbn.zst file below {root}. Put files there, or name them in capture.files."
        )
    files: list[SourceFile] = []
    skipped: list[str] = []
    for path in paths:
        try:
            files.append(_usable(path))
        except SourceError as error:
            skipped.append(str(error))
    holding = [file for file in files if file.has(request.symbol)]
    if not holding:
        raise SourceError(_nowhere(request.symbol, root, files, skipped))
    found = [file for file in holding if file.overlaps(request.start_ns, request.end_ns)]
    # A file may map the symbol on other days than those of the window: then another file has to cover it.
    covering = [file for file in found if _mapped(file, request)]
    if not covering:
        raise SourceError(_not_covered(request, f"the files below {root}", holding) + _also(skipped))
    return covering


def _mapped(file: SourceFile, request: SourceRequest) -> bool:
    low = max(file.start_ns, request.start_ns)
    high = request.end_ns if file.end_ns is None else min(file.end_ns, request.end_ns)
    return any(
        m.start_ns < high and m.end_ns > low
        for m in file.mappings
        if request.symbol in (m.symbol, str(m.instrument_id))
    )


def _without_damaged(request: SourceRequest, files: list[SourceFile]) -> tuple[list[SourceFile], list[str]]:
    """Leave out damaged files whose window other files cover, with a remark.

    Raises
    ------
    SourceError
        If a damaged file that overlaps another is named or needed.
    """
    meeting = {
        file
        for first, second in pairwise(files)
        if first.end_ns is not None and second.start_ns < first.end_ns
        for file in (first, second)
    }
    damaged: dict[SourceFile, SourceError] = {}
    for file in files:
        if file in meeting:
            try:
                require_complete(file)
            except SourceError as error:
                damaged[file] = error
    whole = [file for file in files if file not in damaged]
    for file, wrong in damaged.items():
        if request.files or not _covered(request, file, whole):
            raise wrong
    return whole, [f"{wrong} It was passed over: others cover what it does." for wrong in damaged.values()]


def _covered(request: SourceRequest, file: SourceFile, others: Sequence[SourceFile]) -> bool:
    """Return True if `others`, in order, cover the whole part of the window in `file`."""
    reached = max(file.start_ns, request.start_ns)
    end_ns = request.end_ns if file.end_ns is None else min(file.end_ns, request.end_ns)
    for other in others:
        if other.start_ns <= reached:
            reached = request.end_ns if other.end_ns is None else max(reached, other.end_ns)
    return reached >= end_ns


def _refuse_overlap(symbol: str, files: Sequence[SourceFile]) -> None:
    for first, second in pairwise(files):
        if first.end_ns is not None and second.start_ns < first.end_ns:
            raise SourceError(
                f"{symbol} is in two files whose spans overlap: {first.path} ({first.span}) and {second.path} "
                f"({second.span}). Name the one to read in capture.files."
            )


def _refuse_roll(request: SourceRequest, files: Sequence[SourceFile], ids: Sequence[int]) -> None:
    """Refuse a window whose symbol stands for one contract in one file and for another in the next.

    The number of a contract may change from day to day, so a contract's own symbol always stands for itself. A symbol
    that follows a rule, such as ``ES.c.0``, stands for the contract that the file names beside it, or for its number.
    """
    if all(file.stype_in in ("raw_symbol", "") for file in files) and "." not in request.symbol:
        return
    for (file, number), (later, next_number) in pairwise(zip(files, ids, strict=True)):
        names = file.contract(number), later.contract(next_number)
        if names[0] != names[1]:
            raise SourceError(
                f"{request.symbol} rolls from {names[0]} to {names[1]} within the window, at "
                f"{utc(max(later.start_ns, request.start_ns))} ({file.path.name}, then {later.path.name}). Trades over "
                "a roll would earn the difference between two contracts: make a session on each contract."
            )


def _gaps(request: SourceRequest, files: Sequence[SourceFile]) -> Iterable[str]:
    if files[0].start_ns > request.start_ns:
        yield (
            f"The window begins at {utc(request.start_ns)}, before the first file, "
            f"{files[0].path.name}, at {utc(files[0].start_ns)}."
        )
    for first, second in pairwise(files):
        if first.end_ns is not None and second.start_ns > first.end_ns:
            yield (
                f"No file covers {utc(first.end_ns)} to {utc(second.start_ns)}, "
                f"between {first.path.name} and {second.path.name}."
            )
    end_ns = files[-1].end_ns
    if end_ns is not None and end_ns < request.end_ns:
        yield f"The window ends at {utc(request.end_ns)}, after the last file, {files[-1].path.name}, at {utc(end_ns)}."


def _not_covered(request: SourceRequest, where: str, files: Sequence[SourceFile]) -> str:
    spans = [f"{file.path.name} ({file.span}; {_symbol_dates(file, request.symbol)})" for file in files]
    return (
        f"The window of {request.symbol}, {utc(request.start_ns)} to {utc(request.end_ns)} UTC, "
        f"is covered by none of {where}: {_some(spans)}. Choose a window within one of these spans."
    )


def _symbol_dates(file: SourceFile, symbol: str) -> str:
    dates = sorted({m.dates for m in file.mappings if symbol in (m.symbol, str(m.instrument_id))})
    return f"{symbol} {', '.join(dates)}"


def _nowhere(symbol: str, root: Path, files: Sequence[SourceFile], skipped: Sequence[str]) -> str:
    if not files:
        return f"No file below {root} holds market-by-order records.{_also(skipped)}"
    hint = did_you_mean(symbol, {name for file in files for name in file.names})
    held = _some([f"{file.path.name}: {file.holding(6)}" for file in files])
    return (
        f"{symbol} is in no file below {root}. They hold: {held}.{hint} "
        f"Set capture.symbol to one of these.{_also(skipped)}"
    )


def _also(skipped: Sequence[str]) -> str:
    return f" Files that were passed over: {_some(skipped)}" if skipped else ""


def _some(items: Sequence[str]) -> str:
    more = f"; and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more
