"""A tabular model: one row answers as a table does, whatever is missing, and what each input adds adds up."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tabular_worlds as worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BundleRefused, NotExplained, TypeMismatch, UnknownName
from tidemill.core.records.signature import InputField
from tidemill.models.tabular import TabularModel, open_tabular, parity, read_golden, rows_of, write_tabular
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.recipe import (
    AdditiveTerm,
    AdditiveTerms,
    DatePart,
    NumberColumn,
    OnnxGraphMember,
    TabularRecipe,
)
from tidemill.models.tabular.single_row_design import row_design
from tidemill.models.tabular.utc_parts import part_of

pytest.importorskip("lightgbm")
pytest.importorskip("onnxruntime")


def stack(task: str = "binary", **more: Any) -> TabularModel:
    k = 3 if task == "classes" else 1
    trees, text = worlds.boosted(k=k)
    even, arrays = worlds.oblivious(k=k)
    members: tuple[Any, ...] = (worlds.additive(k=k), trees, even)
    parts = {**text, **arrays}
    if more.pop("graph", k == 1):
        graph, raw = worlds.summed()
        members, parts = (*members, graph), {**parts, **raw}
    return TabularModel(worlds.recipe(members, task, **more), parts)


MODELS = {task: stack(task) for task in ("binary", "classes", "number", "count")}
MODELS["cut"] = stack("number", low=-0.5, high=0.5)
VALUES = st.tuples(
    st.none() | st.floats(allow_nan=True, allow_infinity=False),
    st.none() | st.integers(-(2**62), 2**62),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(worlds.TEXTS) | st.text(max_size=4),
    st.none() | st.sampled_from(["x", "y", "never"]),
    st.none() | st.integers(-(10**16), 10**16),
)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=40)
@given(rows=st.lists(VALUES, min_size=1, max_size=4))
def test_a_row_answers_as_a_table_does(name: str, rows: list[tuple[Any, ...]]) -> None:
    model = MODELS[name]
    bulk = model.answer(worlds.table([list(row) for row in rows])).reshape(len(rows), -1)
    one = np.asarray([model.predict_row(row) for row in rows])
    np.testing.assert_allclose(one, bulk, rtol=1e-12, atol=1e-12)


@given(rows=st.lists(VALUES, min_size=1, max_size=6))
def test_the_design_of_a_row_is_that_of_a_table_bit_for_bit(rows: list[tuple[Any, ...]]) -> None:
    of_row = row_design(worlds.FIELDS, worlds.ENCODERS)
    table = worlds.table([list(row) for row in rows])
    bulk = design_of(inputs_of(table, worlds.FIELDS), worlds.ENCODERS, len(rows))
    np.testing.assert_array_equal(np.asarray([of_row(row) for row in rows]), bulk)


@given(us=st.integers(-62_000_000_000_000_000, 250_000_000_000_000_000))
def test_parts_of_a_time_are_those_of_the_calendar(us: int) -> None:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    found = [part_of(us, part) for part in ("year", "month", "day", "weekday")]
    assert found == [when.year, when.month, when.day, when.weekday()]
    hour = when.hour + when.minute / 60 + (when.second + when.microsecond / 1e6) / 3600
    assert part_of(us, "hour") == pytest.approx(hour, abs=1e-9)


def test_what_encoders_make_of_a_row_is_known() -> None:
    of_row = row_design(worlds.FIELDS, worlds.ENCODERS)
    monday = int(datetime(2024, 7, 1, 18, 30, tzinfo=UTC).timestamp()) * 1_000_000
    nan = float("nan")
    assert of_row([1.5, 3, True, "red", "x", monday]) == [
        1.5, 3, 1, monday / 1e6, 0, 1, 0, 0.25, 1.0, 7, 1, 18.5, 0, 7, 1, 2024,
    ]  # fmt: skip
    np.testing.assert_array_equal(
        of_row([None] * 6), [nan, nan, nan, nan, nan, 0, 1, -1.5, 0.1, nan, 0, nan, nan, nan, nan, nan]
    )
    assert of_row([0.0, 2, False, "never", "y", 0])[4:11] != of_row([0.0, 2, False, "red", "y", 0])[4:11]


def test_an_additive_model_is_linear_between_knots_and_constant_beyond() -> None:
    curve = AdditiveTerm(column=0, knots=(0.0, 10.0), values=((1.0,), (2.0,)), missing=(9.0,))
    recipe = TabularRecipe(
        task="number", target="y", inputs=(InputField(name="x", kind="float"),), encoders=(NumberColumn(input="x"),),
        members=(AdditiveTerms(name="a", terms=(curve,), bias=(0.5,)),), weights=(2.0,), bias=(1.0,), link="identity",
    )  # fmt: skip
    model = TabularModel(recipe, {})
    table = pa.table({"x": [-5.0, 0.0, 5.0, 10.0, 99.0, None]})
    assert model.predict(table)["value"].tolist() == [4.0, 4.0, 5.0, 6.0, 6.0, 20.0]
    assert [model.predict_row([x])[0] for x in (-5.0, 0.0, 5.0, 10.0, 99.0, None)] == [4.0, 4.0, 5.0, 6.0, 6.0, 20.0]


def test_outputs_are_named_as_the_task_says() -> None:
    table = worlds.table(worlds.rows(50))
    binary = MODELS["binary"].predict(table)
    assert set(binary) == {"probability", "label"}
    assert binary["label"].tolist() == ["yes" if one >= 0.5 else "no" for one in binary["probability"]]
    classes = MODELS["classes"].predict(table)
    assert set(classes) == {"probabilities", "label"}
    np.testing.assert_allclose(classes["probabilities"].sum(axis=1), 1)
    assert classes["label"].tolist() == [("a", "b", "c")[one] for one in classes["probabilities"].argmax(axis=1)]
    assert set(MODELS["count"].predict(table)) == {"value"}
    cut = MODELS["cut"].predict(table)["value"]
    assert (cut.min(), cut.max()) == (-0.5, 0.5)
    assert MODELS["binary"].predict(table.slice(0, 0))["probability"].shape == (0,)


def test_a_member_is_turned_before_it_is_weighed() -> None:
    for then in ("square", "exp"):
        curves = worlds.additive()
        plain = TabularModel(worlds.recipe((curves,), "number"), {})
        turned = TabularModel(
            worlds.recipe((AdditiveTerms(name="a", terms=curves.terms, bias=curves.bias, then=then),), "number"), {}
        )
        table = worlds.table(worlds.rows(60))
        margin = plain.margins(table)[:, 0] - 0.05
        expected = np.exp(margin) if then == "exp" else np.square(np.maximum(margin, 0))
        np.testing.assert_allclose(turned.margins(table)[:, 0], expected + 0.05)
        rows = worlds.rows(60)
        np.testing.assert_allclose([turned.predict_row(row)[0] for row in rows], turned.answer(table), rtol=1e-12)
        values, base = turned.explain(table)
        np.testing.assert_allclose(base + values.sum(axis=1), turned.margins(table)[:, 0], atol=1e-9)


@pytest.mark.parametrize("task", ["binary", "classes", "number"])
def test_what_inputs_add_adds_up_to_the_margin(task: str) -> None:
    model = stack(task, graph=False)
    table = worlds.table(worlds.rows(200, 7))
    values, base = model.explain(table)
    assert values.shape == (200, len(worlds.FIELDS))
    np.testing.assert_allclose(base + values.sum(axis=1), model.margins(table).max(axis=1), atol=1e-9)
    assert np.abs(values).max() > 0.1


def test_a_graph_is_not_explained_and_says_so() -> None:
    with pytest.raises(NotExplained, match="ONNX graph"):
        MODELS["binary"].explain(worlds.table(worlds.rows(2)))


def test_texts_and_numbers_go_into_a_graph_as_they_are() -> None:
    from onnx import TensorProto, helper

    kinds = {
        "size": TensorProto.FLOAT,
        "rooms": TensorProto.INT64,
        "new": TensorProto.BOOL,
        "colour": TensorProto.STRING,
    }
    nodes = [
        helper.make_node("LabelEncoder", ["colour"], ["c"], domain="ai.onnx.ml", keys_strings=["red", "?"],
                         values_floats=[10.0, 20.0], default_float=30.0),
        helper.make_node("Cast", ["rooms"], ["r"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["new"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["size", "r", "f", "c"], ["out"]),
    ]  # fmt: skip
    inputs = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in kinds.items()]
    made = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 1])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    raw = helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString()
    member = OnnxGraphMember(name="g", file="g.onnx", output="out", missing_text="?", missing_whole=100)
    model = TabularModel(worlds.recipe((member,), "number", bias=(0.0,), weights=(1.0,)), {"g.onnx": raw})
    rows = [[1.5, 2, True, "red", None, None], [0.5, None, None, None, None, None], [0.0, 0, False, "never", "x", 5]]
    assert model.answer(worlds.table(rows)).tolist() == [14.5, 120.5, 30.0]
    assert [model.predict_row(row) for row in rows] == [[14.5], [120.5], [30.0]]


def test_a_bundle_gives_the_same_answers_and_the_same_bytes(tmp_path: Path) -> None:
    table = worlds.table(worlds.rows(40))
    for name, model in MODELS.items():
        write_tabular(model, tmp_path / name, (table, model.answer(table)))
        found = open_tabular(tmp_path / name)
        assert (found.answer(table) == model.answer(table)).all()
        assert parity(found, tmp_path / name) < 1e-12
        assert parity(found, (table, model.answer(table) + 0.5)) > 0.4
        write_tabular(found, tmp_path / "again" / name, read_golden(tmp_path / name))
        for file in (tmp_path / name).iterdir():
            assert (tmp_path / "again" / name / file.name).read_bytes() == file.read_bytes()


def test_golden_rows_never_name_people(tmp_path: Path) -> None:
    who = InputField(name="size", kind="float", role="subject")
    model = TabularModel(worlds.recipe((worlds.additive(),), inputs=(who, *worlds.FIELDS[1:])), {})
    table = worlds.table(worlds.rows(3))
    with pytest.raises(BundleRefused, match="'size', which identifies people"):
        write_tabular(model, tmp_path / "m", (table, model.answer(table)))
    write_tabular(model, tmp_path / "n")
    assert parity(open_tabular(tmp_path / "n"), tmp_path / "n") == 0.0


def test_a_model_is_shared_by_threads_and_sent_to_processes() -> None:
    model, rows = MODELS["binary"], worlds.rows(200)
    expected = model.answer(worlds.table(rows))
    with ThreadPoolExecutor(4) as pool:
        found = np.asarray(list(pool.map(model.predict_row, rows)))[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    sent = pickle.loads(pickle.dumps(model))
    assert (sent.answer(worlds.table(rows)) == expected).all()


def test_without_the_c_call_a_row_is_answered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        """LightGBM's own, as one too old for the call."""

    model, rows = stack(), worlds.rows(20)
    monkeypatch.setattr(model.members[1], "_library", Library())
    found = [model.predict_row(row)[0] for row in rows]
    np.testing.assert_allclose(found, model.answer(worlds.table(rows)), atol=1e-12)


def test_tables_of_other_types_are_read_where_nothing_is_lost() -> None:
    model = MODELS["binary"]
    table = worlds.table(worlds.rows(30))
    other = pa.table(
        {
            "extra": pa.array(range(30)),
            "sold": table["sold"].cast(pa.timestamp("ns", tz="Europe/Vienna"), safe=False),
            "town": table["town"].dictionary_encode(),
            "colour": table["colour"].cast(pa.large_string()),
            "new": table["new"],
            "rooms": table["rooms"].cast(pa.int8()),
            "size": table["size"],
        }
    )
    assert (model.answer(other) == model.answer(table)).all()
    with pytest.raises(UnknownName, match="needs the column 'sold'"):
        model.answer(table.drop_columns(["sold"]))
    with pytest.raises(TypeMismatch, match="'size' is string; expected a number"):
        model.answer(table.set_column(0, "size", pa.array(["many"] * 30)))


def test_rows_of_a_table_are_in_the_order_of_the_inputs() -> None:
    rows = worlds.rows(30)
    assert rows_of(MODELS["binary"].inputs, worlds.table(rows)) == rows


def test_a_part_of_a_time_that_is_missing_is_missing() -> None:
    of_row = row_design((InputField(name="t", kind="time"),), (DatePart(input="t", part="hour"),))
    assert np.isnan(of_row([None])[0])
