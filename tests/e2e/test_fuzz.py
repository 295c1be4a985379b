"""Anything may be in a file or a record: the answer is a result or one sentence, never a traceback, a hang or a NaN.

A few examples in every run; `make fuzz` makes many, with fresh seeds. What failed once stays as an example.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from functools import cache
from pathlib import Path

import adversarial
import numpy as np
import pyarrow as pa
import pytest
from byte_edits import Edit, edited, edits, few
from hypothesis import example, given, strategies as st
from markets import INSTRUMENT, START_NS, TICK_INT, random_tape

from vpcore import Workspace
from vpcore.canonical import canonical_json, sealed, unsealed
from vpcore.engine import Engine, EngineParams, FrameBlock
from vpcore.errors import EngineError, VpError
from vpcore.kernels.records import MBO_DTYPE
from vpcore.results import ResultsDB
from vpcore_cli import app
from vpcore_cli.archive import import_archive
from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import encode_metadata

SECOND = 10**9


# -- bytes -------------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> tuple[int, str]:
    """Run a command and require an answer: a result, or an error that is one sentence."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the decoder, about a file that is cut
        code = app.run([*arguments, "--json"])
    assert code in (0, 2), err.getvalue()
    json.loads(out.getvalue())
    assert ('"error": ' in out.getvalue()) == (code == 2), out.getvalue()
    return code, out.getvalue()


@cache
def market(zstd: bool) -> bytes:
    """Return a file of 300 records, three seconds."""
    records = random_tape(11, 100)
    head = encode_metadata(
        dataset="T", start_ns=START_NS - SECOND, end_ns=START_NS + 3 * SECOND,
        mappings=[Mapping("ESZ3", INSTRUMENT, START_NS - SECOND, START_NS + SECOND)],
    )  # fmt: skip
    data = head + records.tobytes()
    return bytes(pa.compress(data, codec="zstd", asbytes=True)) if zstd else data


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made, _ = Workspace.create(tmp_path_factory.mktemp("fuzz") / "ws")
    text = 'name: base\ncapture: {symbol: ESZ3, date: 2023-11-14, start_time: "22:13:20", end_time: "22:13:22", timezone: UTC, files: [FILE]}\n'
    for suffix in ("dbn", "dbn.zst"):
        spec = text.replace("FILE", f"a.{suffix}").replace("base", suffix.replace(".", "_"))
        (made.configs / "pipelines" / f"{suffix.replace('.', '_')}.yaml").write_text(spec)
    return made


@few(10)
@given(zstd=st.booleans(), changes=edits)
@example(zstd=False, changes=[])
@example(zstd=True, changes=[])
def test_any_bytes_are_inspected_or_refused(workspace: Workspace, zstd: bool, changes: list[Edit]) -> None:
    path = workspace.raw / ("a.dbn.zst" if zstd else "a.dbn")
    path.write_bytes(edited(market(zstd), changes))
    code, _ = command("inspect", str(path))
    assert code == 0 or changes


@few(8)
@given(zstd=st.booleans(), changes=edits)
@example(zstd=False, changes=[])
@example(zstd=True, changes=[])
def test_any_bytes_make_a_dataset_or_are_refused(workspace: Workspace, zstd: bool, changes: list[Edit]) -> None:
    name = "dbn_zst" if zstd else "dbn"
    (workspace.raw / ("a.dbn.zst" if zstd else "a.dbn")).write_bytes(edited(market(zstd), changes))
    code, _ = command("generate", name, "--root", str(workspace.root))
    assert code == 0 or changes
    for dataset_id in workspace.datasets.ids():
        dataset = workspace.datasets.open(dataset_id)
        assert all(np.isfinite(dataset.grid(column)).all() for column in ("pressure", "composite", "j_add"))
        with contextlib.suppress(OSError):
            for path in workspace.datasets_dir.joinpath(dataset_id).iterdir():
                path.unlink()
            workspace.datasets_dir.joinpath(dataset_id).rmdir()


# -- records -----------------------------------------------------------------------------------------------------------

ODD: dict[str, tuple[int, ...]] = {
    "price": (0, -1, TICK_INT, 2**63 - 1, -(2**63), 2**62, -(2**62), 2**63 - 1 - (2**63 - 1) % TICK_INT, 19_000 * TICK_INT),
    "order_id": (0, 1, 2**64 - 1, 2**63, 1 << 40),
    "size": (0, 1, 2**32 - 1),
    "ts_recv": (0, 1, START_NS, START_NS + 2 * SECOND, 2**63 - 1, 2**63, 2**64 - 1),
    "flags": (0, 2, 4, 8, 16, 32, 64, 128, 130, 160, 255),
    "action": (0, 65, 67, 70, 77, 78, 82, 84, 255),
    "side": (0, 65, 66, 78, 255),
    "instrument_id": (0, INSTRUMENT, 2**32 - 1),
    "publisher_id": (0, 1, 2**16 - 1),
}  # fmt: skip
SMALL = EngineParams(grid_radius_ticks=4, band_margin_ticks=2, flow_windows=(2, 3))


@few(60)
@given(
    seed=st.integers(0, 2**32),
    hostile=st.booleans(),
    changes=st.lists(st.tuples(st.sampled_from(sorted(ODD)), st.floats(0, 1), st.integers(0, 20)), max_size=12),
    cuts=st.lists(st.integers(0, 300), max_size=3),
    build=st.booleans(),
)
def test_any_records_make_the_same_frames_however_they_are_cut(
    seed: int, hostile: bool, changes: list[tuple[str, float, int]], cuts: list[int], build: bool
) -> None:
    records = adversarial.tape(seed, 200, 20_000_000) if hostile else random_tape(seed, 60)
    for name, share, which in changes:
        value = ODD[name][which % len(ODD[name])]
        records[name][int(share * (len(records) - 1))] = np.array(value).astype(MBO_DTYPE[name])
    ends = []
    for parts in ([records], np.split(records, sorted(min(cut, len(records)) for cut in cuts))):
        engine = Engine(
            SMALL, tick_int=TICK_INT, start_ns=START_NS, end_ns=START_NS + 2 * SECOND,
            cold_book="build" if build else "refuse",
        )  # fmt: skip
        blocks, refused, at = [], "", 0
        try:
            for part in parts:
                blocks.extend(engine.blocks(part, INSTRUMENT, first_record=at))
                at += len(part)
        except EngineError as error:
            refused = str(error)
        whole = FrameBlock.concatenate(blocks, SMALL.grid_columns, SMALL.n_cells)
        assert all(np.isfinite(column).all() for column in whole.grid.values())
        assert np.isfinite(whole.bins["mid_price"]).all()
        frames = {name: column.tobytes() for name, column in (whole.bins | whole.grid).items()}
        ends.append((refused, len(whole), frames, None if refused else engine.quality()))
    if ends[0][0]:  # a refused block may hold bins that the cut stream gave out before
        assert ends[0][0] == ends[1][0]
    else:
        assert ends[0] == ends[1]


# -- text --------------------------------------------------------------------------------------------------------------

SPECS: dict[str, str] = {
    "pipelines": 'name: base\ncapture: {symbol: ESH4, date: 2023-12-25, start_time: "18:00", end_time: "18:59"}\npipeline: {grid_radius_ticks: 4}\n',
    "serving": "name: base\npipeline: base\nscoring: {zscore_window_bins: 60}\nsignal: {name: ofi, params: {}}\nprojection: {horizons_ms: [200]}\n",
    "experiments": "name: base\nserving: base\nsignals: [ofi]\neval: {tp_ticks: [2, 4], sl_ticks: [6], fee_ticks: 0}\nsweep: {scoring: {tanh_scale: [2.0, 3.0]}}\nparallel: {executor: serial}\nreserve: {share: 0.3}\n",
    "instruments": "root: ES\nexchange: XCME\ntick_size: 0.25\n",
}
TOKENS = (
    "1e400", "-1", "0", ".nan", ".inf", "null", "''", "[]", "{}", "[[[[[[", "}}", "&a [*a]", "*a", "!!python/object:os.system x",
    "9" * 50, "1e12", "2023-13-45", '"25:61"', "\\0", '"\\ud800"', "\u202e", "\t", "- - - -", "? a : b", "|", ">-", "%YAML 1.1", "---", "...",
    "true", "a: b: c", "name: name", "#", "'", '"', "../../etc/passwd", "x" * 300, "/", "2023-12-25T00:00:00Z", "<<: *a", "0x10", "1_000", "ofi",
)  # fmt: skip


@few(40)
@given(
    kind=st.sampled_from(sorted(SPECS)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(TOKENS)), min_size=1, max_size=5),
)
@example(kind="experiments", changes=[(0.75, 0, "[]")])  # a key with a bracket
def test_any_text_is_a_spec_or_is_refused(
    workspace: Workspace, kind: str, changes: list[tuple[float, int, str]]
) -> None:
    text = SPECS[kind]
    for share, drop, token in changes:
        at = int(share * len(text))
        text = text[:at] + token + text[at + drop :]
    folder = workspace.root / "fuzzed"
    folder.mkdir(exist_ok=True)
    path = folder / "base.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    command("validate", str(path), "--root", str(workspace.root))


@few(40)
@given(data=st.binary(max_size=200), changes=edits)
def test_any_bytes_are_an_archive_or_are_refused(tmp_path: Path, data: bytes, changes: list[Edit]) -> None:
    path = tmp_path / "file"
    for content in (data, edited(canonical_json(sealed({"a": 1, "b": [1, 2]})), changes)):
        path.write_bytes(content)
        with contextlib.suppress(VpError):
            import_archive(ResultsDB(tmp_path / "fresh"), path)
        unsealed(content)
    assert os.listdir(tmp_path) == ["file"]
