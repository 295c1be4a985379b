"""Errors: the sentence that their fields make."""

from __future__ import annotations

import pickle

import pytest

from vpcore import ConfigError, RegistryError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"what": "A complete message: nothing is added"}, "A complete message: nothing is added"),
        (
            {
                "what": "eval.sl_ticks", "required": "greater than 0", "was": "-4", "where": "a.yaml:21",
                "fix": "It is a distance: write 4.",
            },
            "eval.sl_ticks must be greater than 0, was -4 (a.yaml:21). It is a distance: write 4.",
        ),
        (
            {"what": "No signal is called 'adss'", "where": "a.yaml:12, signal.name", "fix": "Did you mean 'ads'?"},
            "No signal is called 'adss' (a.yaml:12, signal.name). Did you mean 'ads'?",
        ),
        ({"what": "The file is damaged.", "fix": "Restore it."}, "The file is damaged. Restore it."),
        ({"what": "The sha256", "was": "ab"}, "The sha256, was ab."),
    ],
)  # fmt: skip
def test_the_fields_make_one_sentence(fields, message):
    error = ConfigError(**fields)
    assert str(error) == message
    assert error.fields() == {
        "kind": "ConfigError", "message": message, "what": None, "where": None, "was": None, "required": None,
        "fix": None,
    } | fields  # fmt: skip


def test_an_error_comes_back_from_a_worker_with_its_fields():
    error = RegistryError("The alias", required="lower case", was="'A'", fix="Write 'a'.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is RegistryError
    assert again.fields() == error.fields()
