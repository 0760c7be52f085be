"""A model that somebody else trained: used as it is pinned, and refused where its card is silent or pins another."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from small_graphs import folder_of, linear, words

import tidemill as tm
from tidemill.core.errors import OriginMissing

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_it_is_a_function_of_arrays_by_place_or_by_name(tmp_path: Path) -> None:
    score = tm.pretrained(folder_of(tmp_path / "score", linear()))
    assert score([[1, 1], [2, 0]]).tolist() == [[1.5], [4.5]]
    assert score(vector=np.ones((1, 2))).tolist() == [[1.5]]
    assert score.reads == ("vector",)
    with pytest.raises(TypeError, match="expects the inputs vector, but got image"):
        score(image=[[1, 1]])


def test_texts_go_in_as_they_are(tmp_path: Path) -> None:
    embed = tm.pretrained(folder_of(tmp_path, words()))
    assert embed(["good", "bad", "odd"]).tolist() == [[1, 0], [0, 1], [0, 0]]


def test_no_rows_give_no_rows_of_the_same_form_and_a_missing_text_is_empty(tmp_path: Path) -> None:
    score = tm.pretrained(folder_of(tmp_path / "score", linear()))
    embed = tm.pretrained(folder_of(tmp_path / "words", words(("", "good"))))
    nothing = score(np.zeros((0, 2)))
    assert (nothing.shape, nothing.dtype) == ((0, 1), np.float32)
    assert embed(np.zeros(0, object)).shape == (0, 2)
    assert embed(np.array([None, "good"], object)).tolist() == [[1, 0], [0, 1]]


def test_its_value_is_its_folder_as_written_and_the_hash_that_its_card_pins(tmp_path: Path) -> None:
    for place in ("here", "there"):
        folder_of(tmp_path / place / "models" / "score", linear())
    here, there = (tm.pretrained("models/score").within(tmp_path / place) for place in ("here", "there"))
    assert repr(here) == repr(there) and here.origin.sha256 in repr(here)
    folder_of(tmp_path / "there" / "models" / "score", linear(bias=2.0))
    assert repr(here) != repr(there)


def test_a_relative_folder_is_looked_for_where_it_is_told(tmp_path: Path) -> None:
    folder_of(tmp_path / "models" / "score", linear())
    score = tm.pretrained("models/score")  # nothing is read here
    with pytest.raises(OriginMissing, match=r"no pre-trained model in models/score"):
        score([[1, 1]])
    assert pickle.loads(pickle.dumps(score.within(tmp_path)))([[1, 1]]).tolist() == [[1.5]]


@pytest.mark.parametrize("silent", ["source", "licence", "revision", "sha256", "card"])
def test_a_card_that_is_silent_is_refused(tmp_path: Path, silent: str) -> None:
    folder_of(tmp_path, linear(), **{silent: ""})
    with pytest.raises(OriginMissing, match=f"lacks {silent}"):
        tm.pretrained(tmp_path)([[1, 1]])


def test_another_file_than_the_card_pins_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, linear())
    (tmp_path / "model.onnx").write_bytes(linear(bias=9.0))
    with pytest.raises(OriginMissing, match=r"pins the sha256 \w{12}…"):
        tm.pretrained(tmp_path)([[1, 1]])


def test_no_card_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(linear())
    with pytest.raises(OriginMissing, match="cannot be read"):
        _ = tm.pretrained(tmp_path).raw
