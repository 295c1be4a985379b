"""One style for every picture: colours, fonts, and rendering to bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from vpcore.storage.atomic import storage_errors
from vpcore_cli.output import write_output

INK, MUTED, ACCENT, RULE = "#1c2430", "#6b7685", "#1f5fa8", "#d9dee5"
LONG, SHORT, NEUTRAL = "#1b7837", "#b2182b", "#8a94a3"
"""A long or a gain, a short or a loss, neither."""

SHADES = ("#7fb0df", ACCENT, "#12365f")
"""Three steps of the accent, light to dark."""

WIDTH = 9.2
"""Inches of a picture over the whole width of a page."""

SMALL = 8.0
"""Points of a legend, and of labels where there are many."""

_DPI = 110
_STYLE: dict[str, Any] = {
    "axes.facecolor": "none",
    "font.family": "sans-serif", "font.size": 9, "axes.edgecolor": RULE, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": MUTED, "ytick.color": MUTED, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#eceff3", "grid.linewidth": 0.8, "axes.axisbelow": True,
    "legend.frameon": False, "legend.fontsize": SMALL, "axes.titlesize": 9, "svg.hashsalt": "vpcore",
    "svg.fonttype": "path",
}  # fmt: skip

Paint = Callable[[Figure], None]


def render(paint: Paint, size: tuple[float, float], kind: Literal["svg", "png"] = "svg") -> bytes:
    """Return the picture that `paint` draws on an empty figure. The same picture has the same bytes.

    Parameters
    ----------
    paint : callable
        Takes the figure.
    size : (float, float)
        Width and height, inches.
    kind : {"svg", "png"}
        File format.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained", facecolor="none" if kind == "svg" else "white")
        if kind == "svg":
            canvas = FigureCanvasSVG(figure)
            paint(figure)
            canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
        else:
            figure.set_dpi(_DPI)
            agg = FigureCanvasAgg(figure)
            paint(figure)
            agg.print_png(buffer, metadata={"Software": None})  # savefig draws the figure twice
    return buffer.getvalue()


def write_png(path: Path, paint: Paint, size: tuple[float, float]) -> None:
    """Write a picture to a PNG file; its folder exists.

    Raises
    ------
    StorageError
        If the file cannot be written. Then no part of the file is left.
    """
    picture = render(paint, size, "png")
    with storage_errors(path, "write the picture"):
        write_output(path, picture)


def legend_above(axes: Any) -> None:
    """Put the legend above the axes, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles, labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, ncols=max(len(labels), 1)
    )
