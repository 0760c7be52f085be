"""A training reads a sample, counts everything, and says so; on Spark its lists are those of one process."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import MemoryTooSmall, SettingRefused
from tidemill.core.processes import memory
from tidemill.loop.examples.interactions import LearningEvents, first_letters
from tidemill.loop.training.train import TrainingResult, train
from tidemill.models import open_recommender

DAYS = 20
LAST = FIRST + timedelta(days=DAYS - 1)
LEARN = "tm.cooccurrence(factors=0, damping=0.25, backward=1.0, half_life='365 days', recency='30 days', {})".format(
    "spectral_share=0.0, popularity_share=0.2, popularity_half_life='30 days'"
)


def declare(project: Project, learn: str = LEARN, **more: Any) -> None:
    file = project.path / "mill.py"
    text = file.read_text()
    start, end = text.index("    learn=tm."), text.index("    slate=tm.slate")
    given = "".join(f"    {name}={value!r},\n" for name, value in more.items())
    file.write_text(f"{text[:start]}    learn={learn},\n{given}{text[end:]}")


def trained(project: Project) -> tuple[TrainingResult, Path]:
    stores, graph = project.open()
    result = train(stores, graph, "for_you", again=True)
    return result, stores.releases.bundle(result.release.bundle)


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("reviews.csv", daily(DAYS, users=40, items=15))
    project.run(LAST, backfill=True)
    return project


def lists_of(bundle: Path) -> dict[str, Any]:
    found = open_recommender(bundle)
    lists = found.parts["cooccurrence"].lists
    assert lists is not None
    arrays = lists.starts, lists.items, lists.weights, found.popularity
    return {"items": list(found.items), "arrays": [array.tobytes() for array in arrays]}


def test_lists_of_a_sample_are_counted_over_everything(shop: Project) -> None:
    declare(shop)
    whole, bundle = trained(shop)
    expected = lists_of(bundle)
    declare(shop, sample=0.5)
    result, bundle = trained(shop)
    assert lists_of(bundle) == expected
    assert result.card.sample is not None and whole.card.sample is None
    assert 0 < result.card.sample.n_rows < result.card.n_rows
    assert (result.card.n_rows, result.card.n_users) == (whole.card.n_rows, whole.card.n_users)
    assert "settings" in result.card.sample.used_for


def test_vectors_are_those_of_the_sample(shop: Project) -> None:
    declare(shop, "tm.spectral(factors=4)", sample=0.5)
    result, bundle = trained(shop)
    assert result.card.sample is not None
    assert result.card.sample.n_rows == result.card.n_rows
    assert result.card.sample.used_for == "everything"
    assert open_recommender(bundle).parts["spectral"].vectors is not None


def test_popularity_is_counted_over_everything(shop: Project) -> None:
    popularity = []
    for share in (1.0, 0.3):
        declare(shop, "tm.popularity(days=30)", sample=share)
        file = shop.path / "mill.py"
        file.write_text(file.read_text().replace("tm.nearest(200), ", ""))
        popularity.append(open_recommender(trained(shop)[1]).popularity.tolist())
    assert popularity[0] == popularity[1]


def test_a_training_beyond_the_memory_is_refused_with_a_share_that_fits(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(shop)
    monkeypatch.setattr(memory, "machine_memory_bytes", lambda: 10_000)
    with pytest.raises(MemoryTooSmall, match=r"to train cooccurrence on \d+ rows of ratings") as refused:
        trained(shop)
    assert "sample=" in str(refused.value.tip)


@pytest.mark.parametrize("share", [0, -1, 1.5, "half", None])
def test_a_share_that_is_none_is_refused(project: Project, share: Any) -> None:
    declare(project, sample=share)
    with pytest.raises(SettingRefused, match="sample="):
        project.open()


def test_letters_divide_surrogates_by_their_share(shop: Project) -> None:
    stores, graph = shop.open()
    events = LearningEvents.from_snapshot(graph, graph.recommender("for_you"), stores.lake.view())
    users = sorted(events.read()[0].users)
    assert len(users) == 40
    below = [sum(user < first_letters(share) for user in users) for share in (0.0001, 0.5, 1)]
    assert below[0] == 0 and 8 <= below[1] <= 32 and below[2] == 40


@pytest.mark.spark
def test_on_spark_the_lists_are_those_of_one_process(shop: Project) -> None:
    if shutil.which("java") is None:
        pytest.skip("no Java: Spark was not tried")
    pytest.importorskip("pyspark", reason="no PySpark: Spark was not tried")
    declare(shop)
    expected = trained(shop)
    settings = shop.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace("[laptop]\n", '[laptop]\nengine = "spark"\n', 1))
    found = trained(shop)
    assert lists_of(found[1]) == lists_of(expected[1])
    assert found[0].card.evaluation == expected[0].card.evaluation
    assert found[0].release.bundle == expected[0].release.bundle
