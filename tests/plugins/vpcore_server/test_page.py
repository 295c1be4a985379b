"""The page in a real browser: pixels, badges, clocks, keys, and no error on the console."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import numpy as np
import pytest
import vp_fault_feed
from live_server import LiveServer, live_server

import vpcore_charts
from vpcore import Workspace
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import published

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def test_the_page_is_small_and_of_this_server_alone() -> None:
    folder = resources.files("vpcore_server") / "page"
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    files |= {name: source.encode() for name, source in vpcore_charts.modules().items()}
    assert sum(map(len, files.values())) <= 100_000
    for name, data in files.items():
        text = data.decode()
        for foreign in ("http:", "https:", "eval(", "innerHTML", "javascript:"):
            assert foreign not in text.replace("http://www.w3.org/2000/svg", ""), (name, foreign)
    assert "style=" not in files["index.html"].decode()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--js-flags=--expose-gc"]
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield launched
        launched.close()


class Page:
    """A page of the browser, and everything it complained about."""

    def __init__(self, browser: Any, server: LiveServer, path: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(server.http + path)

    def _hear(self, message: Any) -> None:
        own = "willReadFrequently" in message.text  # these tests read pixels back, the page does not
        if message.type in ("error", "warning") and not own:
            self.complaints.append(message.text)

    def js(self, text: str) -> Any:
        return self.page.evaluate(text)

    def badge(self) -> str:
        return self.page.inner_text("#badge")

    def until(self, condition: Callable[[], Any], patience: float = 90.0) -> Any:
        deadline = time.monotonic() + patience
        while not (found := condition()):
            assert time.monotonic() < deadline, (self.badge(), self.complaints, self.page.inner_text("#banner"))
            time.sleep(0.05)
        return found

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []


WORD = """([seq, level]) => {
  const p = vp.heat.tile(seq).getImageData(seq % 250, ((level % 1024) + 1024) % 1024, 1, 1).data;
  return p[0] | p[1] << 8 | p[2] << 16;
}"""


TOKEN = "s" * 40
BEGIN_S = 60


@pytest.fixture(scope="module")
def replaying(served: Workspace) -> Iterator[LiveServer]:
    """The first minute comes at once, the second one as it was."""
    begin_ns = published(registry_of(served), "erd").spec.runtime.pipeline.start_ns + BEGIN_S * 10**9
    with live_server(served, ["erd"], token=TOKEN, begin_ns=begin_ns) as server:
        yield server


@pytest.mark.slow
def test_a_replay_on_the_page(browser: Any, served: Workspace, replaying: LiveServer) -> None:
    dataset = served.datasets.open(served.datasets.ids()[0])
    page = Page(browser, replaying, f"/?serving=erd#token={TOKEN}", timezone_id="Asia/Tokyo")
    page.until(lambda: page.badge() == "REPLAY ×1")
    assert page.js("getComputedStyle(document.getElementById('badge')).backgroundColor") == "rgb(31, 111, 180)"
    assert "erd on ESU5" in page.page.inner_text("#signal")
    page.until(lambda: page.page.inner_text("#clock").startswith("09:3"))
    assert page.page.inner_text("#clock").endswith("EDT")  # the instrument's zone, in summer
    assert page.js("vp.state.clock.format(Date.UTC(2025, 0, 15, 14, 30))") == "09:30:00.0 EST"  # in winter
    evidence = published(registry_of(served), "erd").evidence
    told = page.page.inner_text("#banner")
    assert f"Unproven: {' '.join(evidence.reasons)}" in told
    assert f"Weak besides; this decides nothing: {' '.join(evidence.weaknesses)}" in told
    page.until(lambda: page.js("vp.state.store.last") > 200)

    # Pixels of known cells: the colour that the scale gives to the value of the dataset.
    page.page.keyboard.press("2")  # the layer score, from -1 to 1
    page.until(lambda: page.js("vp.heat.layer") == "score")
    seqs = [int(s) for s in page.js("[...vp.state.store.seq].filter((s) => s >= 0)") if dataset.valid[int(s)]][:40:3]
    mid2 = (dataset.bin("best_bid_price_int") + dataset.bin("best_ask_price_int")) // 250_000_000
    checked = 0
    for seq in seqs:
        for k in (-12, -5, -1, 1, 4, 12):
            odd = int(mid2[seq]) % 2
            level = (int(mid2[seq]) - (odd if k > 0 else -odd)) // 2 + k
            score = page.js(f"vp.state.store.cell({seq}, 'score', {k + 12})")
            stops = page.js("[...vp.heat.scales.diverging]")
            place = round((score + 1) / 2 * 255 + 1e-9)
            wanted = {stops[max(min(place + d, 255), 0)] & 0xFFFFFF for d in (-1, 0, 1)}
            assert page.page.evaluate(WORD, [seq, level]) in wanted
            checked += 1
        depth = np.array([page.js(f"vp.state.store.cell({seq}, 'bid_depth', {c})") for c in (0, 11, 24)])
        assert (depth == dataset.grid("bid_depth")[seq][[0, 11, 24]]).all()
    assert checked > 30

    # Keyboard: freeze, follow, zoom; hover; CSV of the visible part.
    page.page.keyboard.press(" ")
    page.until(lambda: page.js("vp.state.frozen && !vp.heat.follow"))
    frozen = page.js("[vp.heat.end, vp.state.store.last]")
    page.until(lambda: page.js("vp.state.store.last") > frozen[1])
    assert page.js("vp.heat.end") == frozen[0]
    page.until(lambda: re.fullmatch(r"showing [1-9]\d* s ago", page.page.inner_text("#past")))
    zoom = page.js("vp.heat.zoom")
    page.page.keyboard.press("+")
    assert page.js("vp.heat.zoom") == pytest.approx(zoom * 1.5)
    box = page.page.locator("#heat").bounding_box()
    shares = itertools.cycle((0.6, 0.61))  # a page that is being drawn may miss one move of the mouse

    def hovers() -> bool:
        page.page.mouse.move(box["x"] + next(shares) * box["width"], box["y"] + box["height"] / 2)
        return bool(page.page.is_visible("#hover"))

    page.until(hovers)
    said = page.page.inner_text("#hover")
    for name in ("bid_depth", "pressure", "score", "projected for now"):
        assert name in said
    lines = page.js("vp.visibleCsv()").splitlines()
    seq, _, valid, bid = lines[-1].split(",")[:4]
    assert valid == "1"
    assert float(bid) == dataset.bin("best_bid_price_int")[int(seq)] / 1e9
    page.page.keyboard.press("f")
    page.until(lambda: page.js("vp.heat.end === vp.state.store.last"))
    page.until(lambda: page.page.inner_text("#past") == "")

    # Open positions come from the server, with the barriers of the published rules.
    position = page.until(lambda: page.js("vp.state.status.open?.[0]"))
    rules, tick = published(registry_of(served), "erd").spec.runtime.rules, 0.25
    assert position["take_profit"] - position["entry_price"] == pytest.approx(position["side"] * rules.tp_ticks * tick)
    assert position["stop"] - position["entry_price"] == pytest.approx(-position["side"] * rules.sl_ticks * tick)

    # 390 pixels wide, in the dark; then the experiments, and back.
    page.page.emulate_media(color_scheme="dark")
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.until(lambda: page.js("document.documentElement.scrollWidth") <= 390)
    page.page.click("#to-experiments")
    page.page.wait_for_selector("tbody tr a", timeout=90_000)
    assert page.page.inner_text("tbody tr a") == published(registry_of(served), "erd").evidence.row
    page.page.click("tbody tr a")
    page.page.wait_for_selector("#equity", timeout=90_000)
    assert page.js("document.documentElement.scrollWidth") <= 390
    page.page.click("#to-stream")
    page.until(lambda: page.badge() in ("REPLAY ×1", "ENDED"))
    assert page.js("document.getElementById('waits').hidden")  # a taker's entry is at the decision
    maker = "{...vp.state.hello, session: 'another', barriers: {...vp.state.hello.barriers, entry: 'maker'}}"
    page.js(f"vp.worker.onmessage({{data: {{text: {maker}}}}})")
    assert "stand at the decision" in page.page.inner_text("#key")
    page.close()


@pytest.mark.slow
def test_the_heap_stays_flat_over_20000_bins(browser: Any, replaying: LiveServer) -> None:
    """Twenty thousand bins of the server's own records, numbered on, through the page's store and drawing."""
    page = Page(browser, replaying, f"/?serving=erd#token={TOKEN}")
    page.until(lambda: (page.js("vp.state.store?.last") or 0) > 500)
    feed = """async ([from, n]) => {
      vp.worker.terminate();
      const { store } = vp.state, at = store.last % 6000 * store.size, record = store.bytes.slice(at, at + store.size);
      const view = new DataView(record.buffer);
      for (let i = 0; i < n; i++) {
        view.setBigInt64(8, BigInt(from + i), true);
        vp.heat.add(store.add(record.buffer));
        if (i % 1000 === 0) { vp.state.dirty = true; await new Promise(requestAnimationFrame); }
      }
      gc();
      return performance.memory.usedJSHeapSize;
    }"""
    first = page.page.evaluate(feed, [10_000, 4_000])
    last = page.page.evaluate(feed, [14_000, 20_000])
    assert last <= first + 2_000_000
    assert page.js("vp.state.store.last") == 33_999
    page.close()


@pytest.mark.slow
def test_refusals(browser: Any, replaying: LiveServer) -> None:
    page = Page(browser, replaying, "/?serving=erd")
    page.until(lambda: page.badge() == "REFUSED")
    assert page.page.inner_text("#banner") == "The token is missing or wrong."
    page.context.close()  # a 401 is an error on the console
    page = Page(browser, replaying, f"/?serving=edr#token={TOKEN}")
    page.until(lambda: page.badge() == "REFUSED")
    assert "Did you mean 'erd'?" in page.page.inner_text("#banner")
    page.close()


EVERY_BADGE = """() => {
  const badge = document.getElementById("badge");
  window.badges = [badge.innerText];
  const options = { childList: true, characterData: true, subtree: true };
  new MutationObserver(() => window.badges.push(badge.innerText)).observe(badge, options);
}"""


@pytest.mark.slow
def test_the_badge_in_every_fault(
    browser: Any, served: Workspace, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One live feed, four times as fast: it warms up, loses records, falls silent, and ends."""
    for name, value in vp_fault_feed.install(tmp_path_factory.mktemp("plugin")).items():
        monkeypatch.setenv(name, value)
    start_ns = published(registry_of(served), "erd").spec.runtime.pipeline.start_ns
    options = {"plan": [["lost", 12, 18], ["silent", 26, 46]], "stop_s": 58, "speed": 4.0}
    stale: list[Any] = []
    with live_server(served, feed="faulty", options=options, begin_ns=start_ns, grace_ms=800, stale_s=1.0) as server:
        page = Page(browser, server, "/?serving=erd")
        page.js(EVERY_BADGE)

        def look() -> bool:
            badge = page.badge()
            if badge.startswith("STALE") and not stale:
                page.page.set_viewport_size({"width": 390, "height": 844})
                stale.append(page.js("getComputedStyle(document.getElementById('board')).opacity"))
                stale.append(page.js("document.documentElement.scrollWidth"))
                stale.append(page.page.inner_text("#touch"))
            return badge == "ENDED"

        page.until(look)
        seen = page.js("window.badges")
        assert "Records were lost for" in page.page.inner_text("#banner")
        hatched = page.js("vp.heat.hatch & 0xffffff")
        seq = page.js("[...vp.state.store.seq].find((s) => s > 100 && !vp.state.store.valid(s))")
        level = next(level for level in range(4) if (level + seq) % 4 == 0)
        assert page.page.evaluate(WORD, [seq, level]) == pytest.approx(hatched, abs=0x030303)
        page.close()
    kinds = iter([badge.split()[0] for badge in seen if badge])
    order = ("WARMING", "LIVE", "GAP", "LIVE", "STALE", "ENDED")
    assert all(kind in kinds for kind in order), seen  # in this order
    opacity, width, touch = stale
    assert float(opacity) < 0.5  # the last numbers are not the present ones
    assert width <= 390
    assert touch == "no book" or touch.startswith("last ")
