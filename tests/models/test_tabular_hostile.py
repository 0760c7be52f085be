"""What is not a sound tabular bundle is refused before a native library or a lookup follows its numbers."""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tabular_worlds as worlds
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import AnswerFailed, BundleCorrupt, BundleRefused, FormatTooNew
from tidemill.models.formats import lightgbm_text_check, onnx_check
from tidemill.models.tabular import TabularModel, open_tabular, write_tabular
from tidemill.release.allowed_contents import refusal_reason

pytest.importorskip("lightgbm")
pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

_TREES, _TEXT = worlds.boosted(k=3, trees=3)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    even, arrays = worlds.oblivious()
    trees, text = worlds.boosted(trees=3)
    graph, raw = worlds.summed()
    members = (worlds.additive(), even, trees, graph)
    write_tabular(TabularModel(worlds.recipe(members), {**arrays, **text, **raw}), tmp_path / "m")
    assert len(open_tabular(tmp_path / "m").members) == 4
    return tmp_path / "m"


def changed(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    about = json.loads((bundle / "tabular.json").read_text())
    change(about)
    (bundle / "tabular.json").write_text(json.dumps(about))


def at(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(about: dict[str, Any]) -> None:
        place: Any = about
        for one in path[:-1]:
            place = place[one]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (at("weights", to=[1.0]), "1 weights for 4 members"),
        (at("bias", to=[0.0, 0.0]), "a bias of 2 numbers; expected 1"),
        (at("classes", to=["only"]), "1 classes of a binary task"),
        (at("link", to="softmax"), "the link softmax of a binary task"),
        (at("members", 0, "terms", 0, "column", to=999), "outside the 16"),
        (at("members", 0, "terms", 0, "column", to=-1), "outside the 16"),
        (at("members", 0, "terms", 0, "knots", to=[1.0, 1.0, 2.0]), "are not increasing"),
        (at("members", 0, "terms", 0, "knots", to=[]), "0 knots and 3 rows"),
        (at("members", 0, "terms", 0, "missing", to=[]), "3 knots"),
        (at("members", 1, "columns", to=[0, 1]), "splits by a column outside its 2"),
        (at("members", 1, "columns", to=[]), "outside the 16"),
        (at("members", 1, "name", to="other"), "other.splits.npy' cannot|other.splits.npy cannot"),
        (at("members", 2, "columns", to=[0, 1, 2]), "has 16 columns and 1 margins"),
        (at("members", 2, "columns", to=[16] * 16), "outside the 16"),
        (at("members", 3, "output", to="none"), "no output 'none'"),
        (at("members", 3, "columns", to=[1, 2, 99]), "outside the 16"),
        (at("members", 3, "columns", to=None), "reads 'in', which is not an input"),
        (at("encoders", 0, "input", to="nothing"), "'nothing', which is not an input"),
        (at("encoders", 0, "input", to="colour"), "'colour', which is text"),
        (at("inputs", 1, "name", to="size"), "a duplicate name"),
        (at("low", to=2.0), None),
        (lambda about: about.update(low=2.0, high=1.0), "the range is empty"),
        (at("task", to="poem"), "cannot be read"),
        (at("members", to=[]), "no member"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(bundle: Path, change: Any, why: str | None) -> None:
    changed(bundle, change)
    if why is None:
        open_tabular(bundle)
        return
    with pytest.raises(BundleCorrupt, match=why):
        open_tabular(bundle)


def test_numbers_that_are_none_are_refused(bundle: Path) -> None:
    raw = (bundle / "tabular.json").read_text()
    for number in ("NaN", "Infinity", "1e999", "null", '"1"'):
        about = json.loads(raw)
        about["bias"] = ["HERE"]
        (bundle / "tabular.json").write_text(json.dumps(about).replace('"HERE"', number))
        with pytest.raises(BundleCorrupt):
            open_tabular(bundle)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", "", ".hidden", "x" * 200, "a\n", "a\0b"])
def test_a_file_outside_the_folder_is_not_looked_at(bundle: Path, name: str) -> None:
    changed(bundle, at("members", 2, "file", to=name))
    with pytest.raises(BundleRefused, match="not a plain file name"):
        open_tabular(bundle)
    changed(bundle, at("members", 2, "file", to="boosted.txt"))
    changed(bundle, at("members", 1, "name", to=name))
    with pytest.raises(BundleRefused, match="not a plain file name"):
        open_tabular(bundle)


def test_a_newer_format_is_named(bundle: Path) -> None:
    changed(bundle, at("format", to=2))
    with pytest.raises(FormatTooNew, match="format 2"):
        open_tabular(bundle)


def _with(array: np.ndarray, value: Any) -> np.ndarray:
    array = array.copy()
    array.flat[-1] = value
    return array


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        ("splits", lambda a: _with(a, 16), "splits by a column outside its 16"),
        ("splits", lambda a: _with(a, -1), "splits by a column outside its 16"),
        ("splits", lambda a: a.astype(np.int64), "splits are int64"),
        ("splits", lambda a: np.zeros((1, 40), np.int32), "depth 1 to 16"),
        ("splits", lambda a: a.ravel(), "splits are int32 of shape"),
        ("borders", lambda a: _with(a, np.nan), "not all numbers"),
        ("borders", lambda a: a[:-1], "its borders are"),
        ("borders", lambda a: a.astype(np.float64), "its borders are float64"),
        ("leaves", lambda a: _with(a, np.inf), "not all numbers"),
        ("leaves", lambda a: a[:, :3], "its leaves are"),
        ("leaves", lambda a: np.repeat(a, 2, axis=2), "its leaves are"),
        ("counts", lambda a: _with(a, -1), "of at least 0"),
        ("counts", lambda a: a[0], "its counts are"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(bundle: Path, file: str, change: Any, why: str) -> None:
    path = bundle / f"even.{file}.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(BundleCorrupt, match=why):
        open_tabular(bundle)


def test_a_pickle_under_another_name_is_refused(bundle: Path) -> None:
    for protocol in (0, 2, 4, 5):
        pickled = pickle.dumps({"a": 1}, protocol=protocol)
        for name in ("even.splits.npy", "boosted.txt", "graph.onnx", "tabular.json"):
            kept = (bundle / name).read_bytes()
            (bundle / name).write_bytes(pickled)
            assert refusal_reason(bundle / name, name, "bundle")
            with pytest.raises((BundleRefused, BundleCorrupt)):
                open_tabular(bundle)
            (bundle / name).write_bytes(kept)
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    (bundle / "even.leaves.npy").write_bytes(objects.getvalue())
    with pytest.raises(BundleRefused, match="contains Python objects"):
        open_tabular(bundle)


def test_what_is_written_may_be_in_a_bundle(bundle: Path) -> None:
    assert {
        path.name: refusal_reason(path, path.name, "bundle")
        for path in bundle.iterdir()
        if refusal_reason(path, path.name, "bundle")
    } == {}


# ---- trees as text


def test_trees_of_categories_and_of_several_classes_are_sound() -> None:
    assert lightgbm_text_check.lightgbm_refusal_reason(_TEXT["boosted.txt"]) is None


def _tree_with(key: str, change: Callable[[str], str]) -> bytes:
    """The text with the first line of `key` that says something changed, and sizes that say so."""
    head, *trees = _TEXT["boosted.txt"].decode().split("\n\nTree=")
    for number, tree in enumerate(trees):
        lines = tree.split("\n")
        for place, line in enumerate(lines):
            if line.startswith(f"{key}=") and len(line) > len(key) + 1 and ("num_cat=1" in tree or "num_cat=2" in tree):
                lines[place] = f"{key}={change(line.partition('=')[2])}"
                trees[number] = "\n".join(lines)
                sizes = " ".join(str(len(f"\n\nTree={one}")) for one in trees)
                old = next(line for line in head.split("\n") if line.startswith("tree_sizes="))
                return "\n\nTree=".join([head.replace(old, f"tree_sizes={sizes}"), *trees]).encode()
    raise AssertionError(f"no tree with {key}")


@pytest.mark.parametrize(
    ("key", "change", "why"),
    [
        ("cat_boundaries", lambda v: v.replace("0 ", "1 ", 1), "out of bounds"),
        ("cat_boundaries", lambda v: " ".join([*v.split()[:-1], "999999"]), "out of bounds"),
        ("cat_boundaries", lambda v: " ".join(["0", "-5", *v.split()[2:]]), "out of bounds"),
        ("cat_boundaries", lambda v: v + " " + v.split()[-1], "out of bounds"),
        ("cat_threshold", lambda v: v + " 7", "out of bounds"),
        ("cat_threshold", lambda v: " ".join(["4294967296", *v.split()[1:]]), "not valid bit sets"),
        ("cat_threshold", lambda v: " ".join(["-1", *v.split()[1:]]), "not valid bit sets"),
        ("num_cat", lambda v: "0", "categories that are missing"),
        ("num_cat", lambda v: "100000000", "out of bounds"),
        ("decision_type", lambda v: " ".join(["127"] * len(v.split())), "unsupported"),
        ("decision_type", lambda v: " ".join(["9"] * len(v.split())), "categories that are missing"),
        ("left_child", lambda v: " ".join([v.split()[1], *v.split()[1:]]), "child index|two parents|a leaf has"),
        ("right_child", lambda v: " ".join(["-1"] * len(v.split())), "child index|two parents|a leaf has"),
        ("num_leaves", lambda v: "200000", "its number of leaves is wrong"),
    ],
)  # fmt: skip
def test_trees_that_lead_astray_are_refused(key: str, change: Any, why: str) -> None:
    found = lightgbm_text_check.lightgbm_refusal_reason(_tree_with(key, change))
    assert found is not None
    assert re.search(why, found), found


def test_sizes_that_point_elsewhere_do_not_reach_lightgbm() -> None:
    text = _TEXT["boosted.txt"].decode()
    written = lightgbm_text_check.checked_text(text.encode())
    assert lightgbm_text_check.checked_text(written.encode()) == written
    line = next(line for line in text.split("\n") if line.startswith("tree_sizes="))
    for sizes in ("1 " * 9, "99999999999 " * 9, line[11:] + " 5", "5"):
        other = text.replace(line, f"tree_sizes={sizes.strip()}")
        assert lightgbm_text_check.checked_text(other.encode()) == written
    assert lightgbm_text_check.lightgbm_refusal_reason(text.replace("\n", "\r\n").encode())


def test_a_text_written_again_predicts_and_explains_the_same() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(600, 4))
    rows[:, 3] = draw.integers(0, 60, 600)
    rows[draw.random(rows.shape) < 0.1] = np.nan
    target = (np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 3]) % 2 > 0.5) * 1
    for settings in (
        {"objective": "binary", "num_leaves": 60, "min_data_in_leaf": 2},
        {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"objective": "multiclass", "num_class": 2},
    ):
        data = lightgbm.Dataset(rows, target, categorical_feature=[3])
        booster = lightgbm.train({"verbose": -1, "num_threads": 1} | settings, data, 20)
        text = lightgbm_text_check.checked_text(booster.model_to_string().encode())
        other = lightgbm.Booster(model_str=text)
        for what in ({"raw_score": True}, {}, {"pred_contrib": True}, {"pred_leaf": True}):
            assert np.array_equal(booster.predict(rows, **what), other.predict(rows, **what)), (settings, what)


def test_a_text_written_again_lacks_what_the_training_rows_contain() -> None:
    """LightGBM notes the smallest and largest value of each column, and its categories."""
    pd = pytest.importorskip("pandas")
    lightgbm = pytest.importorskip("lightgbm")
    frame = pd.DataFrame({"income": [*range(100), 987654.0], "name": pd.Categorical(["Ann"] * 100 + ["Zoe Q"])})
    given = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 10}
    text = lightgbm.train(given, lightgbm.Dataset(frame, np.arange(101.0)), 3).model_to_string()
    written = lightgbm_text_check.checked_text(text.encode())
    for secret in ("987654", "Zoe"):
        assert secret in text and secret not in written


def test_a_tree_of_shared_nodes_is_no_tree() -> None:
    """A walk through it would end, but explaining it would take two to its depth steps."""
    assert lightgbm_text_check._walk_trouble([1, 2, -1], [1, 2, -2]) == "a node has two parents"
    assert lightgbm_text_check._walk_trouble([1, -1], [-2, -1]) == "a leaf has no parent or several"
    deep = list(range(1, 600))
    assert (
        lightgbm_text_check._walk_trouble([*deep, -600], [*(-place for place in deep), -601])
        == "it is deeper than 512 levels"
    )


# ---- graphs


def test_a_plain_graph_is_sound_and_one_of_others_is_not() -> None:
    assert onnx_check.onnx_refusal_reason(worlds.graph(3)) is None
    assert onnx_check.onnx_refusal_reason(worlds.graph(3, domain="com.microsoft")) is None
    refused = onnx_check.onnx_refusal_reason(worlds.graph(3, domain="evil.ops"))
    assert "operators of the domain 'evil.ops'" in str(refused)


def test_weights_in_another_file_are_refused_wherever_they_hide() -> None:
    from onnx import TensorProto, helper

    outside = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    outside.ClearField("float_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../etc/passwd")
    constant = helper.make_node("Constant", [], ["out"], value=outside)
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    inner = helper.make_graph([constant], "inner", [], [result])
    flag = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    branch = helper.make_node("If", ["c"], ["out"], then_branch=inner, else_branch=inner)
    graphs = [
        helper.make_graph([helper.make_node("Identity", ["w"], ["out"])], "g", [], [result], [outside]),
        helper.make_graph([constant], "g", [], [result]),
        helper.make_graph([branch], "g", [], [result], [flag]),
    ]
    for one in graphs:
        assert (
            onnx_check.onnx_refusal_reason(helper.make_model(one).SerializeToString())
            == "its weights are in another file"
        )
    local = helper.make_function("mine", "f", [], ["out"], [constant], [helper.make_opsetid("", 17)])
    calling = helper.make_graph([helper.make_node("f", [], ["out"], domain="mine")], "g", [], [result])
    made = helper.make_model(calling, functions=[local])
    assert onnx_check.onnx_refusal_reason(made.SerializeToString()) == "its weights are in another file"


def _varint(number: int, at_least: int = 1) -> bytes:
    found = bytearray()
    while number or len(found) < at_least:
        found.append(number & 127 | 128)
        number >>= 7
    found[-1] &= 127
    return bytes(found)


def _field(number: int, body: bytes | int, *, key_more: int = 0) -> bytes:
    """A protobuf field; `key_more` is added to its key, above the 32 bits that a key may have."""
    kind = 0 if isinstance(body, int) else 2
    key = _varint((number << 3 | kind) + key_more)
    return key + (_varint(body) if isinstance(body, int) else _varint(len(body)) + body)


def _in_initializer(more: bytes) -> bytes:
    """A model whose only weight has these further bytes."""
    from onnx import TensorProto, helper

    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    made = helper.make_model(helper.make_graph([helper.make_node("Identity", ["w"], ["out"])], "g", [], [result]))
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]).SerializeToString() + more
    graph = made.graph.SerializeToString() + _field(5, weight)
    made.ClearField("graph")
    return bytes(made.SerializeToString()) + _field(7, graph)


_PLACE = _field(1, b"location") + _field(2, b"secret.bin")
_STRANGE = {
    "key of more than 32 bits": _field(13, _PLACE, key_more=1 << 32) + _field(14, 1, key_more=1 << 32),
    "unknown field": _field(99, b"what is this"),
    "unknown number": _field(99, 7),
    "name given twice": _field(8, b"v"),
    "number with leading zeros": bytes([8 << 3 | 2]) + _varint(1, at_least=5) + b"w",
}


@pytest.mark.parametrize("more", _STRANGE.values(), ids=_STRANGE)
def test_bytes_that_two_parsers_could_read_differently_are_refused(more: bytes) -> None:
    assert onnx_check.onnx_refusal_reason(_in_initializer(b"")) is None
    raw = _in_initializer(more)
    assert onnx_check.onnx_refusal_reason(raw)
    with pytest.raises(ValueError, match=r"not an ONNX graph|bytes that ONNX does not write"):
        onnx_check.onnx_session(raw)


def test_weights_of_a_training_graph_may_be_no_other_file_either() -> None:
    import onnx

    made = onnx.ModelProto.FromString(worlds.graph(3))
    tensor = made.training_info.add().initialization.initializer.add(name="w", data_type=1)
    tensor.external_data.add(key="location", value="secret.bin")
    assert onnx_check.onnx_refusal_reason(made.SerializeToString()) == "its weights are in another file"


@given(raw=st.binary(max_size=300), cut=st.integers(0, 400), place=st.integers(0, 400), byte=st.integers(0, 255))
def test_no_bytes_make_the_looking_fail(raw: bytes, cut: int, place: int, byte: int) -> None:
    assert onnx_check.onnx_refusal_reason(raw)
    damaged = bytearray(worlds.graph(3))
    damaged[place % len(damaged)] = byte
    for one in (bytes(damaged), bytes(damaged[:cut])):
        assert onnx_check.onnx_refusal_reason(one) is None or onnx_check.onnx_refusal_reason(one)
    text = bytearray(_TEXT["boosted.txt"])
    text[place * 17 % len(text)] = byte
    assert lightgbm_text_check.lightgbm_refusal_reason(
        bytes(text)
    ) is None or lightgbm_text_check.lightgbm_refusal_reason(bytes(text))


def test_a_graph_of_another_width_is_refused_and_one_that_fails_says_so() -> None:
    member, raw = worlds.summed()
    narrow = msgspec.structs.replace(member, columns=(5, 7))
    with pytest.raises(BundleCorrupt, match=r"graph.onnx reads 3 columns, and gets 2"):
        TabularModel(worlds.recipe((narrow,)), raw).members  # noqa: B018 - opened at their first use
    helper, TensorProto = onnx.helper, onnx.TensorProto  # noqa: N806 - a class
    told, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    sevens = helper.make_graph(
        [helper.make_node("Reshape", ["in", "shape"], ["out"])],
        "sevens",
        [told("in", kind, [None, 3])],
        [told("out", kind, [None, 7])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 7])],
    )
    opsets = [helper.make_opsetid("", 17)]
    failing = helper.make_model(sevens, opset_imports=opsets, ir_version=9).SerializeToString()
    model = TabularModel(worlds.recipe((member,)), {member.file: failing})
    with pytest.raises(AnswerFailed, match=r"graph.onnx: \w+ for 4 rows"):
        model.answer(worlds.table(worlds.rows(4)))
    with pytest.raises(AnswerFailed, match=r"graph.onnx: \w+ for 1 rows"):
        model.predict_row(worlds.rows(1)[0])
