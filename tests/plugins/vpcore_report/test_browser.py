"""The charts of a report in a real browser: pixels, words, zoom, light and dark, wide and narrow; one page load."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpcore import Workspace
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.trades import leaders_of, trades_of
from vpcore_cli.grouping import pivoted
from vpcore_report import chart_data
from vpcore_report.write import write_report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

PIXEL = """([seq, level]) => {
  const p = vp.charts.market.heat.tile(seq).getImageData(seq % 250, ((level % 1024) + 1024) % 1024, 1, 1).data;
  return p[0] | p[1] << 8 | p[2] << 16;
}"""
WIDE = """[...document.querySelectorAll("body *")].filter((e) =>
  e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".wide")).map((e) => e.tagName + e.className)"""


@pytest.fixture
def page() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        browser.close()


@pytest.mark.slow
def test_the_charts_of_a_report(page: Any, swept: Workspace, tmp_path: Path) -> None:
    board = leaderboard(swept, "sweep")
    assert board.best is not None
    (leader,) = leaders_of(swept, board.best)
    trades, dataset = trades_of(leader), leader.dataset
    path = write_report(swept, "sweep", tmp_path / "a report.html")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "willRead" not in message.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("window.vp", timeout=60_000)

    # Pixels of known cells: the colour of the scale for pressure less vacuum of the dataset, within a step.
    layers = page.evaluate("vp.header.market.sessions[0].layers")
    cutoff = page.evaluate("vp.charts.market.heat.cutoff")
    stops = page.evaluate("[...vp.charts.market.heat.scales.diverging]")
    radius = page.evaluate("vp.header.market.radius")
    pressure, vacuum = dataset.grid("pressure"), dataset.grid("vacuum")
    mid2 = (dataset.bin("best_bid_price_int") + dataset.bin("best_ask_price_int")) // dataset.tick_int
    first, last = page.evaluate("[vp.charts.market.heat.store.first, vp.charts.market.heat.store.last]")
    checked = 0
    for seq in range(first, last, max((last - first) // 25, 1)):
        if not dataset.valid[seq]:
            continue
        for k in {-radius, -2, -1, 1, 2, radius} & set(range(-dataset.radius, dataset.radius + 1)):
            odd = int(mid2[seq]) % 2
            level = (int(mid2[seq]) - (odd if k > 0 else -odd)) // 2 + k
            amounts = [float(grid[seq, dataset.radius + k]) for grid in (pressure, vacuum)]
            limits = [layers[name]["limit"] for name in ("pressure", "vacuum")]
            steps = [2 * np.sqrt(min(a, m) * m) / 255 + m / 255**2 for a, m in zip(amounts, limits, strict=True)]
            net = min(amounts[0], limits[0]) - min(amounts[1], limits[1])
            low, high = ((net + sign * sum(steps)) / cutoff for sign in (-1, 1))
            places = [max(0, min(255, round((share + 1) / 2 * 255))) for share in (low, high)]
            wanted = {stop & 0xFFFFFF for stop in stops[max(places[0] - 1, 0) : places[1] + 2]}
            assert page.evaluate(PIXEL, [seq, level]) in wanted, (seq, k, net)
            checked += 1
    assert checked > 40

    # The list chooses a trade; the pointer tells a bin in words; buttons zoom.
    page.locator("#trades tr").nth(3).click()
    line = trades.row(2, named=True)
    title = page.inner_text(".chart-title")
    assert title.startswith(f"Trade 3 of {trades.height}: {'long' if line['side'] > 0 else 'short'} at ")
    assert line["reason"] in title
    canvas = page.locator(".heat-map")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = int(line["bin"]) - int(dataset.bin("bin_seq")[0])
    x = page.evaluate(f"vp.charts.market.heat.x({at})")
    zoom = page.evaluate("vp.charts.market.heat.zoom")
    page.mouse.move(box["x"] + x + zoom / 2, box["y"] + box["height"] / 2)
    said = page.inner_text("#tip")
    bid = dataset.bin("best_bid_price_int")[at] / 1e9
    assert f"bin {at} " in said
    assert f"bid {dataset.bin('best_bid_size')[at]} × {bid:.2f}" in said
    page.get_by_label("Zoom in").click()
    assert page.evaluate("vp.charts.market.heat.zoom") == pytest.approx(min(zoom * 1.5, 16))

    # Equity in words is that of the trades.
    curves = page.locator(".curves")
    curves.hover(position={"x": curves.bounding_box()["width"] - 12, "y": 40})
    curve = chart_data.equity_of([leader])
    assert f"net {curve.total[-1]:+.2f} ticks".replace("-", "−") in page.inner_text("#tip")

    # A map of two settings has the medians of `vp compare --pivot`.
    signal = page.evaluate("vp.charts.maps.signals.select.value")
    down, across = (page.evaluate(f"vp.charts.maps.{name}.select.value") for name in ("down", "across"))
    assert signal == board.best.signal
    over, lines = pivoted(board.rows(signal=signal), down, across, "net_pnl_ticks")
    shown = [cell for row in page.evaluate("""[...document.querySelectorAll("[data-chart=maps] tr")].slice(1)
        .map((r) => [...r.cells].slice(1).map((c) => c.textContent))""") for cell in row]  # fmt: skip
    medians = [line[name] for line in lines[::-1] for name in over]
    assert len(shown) == len(medians) > 2
    for text, value in zip(shown, medians, strict=True):
        assert text == "" if value is None else float(text) == pytest.approx(value, rel=1e-3, abs=1e-4)

    # A range on an axis leaves the rows inside it.
    n = page.evaluate("vp.charts.parallel.shown.length")
    assert n == board.rows(signal=signal)["net_pnl_ticks"].is_not_null().sum()
    page.locator(".parallel").scroll_into_view_if_needed()
    box = page.locator(".parallel").bounding_box()
    page.mouse.move(box["x"] + 34, box["y"] + box["height"] - 22)
    page.mouse.down()
    page.mouse.move(box["x"] + 34, box["y"] + 0.8 * box["height"])
    page.mouse.up()
    assert 0 < page.evaluate("vp.charts.parallel.shown.length") < n

    # Dark, and narrow: other colours, nothing wider than the screen.
    assert page.evaluate(WIDE) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("getComputedStyle(document.body).backgroundColor === 'rgb(16, 22, 29)'")
    assert page.evaluate("[...vp.charts.market.heat.scales.diverging]") != stops
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("vp.charts.market.heat.w < 390")
    assert page.evaluate(WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert complaints == []
