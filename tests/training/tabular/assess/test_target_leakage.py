from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from assessed_rows import DAY, adult, churn, rows, with_input

from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.assess.target_leakage import target_leakage
from tidemill.training.tabular.rows.splits import split_examples

N = 3_000


def said(examples: Examples) -> tuple[str, ...]:
    return target_leakage(examples, split_examples(examples))


@pytest.fixture(scope="module")
def clean() -> Examples:
    return rows(N)


@pytest.mark.parametrize("task", ["binary", "classes", "number", "count"])
def test_nothing_is_said_of_clean_rows(task):
    assert said(rows(N, task=task)) == ()


def test_few_values_and_missing_ones_are_no_leak():
    rng = np.random.default_rng(0)
    examples = rows(N)
    coarse = with_input(examples, "plan", "str", pa.array(rng.choice(["a", "b", None], N).tolist(), pa.string()))
    coarse = replace(coarse.take(np.arange(N)), fields=coarse.fields[2:], inputs=coarse.inputs.select(["shop", "plan"]))
    assert said(coarse) == ()  # every row has a twin, and that is as it should be
    halves = np.where(rng.random(N) < 0.5 + 0.2 * examples.target, 1.0, np.nan)
    assert said(with_input(examples, "income", "float", pa.array(halves, mask=np.isnan(halves)))) == ()


def leak_of(kind: str, examples: Examples) -> Examples:
    rng, y = np.random.default_rng(1), examples.target
    made = {
        "copy": ("float", pa.array(y)),
        "flag": ("bool", pa.array(y == 1)),
        "text": ("str", pa.array(np.where(y == 1, "closed", "open").tolist())),
        "amount": ("float", pa.array(y * rng.exponential(20, N))),
        "noisy": ("float", pa.array(np.where(rng.random(N) < 0.015, 1 - y, y) + rng.normal(0, 0.01, N))),
        "reason": ("str", pa.array(["price" if v and rng.random() < 0.4 else None for v in y], pa.string())),
        "closed": ("float", pa.array([rng.exponential() if v and rng.random() < 0.6 else None for v in y])),
        "kept": ("str", pa.array([None if v and rng.random() < 0.6 else "kept" for v in y])),
    }
    return with_input(examples, "leak", *made[kind])


@pytest.mark.parametrize("kind", ["copy", "flag", "text", "amount", "noisy", "reason", "closed", "kept"])
def test_an_input_that_knows_the_answer_is_named(clean, kind):
    found = said(leak_of(kind, clean))
    assert found and all("`leak`" in sentence for sentence in found)
    assert any("leave it out" in sentence.lower() for sentence in found)


@pytest.mark.parametrize("task", ["number", "count", "classes"])
def test_the_target_under_another_name_is_named(task):
    examples = rows(N, task=task)
    found = said(with_input(examples, "leak", "float", pa.array(examples.target)))
    assert "`leak` alone predicts the target" in found[0] and "it is the target" in found[0]


def test_of_numbers_a_value_that_is_there_only_later_is_named():
    examples = rows(N, task="number")
    there = examples.target > np.quantile(examples.target, 0.6)
    found = said(with_input(examples, "leak", "float", pa.array(np.ones(N), mask=~there)))
    assert any("whether `leak` has a value" in sentence for sentence in found)


def test_a_time_after_the_row_is_named(clean):
    at = np.sort(np.random.default_rng(0).integers(0, 400 * DAY, N))
    timed = replace(clean, time=at)
    kind = pa.timestamp("us", "UTC")
    late = np.where(np.arange(N) % 5 == 0, at + DAY, at - DAY)
    found = said(with_input(timed, "leak", "time", pa.array(late).cast(kind)))
    assert len(found) == 1 and "`leak` is later" in found[0] and "24.0 hours" in found[0]
    assert said(with_input(timed, "signed_up", "time", pa.array(at - DAY).cast(kind))) == ()


def test_what_names_rows_is_named(clean):
    for column, kind in ((pa.array([f"c-{i}" for i in range(N)]), "str"), (pa.array(np.arange(N) + 77), "int")):
        found = said(with_input(clean, "leak", kind, column))
        assert len(found) == 1 and "`leak`" in found[0] and "looks like an ID column" in found[0]
    amounts = pa.array(np.random.default_rng(0).integers(0, 10**9, N))
    assert said(with_input(clean, "amount", "int", amounts)) == ()


def test_copies_of_test_rows_are_counted(clean):
    twice = np.r_[np.arange(N), np.arange(0, N, 10)]
    examples = replace(clean.take(twice), row=np.arange(len(twice)))
    (found,) = said(examples)
    split = split_examples(examples)
    n = int(np.isin(twice[split.test], twice[split.train]).sum())
    assert f"{n:,} of {len(split.test):,} test rows" in found


def test_real_data_raise_no_false_alarm(data_dir):
    if not (data_dir / "adult").is_dir() or not (data_dir / "telco-churn").is_dir():
        pytest.skip("no census and churn data")
    assert said(churn(data_dir / "telco-churn" / "telco_customer_churn.csv")) == ()
    assert said(adult(data_dir / "adult")) == ()
