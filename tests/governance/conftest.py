"""Forty people with identifiers as a shop has them."""

from __future__ import annotations

import random

import pytest


@pytest.fixture(scope="session")
def people() -> list[str]:
    rng = random.Random(7)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return ["A" + "".join(rng.choices(letters, k=13)) for _ in range(40)]
