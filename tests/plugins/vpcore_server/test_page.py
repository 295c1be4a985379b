"""The page in a real browser: pixels, badges, clocks, keys, and no error on the console."""

from __future__ import annotations

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
from vpcore.serving.spec import published

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


@pytest.mark.slow
def test_a_replay_on_the_page(browser: Any, served: Workspace) -> None:
    dataset = served.datasets.open(served.datasets.ids()[0])
    with live_server(served, options={"speed": 5}) as server:
        page = Page(browser, server, "/?serving=erd", timezone_id="Asia/Tokyo")
        page.until(lambda: "REPLAY ×5" in page.badge())
        assert "erd on ESU5" in page.page.inner_text("#signal")
        page.until(lambda: page.page.inner_text("#clock").startswith("09:3"))
        assert page.page.inner_text("#clock").endswith("EDT")  # the instrument's zone, in summer
        assert "Unproven:" in page.page.inner_text("#banner")
        page.until(lambda: page.js("vp.state.store.last") > 200)

        # Pixels of known cells: the colour that the scale gives to the value of the dataset.
        page.page.keyboard.press("2")  # the layer score, from -1 to 1
        page.until(lambda: page.js("vp.heat.layer") == "score")
        seqs = [int(s) for s in page.js("[...vp.state.store.seq].filter((s) => s >= 0)") if dataset.valid[int(s)]][
            :40:3
        ]
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
        page.page.wait_for_timeout(200)
        frozen = page.js("[vp.heat.end, vp.state.store.last]")
        page.page.wait_for_timeout(300)
        assert page.js("vp.heat.end") == frozen[0]
        assert page.js("vp.state.store.last") > frozen[1]
        zoom = page.js("vp.heat.zoom")
        page.page.keyboard.press("+")
        assert page.js("vp.heat.zoom") == pytest.approx(zoom * 1.5)
        box = page.page.locator("#heat").bounding_box()
        page.page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] / 2)
        page.until(lambda: page.page.is_visible("#hover"))
        said = page.page.inner_text("#hover")
        for name in ("bid_depth", "pressure", "score", "projected for now"):
            assert name in said
        lines = page.js("vp.visibleCsv()").splitlines()
        seq, _, valid, bid = lines[-1].split(",")[:4]
        assert valid == "1"
        assert float(bid) == dataset.bin("best_bid_price_int")[int(seq)] / 1e9
        page.page.keyboard.press("f")
        page.until(lambda: page.js("vp.heat.end === vp.state.store.last"))

        # 390 pixels wide, in the dark; then the experiments, and back.
        page.page.emulate_media(color_scheme="dark")
        page.page.set_viewport_size({"width": 390, "height": 844})
        page.page.wait_for_timeout(200)
        assert page.js("document.documentElement.scrollWidth") <= 390
        page.page.click("#to-experiments")
        page.page.wait_for_selector("tbody tr a", timeout=90_000)
        assert page.page.inner_text("tbody tr a") == published(served.registry, "erd").evidence.row
        page.page.click("tbody tr a")
        page.page.wait_for_selector("#equity", timeout=90_000)
        assert page.js("document.documentElement.scrollWidth") <= 390
        page.page.click("#to-stream")
        page.until(lambda: page.badge() == "ENDED")
        page.close()


@pytest.mark.slow
def test_the_heap_stays_flat_over_20000_bins(browser: Any, served: Workspace) -> None:
    """Twenty thousand bins of the server's own records, numbered on, through the page's store and drawing."""
    with live_server(served, options={"speed": "max"}) as server:
        page = Page(browser, server, "/?serving=erd")
        page.until(lambda: page.badge() == "ENDED")
        feed = """async ([from, n]) => {
          const { store } = vp.state, record = store.bytes.slice((store.last % 6000) * store.size, (store.last % 6000 + 1) * store.size);
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
def test_the_badge_in_every_fault(
    browser: Any, served: Workspace, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in vp_fault_feed.install(tmp_path_factory.mktemp("plugin")).items():
        monkeypatch.setenv(name, value)
    start_ns = published(served.registry, "erd").spec.runtime.pipeline.start_ns

    def badges(fault: str, enough: Callable[[list[str]], bool]) -> list[str]:
        options = {"fault": fault, "begin_s": 32, "end_s": 50, "speed": 4.0}
        with live_server(
            served, feed="faulty", options=options, begin_ns=start_ns, grace_ms=800, stale_s=1.0
        ) as server:
            page = Page(browser, server, "/?serving=erd")
            seen: list[str] = []

            def look() -> bool:
                badge = page.badge()
                if not seen or seen[-1] != badge:
                    seen.append(badge)
                return enough(seen)

            page.until(look)
            if fault == "lost":
                page.until(lambda: "Records were lost for" in page.page.inner_text("#banner"))
                hatched = page.js("vp.heat.hatch & 0xffffff")
                seq = page.js("[...vp.state.store.seq].find((s) => s > 300 && !vp.state.store.valid(s))")
                level = next(level for level in range(4) if (level + seq) % 4 == 0)
                assert page.page.evaluate(WORD, [seq, level]) == pytest.approx(hatched, abs=0x030303)
            page.close()
            return seen

    seen = badges("lost", lambda seen: "GAP" in seen and seen[-1] == "LIVE")
    assert any(badge.startswith("WARMING ") for badge in seen)
    assert seen.index("LIVE") < seen.index("GAP")
    stale = badges("silent", lambda seen: any(badge.startswith("STALE") for badge in seen) and seen[-1] == "LIVE")
    assert any(badge in ("STALE 2 s", "STALE 3 s") for badge in stale)


@pytest.mark.slow
def test_refusals_tokens_and_the_winter_clock(browser: Any, served: Workspace) -> None:
    token = "s" * 40
    with live_server(served, token=token, options={"speed": 5}) as server:
        page = Page(browser, server, "/?serving=erd")
        page.until(lambda: page.badge() == "REFUSED")
        assert page.page.inner_text("#banner") == "The token is missing or wrong."
        page.context.close()  # a 401 is an error on the console
        page = Page(browser, server, f"/?serving=erd#token={token}")
        page.until(lambda: page.badge() == "REPLAY ×5" or page.badge().startswith("WARMING"))
        winter = "vp.state.clock.format(Date.UTC(2025, 0, 15, 14, 30))"
        assert page.js(winter) == "09:30:00.0 EST"
        page.close()
        page = Page(browser, server, f"/?serving=edr#token={token}")
        page.until(lambda: page.badge() == "REFUSED")
        assert "Did you mean 'erd'?" in page.page.inner_text("#banner")
        page.close()
