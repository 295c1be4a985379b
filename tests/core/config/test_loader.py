from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vpcore import ConfigError
from vpcore.config.loader import dotted, find_by_name, load_document, parse_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18:00", "18:00"),  # YAML 1.1 makes it 1080
        ("18:00:00", "18:00:00"),
        ("2023-12-25", "2023-12-25"),  # a date object in YAML 1.1
        ("1e-3", 0.001),  # text in YAML 1.1
        ("1.0e-5", 1e-5),
        (".5", 0.5),
        ("2.0", 2),
        ("010", 10),  # 8 in YAML 1.1
        ("1_000", "1_000"),  # 1000 in YAML 1.1
        ("yes", "yes"),  # true in YAML 1.1
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("'2'", "2"),
        (".nan", ".nan"),
        ("-7", -7),
        ("ESH4", "ESH4"),
        ("[1, 'a', [2.5]]", [1, "a", [2.5]]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = parse_document(f"x: {text}", "a.yaml").data["x"]
    assert found == value
    assert type(found) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    document = parse_document("a: 1\nb:\n  - 1\n  -\n    c: 2\nd: {e: 3,\n  f: 4}\n", "a.yaml")
    assert document.lines == {
        (): 1, ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 5, ("b", 1, "c"): 5, ("d",): 6, ("d", "e"): 6, ("d", "f"): 7,
    }  # fmt: skip
    assert document.where(("b", 1, "nothing")) == "a.yaml:5"
    assert document.place(("d", "f")) == "a.yaml:7, d.f"


def test_aliases_are_followed() -> None:
    assert parse_document("a: &x {b: 1}\nc: *x", "a.yaml").data == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"a is written twice \(f.yaml:1 and f.yaml:3\). Keep one of the two."),
        ("a:\n  b: 1\n  b: 1", r"a.b is written twice \(f.yaml:2 and f.yaml:3\)"),
        ("", "f.yaml is empty. It must hold a mapping of fields."),
        ("# only a comment\n", "f.yaml is empty"),
        ("\n- 1", r"f.yaml:2 holds a list. The top level must be a mapping of fields."),
        ("text", r"f.yaml:1 holds a single value."),
        ("a: [1\nb: 2", r"The YAML is not well formed \(f.yaml:2\): while parsing a flow sequence"),
        ("a: 1\n\tb: 2", r"The YAML is not well formed \(f.yaml:2\): .*Indent with spaces, not tabs."),
        ("a: !!python/name:os.system ''", r"a carries the YAML tag '.*os.system' \(f.yaml:1\). Write a plain value."),
        ("[a]: 1", r"A key must be text, was a list \(f.yaml:1\)."),
        ("a: &x [*x]", r"f.yaml:1 is nested more than 40 levels deep, or refers to itself."),
        ("a: \x00", r"The YAML is not well formed \(f.yaml\): "),
    ],
)
def test_what_is_not_a_mapping_of_fields_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_document(text, "f.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file .*nothing.yaml"):
        load_document(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(ConfigError, match=r"short is not UTF-8 text \(byte 3\)"):
        load_document(tmp_path / "latin.yaml", name="short")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_document(tmp_path)


def test_a_missing_name_lists_what_there_is(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.txt"):
        (tmp_path / name).write_text("")
    assert find_by_name(tmp_path, "pipeline", "a") == tmp_path / "a.yml"
    with pytest.raises(ConfigError, match=r"No pipeline is called 'c' \(s.yaml:2, pipeline\). There are: a, b."):
        find_by_name(tmp_path, "pipeline", "c", "s.yaml:2, pipeline")
    with pytest.raises(ConfigError, match="There are none in .*nowhere"):
        find_by_name(tmp_path / "nowhere", "pipeline", "c")


def test_dotted() -> None:
    assert dotted(("eval", "tp_ticks", 1)) == "eval.tp_ticks[1]"
    assert dotted(()) == ""
