"""Pictures: the frame as a heat map around the mid, the signal, and where it trades."""

from __future__ import annotations

import datetime
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from vpcore.errors import ConfigError
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore.units import NS_PER_S

if TYPE_CHECKING:
    from vpcore.backtest.entries import Detections
    from vpcore.dataset import Dataset

LONG_COLOUR, SHORT_COLOUR = "#1b7837", "#b2182b"


def busiest_window(detections: Detections, n_bins: int, width: int) -> tuple[int, int]:
    """Return the bins ``[start, stop)`` of the window of `width` bins with the most entries, the first of equals."""
    width = min(width, n_bins)
    if not len(detections):
        return 0, width
    starts = np.clip(detections.bins - width // 20, 0, n_bins - width)
    ends = np.searchsorted(detections.bins, starts + width)
    count = ends - np.searchsorted(detections.bins, starts)
    start = int(starts[int(np.argmax(count))])
    return start, start + width


def zone_of(manifest: Mapping[str, Any]) -> str:
    """Return the time zone in which a dataset's session is spoken of: its instrument's."""
    return str(manifest.get("pipeline", {}).get("instrument", {}).get("timezone") or "UTC")


def frame_chart(
    path: Path,
    dataset: Dataset,
    values: npt.NDArray[np.float64],
    detections: Detections,
    *,
    threshold: float,
    start: int,
    stop: int,
    title: str,
    zone: str = "UTC",
) -> None:
    """Write a PNG of bins ``[start, stop)``: net flow around the mid, the mid with entries, and the signal.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    dataset : Dataset
        With the columns ``pressure`` and ``vacuum``.
    values : float64[n_bins]
        The signal over the whole dataset, NaN where it has no value.
    detections : Detections
        Entries over the whole dataset.
    threshold : float
        Drawn on both sides of zero.
    start, stop : int
        The bins to draw.
    title : str
        Above the picture.
    zone : str
        IANA time zone in which the time of the first bin is written.

    Raises
    ------
    ConfigError
        If matplotlib is not installed, or the window is empty.
    StorageError
        If the file cannot be written; nothing is left of it then.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import SymLogNorm
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "A picture needs matplotlib, which is not installed. Run: pip install 'vpcore[plot]'"
        ) from error
    if not 0 <= start < stop <= dataset.n_bins:
        raise ConfigError(f"The window must lie in the {dataset.n_bins} bins of the dataset, was {start} to {stop}.")
    part = slice(start, stop)
    net = dataset.grid("pressure")[part].astype(np.float64) - dataset.grid("vacuum")[part]
    valid = dataset.valid[part]
    net[~valid] = np.nan
    minutes = (dataset.bin("bin_end_ns")[part] - dataset.bin("bin_end_ns")[start]) / (60 * NS_PER_S)
    mid = np.where(valid, dataset.bin("mid_price")[part], np.nan)
    inside = (detections.bins >= start) & (detections.bins < stop)
    at, sides = detections.bins[inside] - start, detections.sides[inside]

    figure = Figure(figsize=(12, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    heat, price, line = figure.subplots(3, 1, sharex=True, height_ratios=(2.2, 1.2, 1.0))
    radius = dataset.radius
    limit = float(np.nanpercentile(np.abs(net), 99.5)) if valid.any() else 1.0
    image = heat.imshow(
        net.T,
        aspect="auto",
        origin="lower",
        extent=(0.0, float(minutes[-1]) if len(minutes) > 1 else 1.0, -radius - 0.5, radius + 0.5),
        cmap="PuOr_r",
        norm=SymLogNorm(linthresh=max(limit / 100, 1e-6), vmin=-max(limit, 1e-6), vmax=max(limit, 1e-6)),
        interpolation="nearest",
    )
    figure.colorbar(image, ax=heat, label="pressure − vacuum (contracts/s)", pad=0.01)
    heat.axhline(0, color="black", linewidth=0.6)
    heat.set_ylabel("cell k (ticks from the mid)\n← bid side    ask side →")

    price.plot(minutes, mid, color="black", linewidth=0.9, label="mid")
    _entries(price, minutes, mid, at, sides)
    price.set_ylabel("mid price")
    # Above the axes, where it hides no entry.
    price.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, frameon=False, fontsize=8, ncols=3)
    price.ticklabel_format(axis="y", useOffset=False)

    line.plot(minutes, values[part], color="#2166ac", linewidth=0.9)
    for level in (threshold, -threshold):
        line.axhline(level, color="grey", linewidth=0.8, linestyle="--")
    _entries(line, minutes, values[part], at, sides)
    line.set_ylabel("signal")
    first = datetime.datetime.fromtimestamp(int(dataset.bin("bin_end_ns")[start]) // NS_PER_S, ZoneInfo(zone))
    line.set_xlabel(f"minutes after {first:%Y-%m-%d %H:%M:%S} ({zone})")
    for axes in (price, line):
        axes.grid(alpha=0.25)
        axes.margins(x=0)
    figure.suptitle(title, fontsize=11)
    picture = io.BytesIO()
    # Without the name of the software the same picture has the same bytes.
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    with storage_errors(path, "write the picture"):
        write_atomic(Path(path).absolute(), picture.getvalue(), durable=False)


def _entries(
    axes: Any, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], at: npt.NDArray[Any], sides: npt.NDArray[Any]
) -> None:
    for side, marker, colour, label in ((1, "^", LONG_COLOUR, "long"), (-1, "v", SHORT_COLOUR, "short")):
        rows = at[sides == side]
        axes.scatter(x[rows], y[rows], marker=marker, s=46, color=colour, zorder=3, label=label, edgecolors="white")


def heat_table(
    path: Path, rows: Sequence[Mapping[str, Any]], down: str, over: Sequence[str], *, across: str, label: str
) -> None:
    """Write a PNG of a table of two settings, blue where the figure is above 0 and red where it is below.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    rows : sequence of mappings
        One per value of the setting `down`, with that and the figure under each of `over`.
    down, across : str
        The settings.
    over : sequence of str
        Values of the setting across.
    label : str
        Of the figure.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    StorageError
        If the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "A picture needs matplotlib, which is not installed. Run: pip install 'vpcore[plot]'"
        ) from error
    grid = np.array([[np.nan if row[name] is None else row[name] for name in over] for row in rows], dtype=np.float64)
    limit = float(np.nanmax(np.abs(grid))) if np.isfinite(grid).any() else 1.0
    figure = Figure(figsize=(2.6 + 0.7 * len(over), 1.6 + 0.42 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(grid, cmap="RdBu", vmin=-(limit or 1.0), vmax=limit or 1.0, aspect="auto")
    axes.set_xticks(range(len(over)), over, rotation=0 if len(over) <= 10 else 90)
    values = [row[down] for row in rows]
    axes.set_yticks(range(len(rows)), [f"{v:g}" if isinstance(v, (int, float)) else str(v) for v in values])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    if grid.size <= 400:
        for i, j in np.argwhere(np.isfinite(grid)):
            ink = "white" if abs(grid[i, j]) > 0.6 * limit else "black"
            axes.text(j, i, f"{grid[i, j]:.3g}", ha="center", va="center", fontsize=8, color=ink)
    figure.colorbar(image, ax=axes, label=label)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    with storage_errors(path, "write the picture"):
        write_atomic(Path(path).absolute(), picture.getvalue(), durable=False)
