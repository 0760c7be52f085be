"""The registry: one name for a learner everywhere, an outsider's as tidemill's own, a sentence where one is missing."""

from __future__ import annotations

import configparser
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from known_worlds import NOW, checkerboard
from outside_package import ROOT, put_package

import tidemill as tm
from tidemill import models
from tidemill.core.errors import BackendMissing, SettingRefused
from tidemill.models import LearnerSpec, learn, learner_class, learner_names, learner_of, open_recommender
from tidemill.models.learners.auto import learner_packages, learners_to_try
from tidemill.models.learners.settings import setting_kinds
from tidemill.models.recommender.recommender_file import write_recommender

OWN = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["tidemill.learners"]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An outsider's package on the path."""
    monkeypatch.syspath_prepend(str(put_package(tmp_path / "outside")))
    monkeypatch.delitem(sys.modules, "jaccard", raising=False)
    yield tmp_path / "outside"
    sys.modules.pop("jaccard", None)


# ---- one learner, one name


def test_entry_points_files_functions_and_docs_name_the_same_learners() -> None:
    assert learner_names() == sorted(OWN)
    page = (ROOT / "docs" / "learners.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `tm\.(\w+)\(", page, re.MULTILINE)) == sorted(OWN)
    for name, value in OWN.items():
        kind = learner_class(name)
        assert value == f"tidemill.models.learners.{name}:{kind.__name__}"
        assert kind.__module__ == f"tidemill.models.learners.{name}"
        made = getattr(tm, name)
        assert name in tm.__all__
        assert made.__module__ == kind.__module__
        assert inspect.get_annotations(made)["return"] == kind.__name__
        assert made() == kind.from_settings({})
        assert getattr(models, kind.__name__) is kind


def test_every_learner_in_the_folder_is_registered() -> None:
    folder = ROOT / "src" / "tidemill" / "models" / "learners"
    learner = re.compile(r"^class \w+\(\w*Learner\w*, .*tag=", re.MULTILINE)
    tagged = {file.stem for file in folder.glob("*.py") if learner.search(file.read_text("utf-8"))}
    assert tagged == set(OWN)


def test_what_answers_is_listed_in_the_import_contract() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    listed = contracts["importlinter:contract:learners"]["source_modules"].split()
    parts = {path.stem for path in (ROOT / "src" / "tidemill" / "models").iterdir()} - {"__init__", "__pycache__"}
    assert {name.removeprefix("tidemill.models.") for name in listed if ".models." in name} == parts - {"learners"}


@pytest.mark.parametrize("name", sorted(OWN))
def test_each_setting_says_what_it_may_be(name: str) -> None:
    kinds = setting_kinds(learner_class(name))
    assert [setting for setting, kind in kinds.items() if not kind.words] == (
        {"blend": ["members"], "auto": ["only"]}.get(name, [])
    )


# ---- an outsider's


def test_an_outsiders_learner_is_found_by_name(outside: Path) -> None:
    assert "jaccard" in learner_names()
    spec = learner_of("jaccard", {"shrinkage": 2.0})
    assert spec.settings() == {
        "popularity_share": None, "popularity_half_life": None, "recency": None, "shrinkage": 2.0, "neighbours": 50,
    }  # fmt: skip
    assert spec.parts() == {"popularity", "jaccard"}
    assert list(spec.open()) == ["popularity_share", "popularity_half_life"]
    assert list(learners_to_try(()))[:4] == ["popularity", "item_knn", "jaccard", "cooccurrence"]
    assert learner_packages(spec) == ["jaccard-for-tidemill==1.0"]
    assert learner_packages(tm.blend(members={"near": spec, "knn": tm.item_knn()})) == ["jaccard-for-tidemill==1.0"]
    assert learner_packages(tm.auto()) == ["jaccard-for-tidemill==1.0"]
    assert learner_packages(tm.auto(only=["ease"])) == []
    with pytest.raises(SettingRefused, match="at least 0"):
        learner_class("jaccard").from_settings({"shrinkage": tm.search(-1.0, 2.0)})
    with pytest.raises(SettingRefused, match="did you mean `shrinkage`"):
        learner_class("jaccard").from_settings({"shrinkege": 2.0})


def test_its_bundle_opens_without_its_package(outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = learn(learner_of("jaccard", {"shrinkage": 0.0}), checkerboard(), NOW)
    write_recommender(made, tmp_path / "bundle")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(outside)])
    opened = open_recommender(tmp_path / "bundle")
    (lists,) = [part.lists for part in opened.parts.values()]
    assert lists is not None
    together = {opened.items[code] for code in opened.nearest([opened.codes["i02"]], [NOW], 20).item}
    assert together | {"i02"} == {f"i{item:02}" for item in range(0, 12, 2)}  # those of its parity


# ---- missing, broken, twice


def test_a_learner_that_is_not_installed_is_named() -> None:
    with pytest.raises(BackendMissing, match="no learner `item_knm` is installed: did you mean `item_knn`"):
        learner_of("item_knm", {})
    with pytest.raises(BackendMissing, match=r"no learner `deep_walk`") as missing:
        learner_class("deep_walk")
    assert "tidemill.learners" in missing.value.tip


def test_a_package_that_cannot_be_imported_is_named(outside: Path) -> None:
    (outside / "jaccard.py").write_text("import no_such_library\n")
    with pytest.raises(BackendMissing, match=r"`jaccard` of jaccard-for-tidemill cannot be loaded.*no_such_library"):
        learner_class("jaccard")
    with pytest.raises(BackendMissing):
        learners_to_try(())
    assert list(learners_to_try(("popularity", "ease"))) == ["popularity", "ease"]


def test_an_entry_point_that_names_another_thing_is_refused(outside: Path) -> None:
    (outside / "jaccard.py").write_text("from tidemill.models import Ease as Jaccard\n")
    with pytest.raises(SettingRefused, match="not a learner of that name"):
        learner_class("jaccard")


def test_two_packages_with_one_name_are_refused(outside: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(put_package(tmp_path / "other", name="other-jaccard")))
    with pytest.raises(SettingRefused, match="jaccard-for-tidemill and other-jaccard both register"):
        learner_class("jaccard")


def test_a_class_of_a_project_needs_no_entry_point_but_a_name_of_its_own() -> None:
    class Local(LearnerSpec, frozen=True, kw_only=True, tag="local_to_this_test"):
        """Nothing but its name."""

    assert learner_of("local_to_this_test", {"recency": "3 days"}) == Local(recency="3 days")
    assert learner_packages(Local()) == []

    class Ease(LearnerSpec, frozen=True, kw_only=True, tag="ease"):
        """Somebody else's."""

    with pytest.raises(SettingRefused, match=r"registered as tidemill\.models\.learners\.ease\.Ease"):
        learner_packages(Ease())
    assert msgspec.to_builtins(learner_of("ease", {})) == msgspec.to_builtins(tm.ease())
