"""What is on the pictures: every mark stands where its data says."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from vpcore.errors import StorageError
from vpcore_report import charts
from vpcore_report.chart_data import (
    Calibration,
    Costs,
    Distributions,
    Intervals,
    MarketWindow,
    Pivot,
    Stretches,
)
from vpcore_report.style import render, write_png

NAN = float("nan")


def painted(paint: Any, data: Any, **more: Any) -> Figure:
    figure = Figure(figsize=(9, 6), layout="constrained")
    paint(figure, data, **more)
    figure.draw_without_rendering()
    return figure


def segments(axes: Any, place: int = 0) -> np.ndarray:
    return np.array([path.vertices for path in axes.collections[place].get_paths()])


def test_whiskers_of_the_ranking_end_at_the_interval() -> None:
    data = Intervals(("a", "b"), np.array([0.5, -1.0]), np.array([-0.25, NAN]), np.array([1.5, NAN]))
    (axes,) = painted(charts.intervals, data).axes
    whiskers = segments(axes)
    assert whiskers[0].tolist() == [[-0.25, 1.0], [1.5, 1.0]]  # the first row on top
    assert np.isnan(whiskers[1][:, 0]).all()
    assert axes.collections[1].get_offsets().tolist() == [[0.5, 1.0], [-1.0, 0.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_bars_of_stretches_have_their_errors() -> None:
    data = Stretches(
        ("09:30", "09:35", "09:40"), np.array([3.0, -1.0, NAN]), np.array([NAN, 0.5, NAN]), np.array([1, 2, 0])
    )
    (axes,) = painted(charts.stretches, data).axes
    bars, errors = axes.containers[1], axes.containers[0]
    assert [bar.get_height() for bar in bars][:2] == [3.0, -1.0]
    whiskers = np.array([path.vertices for path in errors.lines[2][0].get_paths()])
    assert whiskers[1][:, 1].tolist() == [-1.5, -0.5]
    assert np.isnan(whiskers[0][:, 1]).all()  # one trade has no error
    assert [label.get_text() for label in axes.get_xticklabels()] == ["09:30\n1", "09:35\n2", "09:40\n0"]


def test_lines_of_costs_and_the_ring() -> None:
    net = np.array([[1.0, 0.5], [0.0, -0.5], [-1.0, -1.5]])
    data = Costs((0, 1), ("0", "1"), ("lower", "own", "higher"), (9, 9), net, net - 0.25, net + 0.75, (1, 1))
    (axes,) = painted(charts.costs, data).axes
    for line, row in zip(axes.containers, net, strict=True):
        assert line.lines[0].get_ydata().tolist() == row.tolist()
        whiskers = np.array([path.vertices for path in line.lines[2][0].get_paths()])
        assert whiskers[:, :, 1].tolist() == [[value - 0.25, value + 0.75] for value in row]
    (ring,) = [item for item in axes.collections if isinstance(item, PathCollection)]
    assert ring.get_offsets().tolist() == [[1.0, -0.5]]


def test_histograms_are_stacked() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    counts = np.array([[1, 2], [3, 0], [0, 4]])
    figure = painted(charts.distributions, Distributions(edges, counts, 0.5, edges, counts, 1.5))
    for axes in figure.axes:
        bars = [[(bar.get_y(), bar.get_height()) for bar in group] for group in axes.containers]
        assert bars == [[(0, 1), (0, 2)], [(1, 3), (2, 0)], [(4, 0), (2, 4)]]


def test_numbers_of_a_pivot() -> None:
    data = Pivot("tp_ticks", "gain", "net_pnl_ticks", ("2", "4"), ("1", "3"), np.array([[0.5, NAN], [-1.0, 2.0]]))
    axes, bar = painted(charts.pivot, data).axes
    assert [(text.get_position(), text.get_text()) for text in axes.texts] == [
        ((0, 0), "+0.50"), ((0, 1), "-1.00"), ((1, 1), "+2.00"),
    ]  # fmt: skip
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gain", "take-profit (ticks)")
    assert bar.get_ylabel() == "median net PnL per trade, ticks"


def test_points_of_a_calibration() -> None:
    data = Calibration(np.array([0.2, 0.7]), np.array([0.3, 0.6]), np.array([10, 2000]))
    (axes,) = painted(charts.calibration, data).axes
    assert axes.lines[1].get_xydata().tolist() == [[0.2, 0.3], [0.7, 0.6]]
    assert [text.get_text() for text in axes.texts] == ["10", "2,000"]


def window(n: int = 50) -> MarketWindow:
    rng = np.random.default_rng(0)
    return MarketWindow(
        first=datetime(2024, 1, 2, 10, tzinfo=UTC), minutes=np.arange(n) / 10, net_flow=rng.normal(size=(n, 11)), limit=35.0,
        mid=100 + np.arange(n) / 4, values=rng.random(n), long_level=0.7, short_level=0.3,
        decisions=np.array([4, 9, 40]), decision_sides=np.array([1, -1, 1], np.int8), entries=np.array([5, 10, 41]),
        exits=np.array([20, 25, 60]), sides=np.array([1, -1, 1], np.int8), outcomes=np.array([1, -1, 0], np.int8),
        barriers=((0, 103.25, 100.25), (2, 112.25, 109.25)),
    )  # fmt: skip


def test_marks_on_the_market() -> None:
    data = window()
    heat, price, line, bar = painted(charts.market_window, data, title="t").axes
    assert [label.get_text() for label in bar.get_yticklabels()] == ["−10", "−1", "0", "1", "10"]
    assert "orange: liquidity builds" in bar.get_ylabel()
    assert heat.images[0].get_array().shape == (60, 50)  # 50 prices of the mid, and 5 cells on each side
    assert heat.images[0].get_extent() == [0.0, 4.9, 98.625, 113.625]
    lines = [
        (*segment[0], segment[1][0]) for item in price.collections for segment in getattr(item, "get_segments", list)()
    ]
    assert lines == [(0.5, 103.25, 2.0), (0.5, 100.25, 2.0), (4.1, 112.25, 4.9), (4.1, 109.25, 4.9)]
    marks = {item.get_label(): item.get_offsets().tolist() for item in price.collections}
    assert marks["long"] == [[0.5, 101.25], [4.1, 110.25]]
    assert marks["short"] == [[1.0, 102.5]]
    assert marks["exit: take-profit"] == [[2.0, 105.0]]
    assert marks["exit: stop"] == [[2.5, 106.25]]
    assert marks["exit: timeout"] == []  # behind the window
    assert sorted(item.get_ydata()[0] for item in line.lines[1:]) == [0.3, 0.7]
    decided = {item.get_label(): item.get_offsets()[:, 0].tolist() for item in line.collections}
    assert decided == {"long": [0.4, 4.0], "short": [0.9]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_picture_has_the_same_bytes(kind: Any) -> None:
    paint = partial(charts.market_window, data=window(), title="a")
    assert render(paint, (6, 5), kind) == render(paint, (6, 5), kind)
    assert render(paint, (6, 5), kind) != render(partial(paint, title="b"), (6, 5), kind)


def test_labels_of_the_colour_bar_do_not_overlap() -> None:
    figure = painted(charts.market_window, window(), title="t")
    boxes = sorted(
        (label.get_window_extent() for label in figure.axes[3].get_yticklabels()), key=lambda box: float(box.y0)
    )
    assert all(below.y1 < above.y0 for below, above in pairwise(boxes))


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Could not write the picture"):
        write_png(tmp_path / "file" / "a.png", partial(charts.market_window, data=window(), title="a"), (6, 5))
