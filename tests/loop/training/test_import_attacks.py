"""Files that `tidemill import` must not take: each is refused in a sentence, quickly, and nothing is kept of it."""

from __future__ import annotations

import json
import pickle
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest_loop import Project
from small_graphs import linear, named

from tidemill.core.errors import TidemillError
from tidemill.loop.training.import_model import import_model
from tidemill.models.formats.lightgbm_text_check import lightgbm_refusal_reason
from tidemill.models.tabular import open_tabular

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SAID: dict[str, Any] = {
    "helps": "people who wait", "could_harm": "nobody that we know of", "source": "a notebook", "licence": "internal",
    "revision": "2",
}  # fmt: skip


class Runs:
    """What a pickle of it does is told by a file that it leaves."""

    def __init__(self, left: Path) -> None:
        self.left = left

    def __reduce__(self) -> Any:
        return Path.touch, (self.left,)


def card(place: Path, **said: Any) -> Path:
    (place / "said.json").write_text(json.dumps(SAID | said))
    return place / "said.json"


def refused(project: Project, source: Path, place: Path, *, name: str = "wait", **more: Any) -> str:
    """The words with which an import is refused, within seconds, leaving nothing."""
    stores, _ = project.open()
    begun = time.monotonic()
    with pytest.raises(TidemillError) as found:
        import_model(stores, name, str(source), **({"card": card(place)} | more))
    assert time.monotonic() - begun < 20
    assert stores.releases.models() == [] and list(stores.blobs.keys("bundle:")) == []
    assert not list(stores.state.glob("learning-*"))
    return str(found.value)


@pytest.mark.parametrize("name", ["m.pkl", "m.pt", "m.npy", "m.json", "m.safetensors", "m.txt", "m.onnx", "m.skops"])
def test_a_pickle_by_any_name_is_not_read(project: Project, tmp_path: Path, name: str) -> None:
    source, left = tmp_path / name, tmp_path / "ran"
    source.write_bytes(pickle.dumps(Runs(left)))
    refused(project, source, tmp_path)
    refused(project, source, tmp_path, trust_pickle=True)
    assert not left.exists()


@pytest.mark.parametrize("where", ["../../../../../../etc/passwd", "/etc/passwd", "weights.bin"])
def test_weights_outside_the_graph_are_not_looked_for(project: Project, tmp_path: Path, where: str) -> None:
    import onnx

    model = onnx.load_from_string(named())
    told = model.graph.initializer.add()
    told.name, told.data_type, told.data_location = "w", onnx.TensorProto.DOUBLE, onnx.TensorProto.EXTERNAL
    told.dims.extend([1])
    place = told.external_data.add()
    place.key, place.value = "location", where
    (tmp_path / "weights.bin").write_bytes(b"\0" * 8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "passwd" not in refused(project, tmp_path / "m.onnx", tmp_path)


@pytest.mark.parametrize(
    "about",
    [
        "flavors:\n  python_function: !!python/object/apply:os.system ['touch ran']\n",
        "flavors: !!python/object/new:os.system ['touch ran']\n",
        "flavors:\n  sklearn:\n    pickled_model: ../outside.pkl\n",
        "flavors:\n  onnx:\n    data: /etc/passwd\n",
        "flavors:\n  lightgbm:\n    data: model.lgb\n    code: code\n",
        "flavors: &a [*a]\n",
        "{" * 100_000,
        "\0",
        "- a\n- b\n",
        "flavors:\n  lightgbm: 5\n",
        "flavors:\n  lightgbm:\n    data: model.lgb\0../x\n",
        "flavors:\n  onnx:\n    data: a.onnx\n  onnx:\n    data: b.onnx\n",
        "flavors:\n  onnx:\n    data: a.onnx\n    data: b.onnx\n",
        "flavors:\n  onnx:\n    data: &a model.onnx\n",
        "flavors:\n  onnx:\n    data: !!python/name:os.system\n",
    ],
)
def test_an_mlflow_folder_that_lies_runs_nothing(project: Project, tmp_path: Path, about: str) -> None:
    folder = tmp_path / "kept"
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text(about)
    (folder / "code" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    refused(project, folder, tmp_path)
    refused(project, folder, tmp_path, trust_pickle=True)
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()


def test_texts_that_are_no_texts_are_refused_by_code(project: Project, tmp_path: Path) -> None:
    (tmp_path / "trees.txt").write_bytes(b"tree\nversion=v4\n\xff\xfe")
    assert "TM607" in refused(project, tmp_path / "trees.txt", tmp_path)
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "MLmodel").write_bytes(b"flavors:\n  onnx:\n    data: \xff\n")
    assert "TM607" in refused(project, folder, tmp_path)


def test_a_link_out_of_the_folder_is_not_followed(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    (folder / "model.pkl").symlink_to(tmp_path / "outside.pkl")
    (folder / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")
    refused(project, folder, tmp_path)
    refused(project, folder, tmp_path, trust_pickle=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "said", [b"[" * 200_000, b"{}", b"[]", b"\x80\x04N.", b'{"helps": 5}', b'{"helps":"' + b"x" * 60_000_000]
)
def test_a_card_that_is_none(project: Project, tmp_path: Path, said: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(named())
    (tmp_path / "other.json").write_bytes(said)
    assert len(refused(project, tmp_path / "m.onnx", tmp_path, card=tmp_path / "other.json")) < 1_000


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "a b", "-x", "A" * 300, "a\0b", "<script>", "wait@3"])
def test_a_name_that_is_a_path_or_a_page(project: Project, tmp_path: Path, name: str) -> None:
    (tmp_path / "m.onnx").write_bytes(named())
    refused(project, tmp_path / "m.onnx", tmp_path, name=name)
    assert not (tmp_path / "evil").exists() and not (project.path.parent / "evil").exists()


@pytest.mark.parametrize(
    "content", [b"", b"PAR1" + b"\xff" * 500 + b"PAR1", b"\x80\x04N.", b"a,b\n1\n", b"\0" * 10_000]
)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_rows_that_are_none(project: Project, tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / "m.onnx").write_bytes(linear())
    (tmp_path / f"rows.{suffix}").write_bytes(content)
    refused(project, tmp_path / "m.onnx", tmp_path, golden=tmp_path / f"rows.{suffix}")


def test_infinite_rows_and_targets_are_no_figures(project: Project, tmp_path: Path) -> None:
    """What is no number is measured by nobody, and a card with it could not be read again."""
    (tmp_path / "m.onnx").write_bytes(named())
    rows = pa.table({"age": [1.0, np.inf] * 30, "income": [np.nan, 2.0] * 30, "y": [np.inf, np.nan] * 30})
    pq.write_table(rows, tmp_path / "rows.parquet")
    stores, _ = project.open()
    source, golden = str(tmp_path / "m.onnx"), tmp_path / "rows.parquet"
    made = import_model(stores, "wait", source, card=card(tmp_path, target="y"), golden=golden)
    assert made.release.card.assessment is None, made.release.card.assessment
    assert any("not evaluated" in note for note in made.notes)


HOSTILE = ("<script>alert(1)</script>", "{{7*7}}", "=1+1", "'; DROP TABLE x; --", "\u202eevil", "../x")


def test_hostile_names_of_inputs_stay_texts(project: Project, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(named(HOSTILE))
    stores, _ = project.open()
    made = import_model(stores, "wait", str(tmp_path / "m.onnx"), card=card(tmp_path, helps=HOSTILE[0]))
    assert made.release.signature is not None
    assert tuple(field.name for field in made.release.signature.request) == HOSTILE
    model = open_tabular(stores.releases.bundle(made.release.bundle))
    assert model.predict_row([1.0] * len(HOSTILE)) == [6.0]


def test_a_text_of_trees_is_taken_whole_or_refused(project: Project, tmp_path: Path) -> None:
    """LightGBM reads its text in C and trusts it; whatever a line says, no process dies and no list is overrun."""
    lightgbm = pytest.importorskip("lightgbm")
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(300, 3))
    given = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 6}
    booster = lightgbm.train(given, lightgbm.Dataset(rows, (rows[:, 0] > 0) * 1, feature_name=["a", "b", "c"]), 4)
    text = booster.model_to_string()
    golden = tmp_path / "rows.parquet"
    pq.write_table(pa.table({name: rows[:30, place] for place, name in enumerate("abc")}), golden)
    said, taken = card(tmp_path, task="binary", target="y"), 0
    stores, _ = project.open()
    for seed in range(60):
        source = tmp_path / "trees.txt"
        source.write_text(mutated(text, random.Random(seed)))
        try:
            made = import_model(stores, f"m{seed}", str(source), card=said, golden=golden)
        except TidemillError:
            continue
        taken += 1
        answers = open_tabular(stores.releases.bundle(made.release.bundle)).answer(pq.read_table(golden))
        assert np.isfinite(answers).all()
    assert 0 < taken < 40


def mutated(text: str, draw: random.Random) -> str:
    """The text with one line that lies, is cut, or is gone."""
    lines = text.split("\n")
    place = draw.choice([number for number, line in enumerate(lines) if "=" in line and not line.startswith("[")])
    key, _, value = lines[place].partition("=")
    parts = value.split(" ")
    one = draw.randrange(len(parts))
    match draw.randrange(6):
        case 0:
            parts[one] = str(draw.choice([-1, 10**6, 2**31, 10**20, "nan", "x", "", "1e308"]))
        case 1:
            parts = parts[:one]
        case 2:
            parts = parts * draw.choice([2, 50])
        case 3:
            parts[one] = str(draw.randrange(-20, 20))
        case 4:
            return "\n".join(lines[:place])
        case _:
            return "\n".join([*lines[:place], *lines[place + 1 :]])
    lines[place] = f"{key}={' '.join(parts)}"
    return "\n".join(lines)


#: Lines that end LightGBM's process, or send it beyond the end of a list, where it trusts them.
DEADLY = [
    ("objective=binary sigmoid:1", "objective="),
    ("shrinkage=", "shrinkage=x"),
    ("leaf_count=", "leaf_count=1 "),
    ("internal_value=", "internal_value=nothing "),
    ("leaf_weight=", "leaf_weight=1_000 "),
    ("split_gain=", "split_gain=\N{ARABIC-INDIC DIGIT ONE} "),
    ("threshold=", "threshold=\t"),
]


@pytest.mark.parametrize(("line", "lie"), DEADLY)
def test_a_line_that_ends_the_process_is_refused(line: str, lie: str) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(300, 3))
    given = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 6}
    text = lightgbm.train(given, lightgbm.Dataset(rows, (rows[:, 0] > 0) * 1), 2).model_to_string()
    assert lightgbm_refusal_reason(text.encode()) is None
    assert line in text
    assert lightgbm_refusal_reason(text.replace(line, lie).encode()) is not None
