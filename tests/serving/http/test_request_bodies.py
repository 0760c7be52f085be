"""Bodies of requests: numbers and identifiers at their ends."""

from __future__ import annotations

import json

import pytest

from tidemill.core.errors import BadRequest
from tidemill.core.settings import Serve
from tidemill.serving.http import requests

OUTCOME = {"prediction_id": "0123456789abcdef" * 2, "item": "a", "what": "click"}


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 1e30, 0.5])
def test_a_context_has_numbers_that_can_be_logged(number: float) -> None:
    body = requests.recommend(json.dumps({"user": "ada", "context": {"price": number}}).encode(), Serve())
    assert body.context == {"price": number}


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, pytest.param(10**400, id="400 digits")])
def test_a_whole_number_of_more_than_64_bits_is_refused(number: int) -> None:
    with pytest.raises(BadRequest):
        requests.recommend(json.dumps({"user": "ada", "context": {"price": number}}).encode(), Serve())


@pytest.mark.parametrize("name", ["0123456789abcdef" * 2 + "\n", "0123456789abcdef", "0123456789ABCDEF" * 2])
def test_a_prediction_id_ends_at_its_end(name: str) -> None:
    assert requests.outcomes(json.dumps([OUTCOME]).encode(), Serve())
    with pytest.raises(BadRequest):
        requests.outcomes(json.dumps([OUTCOME | {"prediction_id": name}]).encode(), Serve())
