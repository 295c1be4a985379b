"""Parameters are strict, and errors name the nearest parameter and the range."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator

from vpcore.errors import ConfigError
from vpcore.signal import SignalParams


class Params(SignalParams):
    window: int = Field(20, ge=2, le=500, description="Values in the window, in bins.")
    scale: float = Field(1.0, gt=0.0, description="Scale.")
    mode: Literal["a", "b"] = "a"
    bands: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 3), min_length=1, max_length=4)
    weights: tuple[float, float] = (0.5, 0.5)

    @model_validator(mode="after")
    def _rising(self):
        if list(self.bands) != sorted(self.bands):
            raise ValueError(f"bands must rise, was {list(self.bands)}.")
        return self


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"windw": 3}, r"Sig has no parameter 'windw'. Did you mean 'window'\? Parameters: window, scale, mode"),
        ({"zzz": 3}, r"Sig has no parameter 'zzz'. Parameters: window"),
        ({"window": 1}, r"Sig.window must be a whole number from 2 to 500, was 1. Values in the window, in bins."),
        ({"window": "20"}, r"Sig.window must be a whole number from 2 to 500, was '20'"),
        ({"window": 2.5}, r"Sig.window must be a whole number from 2 to 500, was 2.5"),
        ({"scale": 0}, r"Sig.scale must be a number above 0.*, was 0"),
        ({"mode": "c"}, r"Sig.mode must be 'a' or 'b', was 'c'"),
        ({"bands": [0, 2]}, r"Sig.bands\[0\] must be a whole number at least 1, was 0"),
        ({"bands": []}, r"Sig.bands must be a list of 1 to 4 values"),
        ({"weights": [1.0]}, r"Sig.weights must be a list of 2 values, each a number, was \[1.0\]"),
        ({"bands": [3, 1]}, r"Sig: bands must rise, was \[3, 1\]"),
        ({"window": object()}, r"must be a number, text, true, false or a list"),
    ],
)
def test_wrong_values_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Params.parse(values, "Sig")


def test_every_problem_has_its_line():
    with pytest.raises(ConfigError) as caught:
        Params.parse({"window": 1, "mode": "c", "nope": 1}, "Sig")
    assert len(str(caught.value).splitlines()) == 3


def test_lists_and_numpy_numbers_are_taken():
    params = Params.parse({"bands": [2, 5], "window": np.int64(7), "weights": np.array([1.0, 2.0]), "scale": 2})
    assert params == Params(bands=(2, 5), window=7, weights=(1.0, 2.0), scale=2.0)
    assert Params.parse(params.plain()) == params


def test_direct_construction_raises_the_same_error():
    with pytest.raises(ConfigError, match="Params.window must be a whole number from 2 to 500, was 1"):
        Params(window=1)


def test_nested_in_a_spec_pydantic_keeps_the_place():
    class Spec(BaseModel):
        params: Params

    with pytest.raises(ValidationError) as caught:
        Spec.model_validate({"params": {"window": 1}})
    assert caught.value.errors()[0]["loc"] == ("params", "window")


def test_params_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Params().window = 3


def test_schema_has_ranges_and_descriptions():
    window = Params.json_schema()["properties"]["window"]
    assert (window["minimum"], window["maximum"], window["default"]) == (2, 500, 20)
    assert "in bins" in window["description"]
