"""What a file may be: everything in it that can be large or deep has a bound and a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpcore.config.loader import MOST_BYTES, load_document, parse_document
from vpcore.errors import ConfigError

ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIASES, "has more than 200,000 values, aliases counted as often as they are used"),
        ("a: " + "[" * 600 + "]" * 600, r"^here is nested more than 40 levels deep\.$"),
        ("a: " + "{b: " * 60 + "1" + "}" * 60, "is nested more than 40 levels deep"),
        ("a: &a [*a]", "is nested more than 40 levels deep, or refers to itself"),
        ("a: " + "9" * 5000, r"a has 5,000 digits; a number has at most 40 \(here:1\)"),
        ("a: {b: [1, 1e400]}", r"a.b\[1\] is too large a number, was 1e400 \(here:1\)"),
        ('a: "\\ud800"', r"a holds a character that no text has: NUL, or half of a pair \(here:1\)"),
        ('a: "x\\0y"', "a holds a character that no text has"),
        ('"\\udfff": 1', "A key holds half of a pair of characters"),
    ],
)
def test_a_value_that_no_spec_has_is_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_document(text, "here")


def test_a_file_that_is_no_spec_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(ConfigError, match="is larger than 10 MB: it is no spec"):
        load_document(large)
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        load_document(tmp_path / "a\0b.yaml")
