"""The data of the charts that a reader moves: what is covered, what a code is worth, and its bounds."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import polars as pl
import pytest

import vpcore_charts
from vpcore_report import payload


def unpacked(text: str) -> tuple[dict[str, Any], Any]:
    """Return the header, and a function from a reference to a column, as the browser reads them."""
    raw = zlib.decompress(base64.b64decode(text))
    length = int(np.frombuffer(raw, "<u4", 1)[0])
    header = json.loads(raw[8 : 8 + length])
    return header, lambda place: np.frombuffer(raw, np.dtype(f"<{place[0]}"), place[2], 8 + length + place[1])


def test_columns_come_out_as_they_went_in() -> None:
    packer = payload.Packer()
    values = [
        np.arange(5, dtype=np.uint8),
        np.array([0.1, np.nan]),
        np.array([-7, 9], np.int32),
        np.empty(0, np.float32),
    ]
    places = [packer.array(one) for one in values]
    header, column = unpacked(packer.text({"places": places, "name": "é"}))
    assert header["name"] == "é"
    for one, place in zip(values, header["places"], strict=True):
        np.testing.assert_array_equal(column(place), one)
        assert column(place).dtype == one.dtype
        assert place[1] % 8 == 0


@pytest.mark.parametrize("seed", range(6))
def test_stretches_cover_every_trade_and_no_bin_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_bins, pads = 5_000, [300, 100, 20, 3]
    first = np.sort(rng.integers(0, n_bins - 60, 30))
    last = first + rng.integers(1, 60, 30)
    most = int(rng.integers(200, 6_000))
    found, n = payload.cover(first, last, n_bins, most, pads)
    assert np.diff(found).sum() <= most or n == 0
    assert (found[1:, 0] > found[:-1, 1]).all()

    def union(pad: int, upto: int) -> set[int]:
        return {
            i
            for a, b in zip(first[:upto], last[:upto], strict=True)
            for i in range(max(a - pad, 0), min(b + pad + 1, n_bins))
        }

    whole = [len(union(pad, 30)) <= most for pad in pads]
    pad = pads[whole.index(True)] if any(whole) else pads[-1]
    assert (n == 30) == any(whole)
    assert {i for start, stop in found for i in range(start, stop)} == union(pad, n)


def test_no_trades_take_no_room() -> None:
    none = np.empty(0, np.int64)
    found, n = payload.cover(none, none, 100, 10, [5, 1])
    assert (found.shape, n) == ((0, 2), 0)


def test_a_code_is_worth_its_amount_within_a_step() -> None:
    amounts = np.random.default_rng(1).gamma(0.3, 20.0, (200, 51)).astype(np.float32)
    found = payload.quantised(amounts)
    back = found.limit * (found.codes / 255.0) ** 2
    inside = amounts <= found.limit
    assert inside.mean() > 0.998
    step = found.limit * (2 * np.sqrt(amounts / found.limit) / 255 + 1 / 255**2)
    assert (np.abs(back - amounts)[inside] <= 0.51 * step[inside] + 1e-6).all()
    assert (found.codes[~inside] == 255).all()
    assert payload.quantised(np.zeros((2, 3))).codes.sum() == 0
    assert payload.quantised(np.array([[np.nan, 4.0]])).codes.tolist() == [[0, 255]]


def _rows(n: int) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    return pl.DataFrame(
        {
            "run_id": [f"run{i % 7}" for i in range(n)], "signal_name": "s", "dataset_id": "d",
            "signal_params_json": [json.dumps({"gain": i % 7, "kind": "ab"[i % 7 % 2]}) for i in range(n)],
            "scoring_json": None, "pipeline_json": None, "row": [f"{i:08x}" for i in range(n)],
            "threshold": rng.choice([0.1, 0.2, 0.4], n), "cooldown_bins": 5, "tp_ticks": 4, "sl_ticks": 4,
            "net_pnl_ticks": rng.normal(size=n), "trades": rng.integers(5, 90, n),
        }
    )  # fmt: skip


def test_rows_have_their_settings_and_figures() -> None:
    frame = _rows(50)
    packer = payload.Packer()
    header, column = unpacked(packer.text(payload.rows(packer, frame, "s")))
    by_name = {setting["name"]: setting for setting in header["settings"]}
    assert list(by_name) == ["signal.gain", "signal.kind", "threshold"]
    place = {name: i for i, name in enumerate(header["rows"])}
    gains, nets = column(by_name["signal.gain"]["codes"]), column(header["figures"][0]["data"])
    kinds = column(by_name["signal.kind"]["codes"])
    for row in frame.iter_rows(named=True):
        at, params = place[row["row"]], json.loads(row["signal_params_json"])
        assert by_name["signal.gain"]["values"][gains[at] - 1] == params["gain"]
        assert by_name["signal.kind"]["values"][kinds[at] - 1] == params["kind"]
        assert nets[at] == np.float32(row["net_pnl_ticks"])
    assert [figure["name"] for figure in header["figures"]] == ["net_pnl_ticks", "trades"]


def test_many_rows_are_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MOST_ROWS", 20)
    header = payload.rows(payload.Packer(), _rows(50), "s")
    assert (len(header["rows"]), header["n_all"]) == (17, 50)


def test_modules_become_one_script_in_the_order_of_their_imports() -> None:
    sources = {
        "main.js": 'import { a } from "./one.js";\nimport { b } from "./two.js";\nconsole.log(a + b);\n',
        "one.js": "export const a = 1, own = 2;\n",
        "two.js": 'import { a } from "./one.js";\nconst own = 3;\nexport function b() { return a + own; }\n',
    }
    script = vpcore_charts.bundle("main.js", sources)
    assert script.index("$one = ") < script.index("$two = ") < script.index("console.log")
    assert "import " not in script
    assert "export " not in script
    assert script.count("$one = ") == 1
    assert "return { b };" in script
