"""Reading DBN files: what comes out, and what is refused."""

from __future__ import annotations

import os
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from real_data import ESH4, ESH4_OPEN_NS, ESM4, HOUR_NS, needs_esh4, needs_esm4, read_records

from vpcore.canonical import file_digest
from vpcore.errors import SourceError
from vpcore.kernels.records import MBO_DTYPE, MBO_RTYPE
from vpcore.source import SourceRequest
from vpcore.source.conformance import check_unknown_option
from vpcore.storage import Folder
from vpcore.testing import source_checks
from vpcore_dbn.header import Mapping, read_header
from vpcore_dbn.records import RecordReader
from vpcore_dbn.source import DbnSource
from vpcore_dbn.writer import DbnWriter, encode_metadata


def _window(folder):
    records = np.zeros(50, MBO_DTYPE)
    records["length"], records["rtype"], records["instrument_id"] = MBO_DTYPE.itemsize // 4, MBO_RTYPE, 7
    start = 20_000 * 86_400 * 10**9
    records["ts_recv"] = records["ts_event"] = start + np.arange(50, dtype=np.uint64)
    head = encode_metadata(
        dataset="T", start_ns=start, end_ns=start + 60, mappings=[Mapping("SYM", 7, start, start + 60)]
    )
    path = folder / "a.dbn"
    path.write_bytes(head + records.tobytes())
    return SourceRequest("SYM", start, start + 60, files=(path,), options={"chunk_records": 7})


@source_checks(DbnSource, _window)
def test_dbn_conforms(check):
    check()


class Rewriting(DbnSource):
    def open(self, request):
        raise SourceError("no option")


def test_the_checks_can_fail(tmp_path):
    with pytest.raises(AssertionError, match="the error must name the option, was: no option"):
        check_unknown_option(Rewriting, _window(tmp_path))


@pytest.mark.parametrize("suffix", [".dbn", ".dbn.zst"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_compressed_or_not(tmp_path, made, read, suffix, version):
    records = made.records(1000)
    path = made.put(tmp_path / f"a{suffix}", made.metadata(version=version), records)
    got, stream = read(path, symbol="SYM")
    assert got.tobytes() == records.tobytes()
    (info,) = stream.files
    assert (info.version, info.dataset, info.schema, info.symbols) == (version, "TEST", "mbo", ("SYM",))
    assert (info.start_ns, info.end_ns, info.instrument_id) == (made.DAY0, made.DAY0 + made.DAY, 7)
    assert (info.sha256, info.size) == (file_digest(path), path.stat().st_size)
    assert stream.covered_end_ns == made.DAY0 + made.DAY
    assert stream.bytes_done == stream.bytes_total == info.size


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    chunk=st.integers(1, 60),
    strangers=st.lists(st.tuples(st.integers(0, 200), st.sampled_from([16, 80, 176, 320, 1020])), max_size=12),
    ts_out=st.booleans(),
    suffix=st.sampled_from([".dbn", ".dbn.zst"]),
)
def test_chunks_and_strangers_change_nothing(tmp_path, made, read, chunk, strangers, ts_out, suffix):
    records = made.records(200)
    rows = [row.tobytes() for row in records]
    if ts_out:
        rows = [bytes([16]) + row[1:] + b"\xee" * 8 for row in rows]
    for at, length in sorted(strangers, reverse=True):
        rows.insert(at, made.system_message(length))
    path = made.put(tmp_path / f"a{suffix}", made.metadata(ts_out=ts_out), *rows)
    got, stream = read(path, chunk_records=chunk)
    got["length"] = 14
    assert got.tobytes() == records.tobytes()
    skipped = [text for text in stream.warnings if "are not market-by-order were skipped" in text]
    assert len(skipped) == bool(strangers)
    if strangers:
        assert f"{len(strangers)} of type 23" in skipped[0]


def test_plain_chunks_are_views_of_one_buffer(tmp_path, made):
    path = made.put(tmp_path / "a.dbn", made.metadata(), made.records(1000))
    request = SourceRequest("SYM", made.DAY0, made.DAY0 + made.DAY, files=(path,), options={"chunk_records": 100})
    with DbnSource().open(request) as stream:
        bases = {chunk.records.ctypes.data for chunk in stream}
    assert len(bases) == 1


def test_stops_after_the_first_record_at_the_end_of_the_window(tmp_path, made, read):
    records = made.records(1000)
    records["instrument_id"][100:103] = 8  # another's clock does not end the window
    records["flags"][103] |= 8  # nor does a bad time
    path = made.put(tmp_path / "a.dbn.zst", made.metadata(), records)
    end = made.DAY0 + 100 * made.NS
    for chunk in (1, 37, 5000):
        got, stream = read(path, end=end, chunk_records=chunk)
        assert got.tobytes() == records[:105].tobytes()
        assert stream.covered_end_ns == end


def test_many_instruments(tmp_path, made, read):
    records = made.records(300)
    records["instrument_id"] = 7 + np.arange(300) % 3
    symbols = [Mapping(f"S{i}", i, made.DAY0, made.DAY0 + made.DAY) for i in (7, 8, 9)]
    path = made.put(tmp_path / "a.dbn.zst", made.metadata(symbols), records)
    got, stream = read(path, symbol="S8")
    assert got.tobytes() == records.tobytes()
    assert stream.files[0].instrument_id == 8
    assert read(path, symbol="9")[1].files[0].instrument_id == 9
    with pytest.raises(
        SourceError, match=r"S0 is not in a\.dbn\.zst\. It holds: S7 \(2024-10-04\), S8 .*Set capture\.symbol"
    ):
        read(path, symbol="S0")


def test_a_symbol_is_resolved_by_date(tmp_path, made, read):
    rolls = [
        Mapping("ES.c.0", 7, made.DAY0, made.DAY0 + made.DAY),
        Mapping("ES.c.0", 8, made.DAY0 + made.DAY, made.DAY0 + 2 * made.DAY),
    ]
    records = made.records(48, step_ns=3600 * made.NS)
    records["instrument_id"][24:] = 8
    meta = made.metadata(rolls, end_ns=made.DAY0 + 2 * made.DAY, stype_in="continuous")
    path = made.put(tmp_path / "a.dbn", meta, records)
    assert read(path, symbol="ES.c.0")[1].files[0].instrument_id == 7
    late = {"start": made.DAY0 + made.DAY, "end": made.DAY0 + 2 * made.DAY}
    assert read(path, symbol="ES.c.0", **late)[1].files[0].instrument_id == 8
    with pytest.raises(
        SourceError, match=r"ES\.c\.0 stands for more than one instrument .* 7 \(2024-10-04\), 8 \(2024-10-05\)"
    ):
        read(path, symbol="ES.c.0", end=made.DAY0 + 2 * made.DAY)


def test_a_symbol_of_other_dates(tmp_path, made, read):
    path = made.put(
        tmp_path / "a.dbn",
        made.metadata([Mapping("SYM", 7, made.DAY0, made.DAY0 + made.DAY)], end_ns=made.DAY0 + 3 * made.DAY),
        made.records(10),
    )
    with pytest.raises(
        SourceError, match=r"SYM is mapped to an instrument on other dates only in a\.dbn \(2024-10-04\)"
    ):
        read(path, start=made.DAY0 + made.DAY, end=made.DAY0 + 2 * made.DAY)


@pytest.mark.parametrize("version", [1, 3])
def test_symbols_from_messages_of_a_live_recording(tmp_path, made, read, version):
    records = made.records(20)
    path = made.put(
        tmp_path / "live.dbn",
        made.metadata([], end_ns=None, schema=None, version=version),
        made.mapping_message("OTHER", 3, version=version),
        made.mapping_message("SYM", 7, version=version),
        records,
        made.system_message(),
    )
    got, stream = read(path)
    assert got.tobytes() == records.tobytes()
    assert stream.files[0].symbols == ("OTHER", "SYM")
    assert stream.covered_end_ns is None
    assert stream.files[0].schema == ""


def test_no_mapping_at_all(tmp_path, made, read):
    path = made.put(tmp_path / "a.dbn", made.metadata([]), made.records(5))
    with pytest.raises(SourceError, match="SYM is not in a.dbn. It holds: no symbol that is mapped to an instrument"):
        read(path)


# -- several files -----------------------------------------------------------------------------------------------------


def _two_days(made, folder):
    days = []
    for day, records in (
        (0, made.records(24, step_ns=3600 * made.NS)),
        (1, made.records(24, made.DAY0 + made.DAY, 3600 * made.NS)),
    ):
        start = made.DAY0 + day * made.DAY
        meta = made.metadata(start_ns=start, end_ns=start + made.DAY)
        # The names sort the wrong way round: time decides.
        days.append((made.put(folder / f"deep/er/{'ba'[day]}.dbn.zst", meta, records), records))
    return days


def test_two_files_are_found_and_read_in_order_of_time(tmp_path, made, read):
    (first, one), (second, two) = _two_days(made, tmp_path)
    both = np.concatenate([one, two]).tobytes()
    end = made.DAY0 + 2 * made.DAY
    got, stream = read(root=tmp_path, end=end)
    assert got.tobytes() == both
    assert [info.path for info in stream.files] == [first, second]
    assert stream.covered_end_ns == end
    assert read(second, first, end=end)[0].tobytes() == both
    got, stream = read(root=tmp_path, start=made.DAY0 + made.DAY, end=end)
    assert [info.path for info in stream.files] == [second]
    assert got.tobytes() == two.tobytes()


def test_a_window_that_the_files_do_not_cover_to_its_ends(tmp_path, made, read):
    _two_days(made, tmp_path)
    _, stream = read(root=tmp_path, start=made.DAY0 - made.DAY, end=made.DAY0 + 3 * made.DAY)
    assert stream.covered_end_ns is None
    assert any("begins at 2024-10-03 00:00:00, before the first file" in text for text in stream.warnings)
    assert any("ends at 2024-10-07 00:00:00, after the last file" in text for text in stream.warnings)


def test_a_window_that_no_file_covers(tmp_path, made, read):
    (first, _), (second, _) = _two_days(made, tmp_path)
    late = {"start": made.DAY0 + 9 * made.DAY, "end": made.DAY0 + 10 * made.DAY}
    spans = r"a\.dbn\.zst \(2024-10-05 00:00:00 to 2024-10-06 00:00:00; SYM 2024-10-05\)"
    with pytest.raises(SourceError, match=rf"covered by none of the files below .*{spans}"):
        read(root=tmp_path, **late)
    with pytest.raises(SourceError, match=r"covered by none of the files of capture\.files"):
        read(first, second, **late)


def test_a_gap_between_files_is_said(tmp_path, made, read):
    paths = []
    for day in (0, 2):
        start = made.DAY0 + day * made.DAY
        meta = made.metadata(start_ns=start, end_ns=start + made.DAY)
        paths.append(made.put(tmp_path / f"{day}.dbn", meta, made.records(24, start, 3600 * made.NS)))
    _, stream = read(*paths, end=made.DAY0 + 3 * made.DAY)
    assert any("No file covers 2024-10-05 00:00:00 to 2024-10-06 00:00:00" in text for text in stream.warnings)


def test_a_named_file_after_the_window_is_not_read(tmp_path, made, read):
    (first, one), (second, _) = _two_days(made, tmp_path)
    got, stream = read(first, second)
    assert got.tobytes() == one.tobytes()
    assert any("begins at 2024-10-05 00:00:00, after the window, and is not read" in text for text in stream.warnings)


def _roll(made, folder, *, symbol="ES.c.0", kind="continuous", own=("ESU4", "ESZ4"), numbers=(7, 8)):
    paths = []
    for day, number in enumerate(numbers):
        start = made.DAY0 + day * made.DAY
        named = [Mapping(symbol, number, start, start + made.DAY)]
        named += [Mapping(own[day], number, start, start + made.DAY)] if own else []
        records = made.records(24, start, 3600 * made.NS, instrument=number)
        meta = made.metadata(named, start_ns=start, end_ns=start + made.DAY, stype_in=kind)
        paths.append(made.put(folder / f"{day}.dbn", meta, records))
    return paths


def test_a_window_over_a_roll_is_refused(tmp_path, made, read):
    end = made.DAY0 + 2 * made.DAY
    paths = _roll(made, tmp_path)
    with pytest.raises(
        SourceError, match=r"ES\.c\.0 rolls from ESU4 to ESZ4 within the window, at 2024-10-05 00:00:00 .*each contract"
    ):
        read(*paths, symbol="ES.c.0", end=end)
    assert len(read(*paths, symbol="ES.c.0")[0]) == 24  # the first day alone
    with pytest.raises(SourceError, match=r"rolls from instrument 7 to instrument 8"):
        read(*_roll(made, tmp_path, own=()), symbol="ES.c.0", end=end)


def test_a_contract_whose_number_changes_does_not_roll(tmp_path, made, read):
    end = made.DAY0 + 2 * made.DAY
    paths = _roll(made, tmp_path, symbol="ESU4", kind="raw_symbol", own=())
    assert len(read(*paths, symbol="ESU4", end=end)[0]) == 48
    paths = _roll(made, tmp_path, own=("ESU4", "ESU4"))
    assert len(read(*paths, symbol="ES.c.0", end=end)[0]) == 48
    paths = _roll(made, tmp_path, numbers=(7, 7), own=())
    assert len(read(*paths, symbol="ES.c.0", end=end)[0]) == 48


def test_files_that_overlap(tmp_path, made, read):
    for name in ("a", "b"):
        made.put(tmp_path / f"{name}.dbn", made.metadata(), made.records(5))
    with pytest.raises(
        SourceError, match=r"SYM is in two files whose spans overlap: .*a\.dbn .* and .*b\.dbn .*capture\.files"
    ):
        read(root=tmp_path)


def test_a_damaged_file_stops_only_what_needs_it(tmp_path, made, read):
    records = made.records(20_000, step_ns=4 * made.NS)
    whole = made.put(tmp_path / "whole.dbn.zst", made.metadata(), records)
    cut = tmp_path / "cut.dbn.zst"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    got, stream = read(root=tmp_path)
    assert [info.path for info in stream.files] == [whole]
    assert got.tobytes() == records.tobytes()
    assert any("cut.dbn.zst is truncated" in text and "It was passed over" in text for text in stream.warnings)
    # Whole, but only of the first hours: what the damaged one had of the rest is missing.
    made.put(whole, made.metadata(end_ns=made.DAY0 + 6 * 3600 * made.NS), records[:1000])
    with pytest.raises(SourceError, match=r"cut\.dbn\.zst is truncated"):
        read(root=tmp_path)
    read(root=tmp_path, end=made.DAY0 + 3600 * made.NS)  # a window that does not need it
    with pytest.raises(SourceError, match=r"cut\.dbn\.zst is truncated"):
        read(whole, cut, end=made.DAY0 + 3600 * made.NS)  # named is needed


def test_unfit_files_are_passed_over_and_named(tmp_path, made, read):
    made.put(tmp_path / "a.dbn", made.metadata([Mapping("ESZ4", 3, made.DAY0, made.DAY0 + made.DAY)]), made.records(5))
    (tmp_path / "b.dbn").write_bytes(b"something")
    made.put(tmp_path / "c.dbn", made.metadata(schema="trades"))
    with pytest.raises(
        SourceError,
        match=r"ESZ5 is in no file below .*a\.dbn: ESZ4 \(2024-10-04\)\. Did you mean 'ESZ4'\?.*passed over.*b\.dbn is not a DBN.*'trades'",
    ):
        read(root=tmp_path, symbol="ESZ5")
    (tmp_path / "a.dbn").unlink()
    with pytest.raises(SourceError, match=r"No file below .* holds market-by-order records"):
        read(root=tmp_path)


def test_nothing_to_look_in(tmp_path, read):
    with pytest.raises(SourceError, match=r"There is no \.dbn or \.dbn\.zst file below"):
        read(root=tmp_path)
    with pytest.raises(SourceError, match="no folder to look in is known"):
        read()


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_files_that_are_not_dbn(tmp_path, made, read):
    (tmp_path / "empty.dbn").write_bytes(b"")
    (tmp_path / "text.dbn").write_bytes(b"time,price\n")
    (tmp_path / "new.dbn").write_bytes(b"DBN\x04" + made.metadata()[4:])
    (tmp_path / "cut.dbn").write_bytes(made.metadata()[:50])
    (tmp_path / "stub.dbn").write_bytes(b"DBN\x03")
    (tmp_path / "vast.dbn").write_bytes(b"DBN\x03" + (10**9).to_bytes(4, "little") + b"\0" * 100)
    (tmp_path / "odd.dbn").write_bytes(b"DBN\x03\x10\x00\x00\x00" + b"\xff" * 16)
    for name, message in (
        ("empty", r"empty\.dbn is empty \(0 bytes\)"),
        ("text", r"text\.dbn is not a DBN file: it begins with b'time'"),
        ("new", r"new\.dbn is DBN version 4: versions 1 to 3 are read"),
        ("cut", r"cut\.dbn is truncated: its metadata has 42 of \d+ bytes"),
        ("stub", r"stub\.dbn is truncated: it ends within its metadata"),
        ("vast", r"vast\.dbn states 1,000 MB of metadata; at most 268 MB are read"),
        ("odd", r"odd\.dbn has metadata that cannot be decoded"),
        ("none", r"none\.dbn could not be opened: No such file"),
    ):
        with pytest.raises(SourceError, match=message):
            read(tmp_path / f"{name}.dbn")
    (tmp_path / "folder.dbn").mkdir()
    with pytest.raises(SourceError, match=r"folder\.dbn is a directory"):
        read(tmp_path / "folder.dbn")


def test_a_file_of_version_1_that_states_its_records(tmp_path, made, read):
    head, records = bytearray(made.metadata(version=1)), made.records(100)
    head[50:58] = (100).to_bytes(8, "little")
    path = tmp_path / "a.dbn"
    path.write_bytes(bytes(head) + records.tobytes())
    assert read(path)[0].tobytes() == records.tobytes()
    path.write_bytes(bytes(head) + records[:99].tobytes())
    with pytest.raises(SourceError, match=r"a\.dbn is truncated: it has 99 records, and its metadata states 100"):
        read(path)


def test_another_schema(tmp_path, made, read):
    path = made.put(tmp_path / "a.dbn.zst", made.metadata(schema="mbp-10"), b"\0" * 368)
    with pytest.raises(SourceError, match=r"a\.dbn\.zst has the schema 'mbp-10': .*schema 'mbo'"):
        read(path)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.97, 0.9999])
def test_a_compressed_file_that_is_cut(tmp_path, made, read, keep):
    # Random prices do not compress: the frame has several blocks.
    records = made.records(20_000)
    records["order_id"] = np.random.default_rng(1).integers(0, 2**63, len(records))
    path = made.put(tmp_path / "a.dbn.zst", made.metadata(), records)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    request = SourceRequest("SYM", made.DAY0, made.DAY0 + 10 * made.NS, files=(path,))
    with pytest.raises(SourceError, match=r"a\.dbn\.zst is truncated: its zstd frame goes on"):
        DbnSource().open(request)  # before a record is read, and although the window lies before the cut


def test_the_reader_itself_notices_every_cut(tmp_path, made):
    records = made.records(3)
    header = made.put(tmp_path / "h.zst", made.metadata()).read_bytes()
    body = made.put(tmp_path / "b.zst", records).read_bytes()
    path = tmp_path / "a.dbn.zst"
    for length in range(1, len(body)):
        path.write_bytes(header + body[:length])
        with (
            closing(RecordReader(read_header(path))) as reader,
            pytest.raises(SourceError, match="is truncated|is damaged"),
        ):
            list(reader)
    path.write_bytes(header + b"\x5a\x2a\x4d\x18\x03\0\0\0abc" + body)  # with a frame to skip
    with closing(RecordReader(read_header(path))) as reader:
        assert b"".join(part.tobytes() for part in reader) == records.tobytes()


def test_several_frames_and_skippable_ones_are_whole(tmp_path, made, read):
    records = made.records(100)
    parts = [made.put(tmp_path / "p.zst", part).read_bytes() for part in (made.metadata(), records[:40], records[40:])]
    path = tmp_path / "a.dbn.zst"
    path.write_bytes(parts[0] + parts[1] + parts[2])
    assert read(path)[0].tobytes() == records.tobytes()
    path.write_bytes(b"".join(parts) + b"junk at the end")
    with pytest.raises(SourceError, match=r"a\.dbn\.zst is damaged: at byte \d+ a zstd frame was expected"):
        read(path)


def test_damaged_compressed_bytes(tmp_path, made, read):
    records = made.records(20_000)
    records["order_id"] = np.random.default_rng(1).integers(0, 2**63, len(records))
    path = made.put(tmp_path / "a.dbn.zst", made.metadata(), records)
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 64):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(
        SourceError,
        match=r"a\.dbn\.zst (could not be read to its end|is damaged|is truncated)|beyond the file's own end",
    ):
        read(path)


@pytest.mark.parametrize("cut", [1, 8, 55])
def test_a_plain_file_cut_within_a_record(tmp_path, made, read, cut):
    path = made.put(tmp_path / "a.dbn", made.metadata(), made.records(10).tobytes()[:-cut])
    with pytest.raises(SourceError, match=rf"a\.dbn is truncated: it ends {56 - cut} bytes into record 9"):
        read(path)


def test_records_of_impossible_lengths(tmp_path, made, read):
    records = made.records(10)
    records["length"][4] = 0
    with pytest.raises(SourceError, match="record 4 claims a length of 0 bytes"):
        read(made.put(tmp_path / "a.dbn", made.metadata(), records))
    records["length"][4] = 16
    with pytest.raises(SourceError, match="record 4 is a market-by-order record of 64 bytes, which must have 56"):
        read(made.put(tmp_path / "b.dbn", made.metadata(), records))


def test_a_time_beyond_the_files_own_end(tmp_path, made, read):
    records = made.records(10)
    records["ts_recv"][6] = made.DAY0 + made.DAY + 5
    with pytest.raises(
        SourceError,
        match=r"Record 6 of .*a\.dbn has the time 2024-10-05 00:00:00\.000000005, beyond the file's own end, 2024-10-05 00:00:00",
    ):
        read(made.put(tmp_path / "a.dbn", made.metadata(), records), chunk_records=1)
    records["flags"][6] |= 8  # marked as bad: it does not move the clock
    assert len(read(made.put(tmp_path / "b.dbn", made.metadata(), records))[0]) == 10
    records["flags"][6] = 130
    records["instrument_id"][6] = 8  # of another instrument
    assert len(read(made.put(tmp_path / "c.dbn", made.metadata(), records))[0]) == 10
    records["instrument_id"][6] = 7
    records["ts_recv"][6] = 2**64 - 1
    with pytest.raises(SourceError, match="Record 6 of .* beyond any time that exists"):
        read(made.put(tmp_path / "d.dbn", made.metadata(end_ns=None), records))


def test_no_records(tmp_path, made, read):
    with pytest.raises(SourceError, match=r"There is no market-by-order record of SYM \(instrument 7\) in a\.dbn"):
        read(made.put(tmp_path / "a.dbn", made.metadata()))
    with pytest.raises(SourceError, match=r"There is no market-by-order record of SYM \(instrument 7\) in b\.dbn"):
        read(made.put(tmp_path / "b.dbn", made.metadata(), made.records(10, instrument=8)))


def test_a_last_record_far_before_the_files_own_end(tmp_path, made, read):
    records = made.records(1000)
    end = made.DAY0 + 1000 * made.NS
    path = made.put(tmp_path / "a.dbn", made.metadata(end_ns=end), records)
    assert read(path)[1].warnings == [
        "The window ends at 2024-10-05 00:00:00, after the last file, a.dbn, at 2024-10-04 00:16:40."
    ]
    path = made.put(tmp_path / "b.dbn", made.metadata(end_ns=end), records[:900])
    _, stream = read(path, end=end)
    assert stream.warnings == [
        "b.dbn: the last record, at 2024-10-04 00:14:59, is 101 s before the file's own end, 2024-10-04 00:16:40. "
        "The market was closed, or the file was cut."
    ]
    assert read(path, end=made.DAY0 + 500 * made.NS)[1].warnings == []


def test_a_file_that_changes_while_it_is_read(tmp_path, made):
    path = made.put(tmp_path / "a.dbn", made.metadata(), made.records(100))
    request = SourceRequest("SYM", made.DAY0, made.DAY0 + made.DAY, files=(path,), options={"chunk_records": 10})
    with DbnSource().open(request) as stream:
        chunks = iter(stream)
        next(chunks)
        with path.open("ab") as handle:
            handle.write(made.records(1).tobytes())
        with pytest.raises(SourceError, match="changed while it was read"):
            list(chunks)


def test_options_and_window(tmp_path, made, read):
    path = made.put(tmp_path / "a.dbn", made.metadata(), made.records(3))
    with pytest.raises(
        SourceError, match=r"no option 'chunk_record' \(capture\.options\)\. Did you mean 'chunk_records'\?"
    ):
        read(path, chunk_record=3)
    with pytest.raises(
        SourceError, match="chunk_records must be a whole number of records from 1 to 10,000,000, was 0"
    ):
        read(path, chunk_records=0)
    with pytest.raises(SourceError, match="The window is empty: it begins at 2024-10-05 00:00:00"):
        read(path, start=made.DAY0 + made.DAY)


# -- real data ---------------------------------------------------------------------------------------------------------


@needs_esh4
@pytest.mark.parametrize("chunk", [997, 32_768])
def test_esh4_as_it_is(read, chunk):
    got, stream = read(ESH4, symbol="ESH4", start=ESH4_OPEN_NS, end=ESH4_OPEN_NS + HOUR_NS, chunk_records=chunk)
    assert got.tobytes() == read_records(ESH4).tobytes()
    (info,) = stream.files
    assert (info.version, info.dataset, info.instrument_id) == (1, "GLBX.MDP3", 17077)
    assert stream.warnings == []
    assert stream.covered_end_ns == ESH4_OPEN_NS + HOUR_NS


@needs_esh4
@needs_esm4
def test_the_shared_folder_by_symbol_and_window(read):
    got, stream = read(symbol="ESM4", start=1_715_126_400 * 10**9, end=1_715_126_402 * 10**9, root=ESM4.parent)
    assert len(got) == 13_796
    assert [info.path for info in stream.files] == [ESM4]
    with pytest.raises(SourceError, match=r"ESU4 is in no file below .*ESH4 \(2023-12-25\).*ESM4 \(2024-05-08\)"):
        read(symbol="ESU4", start=1_715_126_400 * 10**9, end=1_715_126_402 * 10**9, root=ESM4.parent)


@needs_esh4
def test_half_of_esh4_is_refused(tmp_path, read):
    path = tmp_path / "half.dbn.zst"
    path.write_bytes(ESH4.read_bytes()[: ESH4.stat().st_size // 2])
    with pytest.raises(SourceError, match="is truncated"):
        read(path, symbol="ESH4", start=ESH4_OPEN_NS, end=ESH4_OPEN_NS + HOUR_NS)
    with pytest.raises(OSError, match="Truncated"):  # what pyarrow says, should the walk over the blocks miss a cut
        pa.CompressedInputStream(pa.OSFile(str(path)), "zstd").read()


# -- writing


def test_a_written_file_replaces_what_a_link_names_and_no_device(tmp_path, made):
    real, link = tmp_path / "real" / "a.dbn", tmp_path / "link.dbn"
    real.parent.mkdir()
    real.write_bytes(b"before")
    link.symlink_to(real)
    with DbnWriter(link, made.metadata()) as writer:
        writer.write(made.records(3))
    assert link.is_symlink()
    assert real.read_bytes() == made.metadata() + made.records(3).tobytes()
    with pytest.raises(RuntimeError, match="stop"), DbnWriter(link, made.metadata()):
        raise RuntimeError("stop")
    assert [path.name for path in real.parent.iterdir()] == ["a.dbn"]
    pipe = tmp_path / "pipe.dbn"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match=r"pipe\.dbn is no file: it could not be replaced by one"):
        DbnWriter(pipe, made.metadata())
    assert pipe.is_fifo()


def test_a_file_in_the_making_is_not_found(tmp_path, made):
    writer = DbnWriter(tmp_path / "a.dbn", made.metadata())
    with pytest.raises(SourceError, match=r"There is no \.dbn or \.dbn\.zst file below"):
        DbnSource().open(SourceRequest("SYM", made.DAY0, made.DAY0 + made.NS, raw=Folder.of(tmp_path)))
    with writer:
        writer.write(made.records(3))
    DbnSource().open(SourceRequest("SYM", made.DAY0, made.DAY0 + made.NS, raw=Folder.of(tmp_path)))
