"""The reserve of an experiment: which of its sessions, or which part of them, is kept back."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

from vpcore.config.experiment import ReserveSpec
from vpcore.config.loader import Document
from vpcore.config.pipeline import ResolvedPipeline
from vpcore.config.resolved import KeptBack
from vpcore.errors import ConfigError, listed
from vpcore.units import NS_PER_S

Sessions = tuple[tuple[ResolvedPipeline, str], ...]
"""Sessions of an experiment in order of time, each with its place in the spec."""


def keep_back(spec: ReserveSpec | None, sessions: Sessions, document: Document) -> tuple[Sessions, KeptBack | None]:
    """Return the sessions that are evaluated, and what is kept back.

    Raises
    ------
    ConfigError
        If a date is of no session, no session is left, or a session is too short for its share.
    """
    if spec is None:
        return sessions, None
    if spec.share is not None:
        kept = KeptBack(share=spec.share, confirmations=spec.confirmations)
        for session, place in sessions:
            if not 0 < int(session.n_bins * (1.0 - spec.share)) < session.n_bins:
                raise ConfigError(
                    f"Session {session.dataset_id()} has {session.n_bins} bins",
                    where=place,
                    required=f"bins on both sides of reserve.share {spec.share:g}",
                )
        return sessions, kept
    dates = {_date(session): None for session, _ in sessions}
    unknown = [date for date in spec.dates or () if date not in dates]
    if unknown:
        raise ConfigError(
            "A date of the reserve is of no session of the experiment",
            where=document.where(("reserve", "dates")),
            was=listed(map(str, unknown)),
            required=f"some of {listed(map(str, dates))}",
        )
    reserved = tuple(session for session, _ in sessions if _date(session) in (spec.dates or ()))
    left = tuple(pair for pair in sessions if pair[0] not in reserved)
    if not left:
        raise ConfigError(
            "The reserve holds every session of the experiment",
            where=document.where(("reserve", "dates")),
            fix="Leave sessions to evaluate on, or keep back a part of each: reserve: {share: 0.3}",
        )
    return left, KeptBack(sessions=reserved, confirmations=spec.confirmations)


def _date(session: ResolvedPipeline) -> datetime.date:
    zone = ZoneInfo(session.instrument.timezone)
    return datetime.datetime.fromtimestamp(session.start_ns // NS_PER_S, zone).date()
