"""Bytes after random changes, for tests that read whatever may be in a file."""

from __future__ import annotations

from hypothesis import HealthCheck, settings, strategies as st

FUZZING = settings.get_current_profile_name() == "fuzz"


def few(n: int) -> settings:
    """Return settings of `n` examples, of fifty times as many in `make fuzz`."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=n * (50 if FUZZING else 1), suppress_health_check=checks)


Edit = tuple[str, float, int]
edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "delete", "insert", "word", "copy"]), st.floats(0, 1), st.integers(0, 255)
    ),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[Edit]) -> bytes:
    """Return the bytes after some changes."""
    found = bytearray(data)
    for how, share, value in changes:
        at = int(share * max(len(found) - 1, 0))
        if how == "flip" and found:
            found[at] ^= 1 << value % 8
        elif how == "cut":
            del found[at:]
        elif how == "delete":
            del found[at : at + value]
        elif how == "insert":
            found[at:at] = bytes([value]) * (value % 64)
        elif how == "word":  # numbers at the ends of their range
            found[at : at + 8] = [b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80"][value % 4]
        else:
            found[at:at] = found[at : at + value]
    return bytes(found)
