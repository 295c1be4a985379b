"""``/metrics``: what the channels count, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from vpcore_server.channel import Channel
    from vpcore_server.hub import Hub


def _age(channel: Channel) -> float | None:
    return time.monotonic() - channel.last_bin_at if channel.n_bins else None


def _worker_p99(channel: Channel) -> float | None:
    ms = channel.status.get("p99_ms")
    return None if ms is None else ms / 1e3


def _server_p99(channel: Channel) -> float | None:
    delays = np.fromiter(channel.delays, np.float32, len(channel.delays))
    return float(np.percentile(delays, 99)) if len(delays) else None


_Rows = tuple[tuple[str, str, Callable[["Channel"], float | None]], ...]

_COUNTERS: _Rows = (
    ("vp_bins", "Bins of the worker.", lambda c: c.n_bins),
    ("vp_losses", "Times that the feed lost records.", lambda c: c.n_lost),
    ("vp_late_records", "Records that came after their bin had ended.", lambda c: c.status.get("late_records")),
    ("vp_worker_restarts", "Restarts of a dead worker.", lambda c: c.restarts),
    ("vp_skipped_bins", "Bins left out for clients that are behind.", lambda c: c.n_skipped),
)
_GAUGES: _Rows = (
    ("vp_clients", "Connected clients.", lambda c: len(c.clients)),
    ("vp_feed_age_seconds", "Seconds since the feed was heard.", lambda c: c.status.get("feed_age_s")),
    ("vp_bin_age_seconds", "Seconds since the last bin.", _age),
    ("vp_bins_behind", "Bins that the worker is behind its feed.", lambda c: c.status.get("bins_behind")),
    ("vp_invalid_share", "Invalid bins among the last 1,000.", lambda c: c.status.get("invalid_share")),
    ("vp_unknown_order_rate", "Share of unknown orders.", lambda c: c.status.get("unknown_order_rate")),
    ("vp_worker_p99_seconds", "From the close of a bin to the worker's message, p99.", _worker_p99),
    ("vp_server_p99_seconds", "From the close of a bin to the sockets of the clients, p99.", _server_p99),
    ("vp_ready", "1 if the channel is fresh and warm.", lambda c: int(not c.unready())),
)


class _Channels(Collector):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        channels = list(self._hub.channels.values())
        families: list[tuple[CounterMetricFamily | GaugeMetricFamily, Callable[[Channel], float | None]]] = [
            *((CounterMetricFamily(name, text, labels=["serving"]), value) for name, text, value in _COUNTERS),
            *((GaugeMetricFamily(name, text, labels=["serving"]), value) for name, text, value in _GAUGES),
        ]
        for family, value in families:
            for channel in channels:
                found = value(channel)
                if found is not None:
                    family.add_metric([channel.serving_id], float(found))
            yield family


class Metrics:
    """The metrics of one server; no global registry."""

    def __init__(self, hub: Hub) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Channels(hub))

    def text(self) -> bytes:
        """Return the answer of ``/metrics``."""
        return generate_latest(self._registry)
