"""Learners as data: what is given is kept, what is left out is to be chosen, and nonsense is refused by name."""

from __future__ import annotations

import msgspec
import pytest

from tidemill import models
from tidemill.core.errors import SettingRefused
from tidemill.core.search_space import grid, search


def test_a_given_setting_is_kept_and_not_open() -> None:
    spec = models.cooccurrence(half_life="90 days")
    assert "half_life" not in spec.open()
    assert spec.settled(damping=0.5).settings()["half_life"] == "90 days"
    assert spec.settled(damping=0.5).settings()["damping"] == 0.5
    assert spec.settled().open() == {}


def test_the_first_value_of_each_grid_stands_before_any_choice() -> None:
    settled = models.cooccurrence().settled()
    assert {name: getattr(settled, name) for name in models.Cooccurrence.GRID} == {
        name: values[0] for name, values in models.Cooccurrence.GRID.items()
    }


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: models.cooccurrence(halflife="1 day"), "did you mean `half_life`"),
        (lambda: models.cooccurrence(half_life="soon"), "not a valid duration"),
        (lambda: models.cooccurrence(half_life=7), "not a valid duration"),
        (lambda: models.cooccurrence(half_life="0 days"), "longer than 0"),
        (lambda: models.spectral(factors=True), "an integer"),
        (lambda: models.item_knn(neighbours=0), "at least 1"),
        (lambda: models.item_knn(shrinkage=-1.0), "at least 0"),
        (lambda: models.popularity(days=0), "at least 1"),
        (lambda: models.cooccurrence(popularity_share=1.5), "from 0 to 1"),
        (lambda: models.cooccurrence(popularity_share=search(0.1, 1.5)), "from 0 to 1"),
        (lambda: models.als(factors=grid(8, "many")), "an integer"),
        (lambda: models.transitions(half_life=search(1, 8)), "not a valid duration"),
        (lambda: models.ease(l2=0), "above 0"),
        (lambda: models.blend(members={}), "`members` is empty"),
        (lambda: models.blend(members={"most": models.popularity()}), "cannot be part of a blend"),
        (lambda: models.blend(members={"all": models.blend()}), "cannot be part of a blend"),
        (lambda: models.blend(members={"a-b": models.item_knn()}), "is not a valid component name"),
        (lambda: models.blend(members={"a": models.item_knn(shrinkage=search(1.0, 9.0))}), "inside a blend"),
    ],
)
def test_nonsense_is_refused(make, says) -> None:
    with pytest.raises(SettingRefused, match=says):
        make()


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        (models.popularity(), {"popularity"}),
        (models.cooccurrence(), {"popularity", "cooccurrence", "spectral"}),
        (models.cooccurrence(factors=0), {"popularity", "cooccurrence"}),
        (models.item_knn(factors=8), {"popularity", "item_knn", "spectral"}),
        (models.spectral(), {"popularity", "spectral"}),
    ],
)
def test_a_learner_says_what_its_bundle_will_hold(spec, parts) -> None:
    assert spec.parts() == parts


@pytest.mark.parametrize("spec", [models.popularity(7), models.cooccurrence(gap="3 days"), models.spectral()])
def test_a_learner_goes_through_json(spec) -> None:
    assert msgspec.json.decode(msgspec.json.encode(spec), type=type(spec)) == spec
    assert models.learner_of(spec.name, msgspec.json.decode(msgspec.json.encode(spec))) == spec
