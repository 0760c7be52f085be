"""Figures that say what is true: evaluation, comparison, slices, fairness and warnings of tabular models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from assessed_rows import rows

from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.assess.target_leakage import target_leakage
from tidemill.training.tabular.rows.splits import split_examples


def repeated(examples: Examples, n: int, *, agree: float, seed: int = 0) -> Examples:
    """`n` rows of few distinct inputs; a row has the target of its inputs with this probability, else another's."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, len(examples), n)
    own = rng.random(n) < agree
    target = np.where(own, examples.target[places], rng.permutation(examples.target[places]))
    return replace(examples.take(places), target=target, row=np.arange(n))


def said_of_copies(examples: Examples) -> list[str]:
    return [one for one in target_leakage(examples, split_examples(examples)) if "copies" in one]


@pytest.mark.parametrize("task", ["binary", "number"])
def test_repeated_measurements_of_few_inputs_are_no_copies(task):
    few = rows(1_000, task=task)
    assert not said_of_copies(repeated(few, 2_000, agree=0.3))
    appended = repeated(few, 2_000, agree=1.0)
    (warning,) = said_of_copies(appended)
    assert "share the target in 100% of their pairs" in warning and "Keep one row of each case" in warning


def test_a_rare_class_agrees_by_chance_and_makes_no_copies():
    few = rows(300)
    rare = replace(few, target=(np.random.default_rng(1).random(300) < 0.02).astype(float))
    places = np.random.default_rng(2).integers(0, 300, 3_000)
    target = (np.random.default_rng(3).random(3_000) < 0.02).astype(float)
    assert not said_of_copies(replace(rare.take(places), target=target, row=np.arange(3_000)))


def test_repeated_measurements_that_were_appended_twice_are_copies():
    once = repeated(rows(1_000), 1_000, agree=0.3)
    (warning,) = said_of_copies(replace(once.take(np.r_[:1_000, :1_000]), row=np.arange(2_000)))
    assert "exact copies" in warning
