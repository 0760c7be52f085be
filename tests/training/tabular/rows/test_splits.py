from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from assessed_rows import DAY, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import SettingRefused, TooLittleData
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.rows.dataset_fingerprint import dataset_fingerprint
from tidemill.training.tabular.rows.splits import SplitRule, split_examples


def named(examples: Examples, places: np.ndarray) -> set[int]:
    assert examples.row is not None
    return set(examples.row[places].tolist())


def grouped(n: int = 600, n_groups: int = 40, seed: int = 0) -> Examples:
    return replace(rows(n, seed=seed), group=np.random.default_rng(seed).integers(0, n_groups, n))


def timed(n: int = 600, days: int = 100, seed: int = 0) -> Examples:
    return replace(rows(n, seed=seed), time=np.random.default_rng(seed).integers(0, days, n) * DAY)


def test_by_time_all_of_the_test_is_later_and_about_a_fifth():
    examples = timed()
    split = split_examples(examples)
    assert split.by == "time"
    assert examples.time[split.train].max() < examples.time[split.test].min() == split.at
    assert 0.15 < len(split.test) / 600 < 0.25
    assert "latest" in split.protocol


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=60, max_size=120), st.floats(0.05, 0.6))
def test_however_times_tie_no_instant_is_on_both_sides(days, share):
    examples = replace(rows(len(days), task="number"), time=np.array(days) * DAY)
    if len(set(days)) < 2:
        return
    split = split_examples(examples, SplitRule(share=share))
    assert not set(examples.time[split.train].tolist()) & set(examples.time[split.test].tolist())
    assert sorted([*split.train.tolist(), *split.test.tolist()]) == list(range(len(days)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["time", "group", "random"]))
def test_the_order_of_rows_does_not_matter(seed, by):
    examples = replace(grouped(), time=timed().time)
    shuffled = examples.take(np.random.default_rng(seed).permutation(len(examples)))
    one, two = (split_examples(each, SplitRule(by=by)) for each in (examples, shuffled))
    assert named(examples, one.test) == named(shuffled, two.test)
    assert dataset_fingerprint(examples) == dataset_fingerprint(shuffled)


@settings(max_examples=20, deadline=None)
@given(st.integers(100, 900))
def test_rows_that_are_added_move_no_other_row(n):
    examples = rows(1_000)
    few = examples.take(np.arange(n))
    before, after = split_examples(few), split_examples(examples)
    assert before.by == "random"
    assert named(few, before.test) == named(examples, after.test) & set(range(n))


def test_without_names_rows_are_drawn_by_what_is_in_them():
    examples = replace(rows(500), row=None)
    order = np.random.default_rng(1).permutation(500)
    one, two = split_examples(examples), split_examples(examples.take(order))
    assert sorted(one.test.tolist()) == sorted(order[two.test].tolist())


def test_groups_stay_whole():
    for n_groups in (3, 8, 300):
        examples = grouped(n_groups=n_groups)
        split = split_examples(examples)
        assert split.by == "group"
        assert not set(examples.group[split.train].tolist()) & set(examples.group[split.test].tolist())
        assert 0.05 < len(split.test) / len(examples) < 0.5
        assert split.warnings == ()


def test_by_time_groups_on_both_sides_are_told_with_numbers():
    examples = replace(grouped(), time=timed().time)
    split = split_examples(examples)
    assert split.by == "time"
    known = np.isin(examples.group[split.test], examples.group[split.train])
    assert f"({known.mean():.0%} of its rows)" in split.warnings[0]


def test_a_random_test_is_about_a_fifth_and_has_both_classes():
    examples = rows(3_000)
    rare = replace(examples, target=np.isin(np.arange(3_000), [5, 17, 400, 401, 999, 2_000]).astype(float))
    assert 0.17 < len(split_examples(examples).test) / 3_000 < 0.23
    try:
        split = split_examples(rare)
    except TooLittleData:
        return
    assert rare.target[split.test].sum() and rare.target[split.train].sum()


def test_what_is_too_little_or_cannot_be_asked_is_said():
    for examples in (rows(40), replace(rows(500), target=np.ones(500))):
        with pytest.raises(TooLittleData):
            split_examples(examples)
    with pytest.raises(SettingRefused, match="no times"):
        split_examples(rows(500), SplitRule(by="time"))
    with pytest.raises(SettingRefused, match="no groups"):
        split_examples(rows(500), SplitRule(by="group"))
    with pytest.raises(SettingRefused):
        SplitRule(share=1.0)


def test_a_given_time_splits_there():
    examples = timed()
    split = split_examples(examples, SplitRule(at=50 * DAY))
    assert split.at == 50 * DAY
    assert named(examples, split.test) == set(np.flatnonzero(examples.time >= 50 * DAY).tolist())


def test_one_changed_cell_is_another_dataset():
    examples = replace(grouped(200), time=timed(200).time, attributes=pa.table({"sex": ["f", "m"] * 100}))
    mark = dataset_fingerprint(examples)
    x = examples.inputs["x"].to_numpy().copy()
    x[17] = np.nextafter(x[17], 1)
    shop = examples.inputs["shop"].to_pylist()
    shop[3] = None
    others = {
        "number": replace(examples, inputs=examples.inputs.set_column(0, "x", pa.array(x))),
        "missing": replace(examples, inputs=examples.inputs.set_column(2, "shop", pa.array(shop))),
        "target": replace(examples, target=np.where(np.arange(200) == 5, 1 - examples.target, examples.target)),
        "time": replace(examples, time=examples.time + (np.arange(200) == 9)),
        "row": replace(examples, row=examples.row + (np.arange(200) == 199)),
        "attribute": replace(examples, attributes=pa.table({"sex": ["m", "m"] + ["f", "m"] * 99})),
        "group": replace(examples, group=np.where(np.arange(200) == 5, 999, examples.group)),
        "classes": replace(examples, classes=("no", "Yes")),
        "fewer": examples.take(np.arange(199)),
        "no attributes": replace(examples, attributes=None),
    }
    marks = {name: dataset_fingerprint(other) for name, other in others.items()}
    assert len({mark, *marks.values()}) == len(others) + 1


def test_chunks_names_of_groups_and_signs_of_zero_are_no_content():
    examples = grouped(200)
    mark = dataset_fingerprint(examples)
    chunked = pa.concat_tables([examples.inputs.slice(0, 70), examples.inputs.slice(70)])
    assert dataset_fingerprint(replace(examples, inputs=chunked)) == mark
    assert dataset_fingerprint(replace(examples, group=1_000 - examples.group)) == mark
    zero, minus = (replace(examples, target=np.full(200, value)) for value in (0.0, -0.0))
    assert dataset_fingerprint(zero) == dataset_fingerprint(minus)


def test_the_mark_of_a_dataset_is_what_older_versions_made():
    """Releases keep it: reproducing one that was learned when kinds had other words must find the same rows."""
    fields = (
        InputField(name="age", kind="float", unit="years"), InputField(name="visits", kind="int", optional=False),
        InputField(name="member", kind="bool"), InputField(name="plan", kind="str", role="item"),
        InputField(name="since", kind="time"),
    )  # fmt: skip
    inputs = pa.table(
        {"age": [31.5, None], "visits": [3, 4], "member": [True, None], "plan": ["a", "b"]}
        | {"since": pa.array([0, 1], pa.timestamp("us", "UTC"))}
    )
    examples = Examples(fields, inputs, np.array([0.0, 1.0]), "binary", ("no", "yes"))
    assert dataset_fingerprint(examples) == "6bffe1cf1ba73a04d33f08129ea3ad47b15ef7976648139906980c3909a34693"
