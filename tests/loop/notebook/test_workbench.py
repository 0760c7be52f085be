"""A project opened for a notebook: pinned data, runs in the ledger, the model that is live, and nobody's way."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from conftest_loop import Project, daily
from hostile_titles import hostile_drawing

import tidemill as tm
from tidemill import models
from tidemill.core.clock import to_micros
from tidemill.core.errors import NotPublished, ProjectMissing, TooLittleData, UnknownName
from tidemill.loop import Workbench, open_project
from tidemill.loop.notebook.activity_plot import Activity
from tidemill.loop.notebook.item_names import ItemNames, plain_title
from tidemill.loop.training.train import train
from tidemill.models import Interactions

UNTIL = date(2024, 2, 9)


@pytest.fixture
def lived(project: Project) -> Project:
    """Forty days, published."""
    project.write("reviews.csv", daily(40))
    project.run(UNTIL, backfill=True)
    return project


@pytest.fixture
def bench(lived: Project) -> Workbench:
    return open_project(lived.path)


def test_the_tables_are_those_of_the_publication(lived: Project, bench: Workbench) -> None:
    ratings = bench.tables["ratings"]
    assert ratings.columns == ["user_id", "item_id", "rating", "reviewed_at"]
    assert set(bench.tables) == {"items", "ratings", "reviews"} and len(bench.tables) == 3
    assert len(bench.interactions("for_you")) == len(ratings)
    lived.write("reviews-more.csv", daily(3, first=date(2024, 2, 10)))
    lived.run(date(2024, 2, 12))
    assert bench.tables["ratings"].equals(ratings)
    assert open_project(lived.path).publication > bench.publication
    with pytest.raises(NotPublished, match="ratings"):
        bench.tables["rating"]
    assert "rating" not in bench.tables


def test_the_project_is_found_from_below(lived: Project) -> None:
    assert open_project(lived.path / "notebooks").publication == 2


def test_features_are_one_row_for_each_entity(bench: Workbench) -> None:
    assert bench.features["taste"]["n_ratings"].sum() == len(bench.tables["ratings"])
    assert bench.features["facts"]["item_id"].is_unique().all()
    with pytest.raises(UnknownName, match="taste"):
        bench.features["tast"]


def test_where_nothing_has_run_nothing_is_made(project: Project) -> None:
    before = sorted(project.path.rglob("*"))
    with pytest.raises(ProjectMissing, match="tidemill run"):
        open_project(project.path)
    assert [path for path in sorted(project.path.rglob("*")) if "__pycache__" not in str(path)] == before


def test_an_experiment_is_a_run_and_takes_no_lease(lived: Project, bench: Workbench) -> None:
    stores, _ = lived.open()
    split = bench.split("for_you")
    with stores.leases.take("run") as lease:
        one = bench.experiment("for_you", tm.popularity(days=30), split)
        two = bench.experiment("for_you", tm.item_knn(shrinkage=1.0, factors=4, spectral_share=0.3), split)
        stores.ledger.append("note", lease=lease)  # nobody has taken it since
    assert [one.name, two.name] == ["for_you#1", "for_you#2"]
    kept = stores.runs.read("for_you#2")
    assert (kept.kind, kept.state, kept.learner) == ("notebook", "finished", "item_knn")
    assert kept.parameters["shrinkage"] == 1.0 and kept.parameters["recency"] is not None
    assert kept.data == {"ratings": 2} and kept.as_of == to_micros(bench.as_of)
    assert "hit_rate@10[all]" in kept.metrics and "figures" in kept.artefacts
    assert stores.ledger.verify() == []
    compared = bench.compare(one, "for_you#2")
    row = compared.differences.row(0, named=True)
    assert (row["run"], row["against"]) == ("for_you#2", "for_you#1")
    difference = two.measurement.per_user["hit_rate@10"] - one.measurement.per_user["hit_rate@10"]
    first = compared.differences.filter(pl.col("figure") == "hit_rate@10[all]")
    assert first["difference"].item() == pytest.approx(difference.mean(), abs=1e-6)
    assert "for_you#2 item_knn" in compared._repr_html_()
    assert bench.runs("for_you")["run"].to_list() == ["for_you#2", "for_you#1"]


def test_an_experiment_that_fails_says_so(bench: Workbench, lived: Project) -> None:
    split = bench.split("for_you")
    with pytest.raises(TooLittleData):
        bench.experiment("for_you", tm.popularity(days=30), replace(split, test=split.train))  # nothing new to find
    stores, _ = lived.open()
    assert [(run.state, bool(run.says)) for run in stores.runs.all("for_you")] == [("failed", True)]


def test_a_run_of_ones_own(bench: Workbench, lived: Project) -> None:
    with bench.run("for_you", learner="mine", epochs=3) as run:
        for epoch in range(3):
            run.log(epoch, loss=1 / (1 + epoch))
        run.finish({"hit_rate@10": 0.5})
    stores, _ = lived.open()
    kept = stores.runs.read(run.name)
    assert kept.parameters == {"epochs": 3} and kept.metrics["hit_rate@10"].value == 0.5
    assert [point.value for point in stores.runs.points(run.name)] == [1.0, 0.5, 1 / 3]


def test_the_champion_answers_as_its_release_says(lived: Project, bench: Workbench) -> None:
    assert bench.champion("for_you") is None
    stores, graph = lived.open()
    made = train(stores, graph, "for_you").release
    with stores.leases.take("run") as lease:
        stores.releases.promote(made.name, lease=lease)
    champion = bench.champion("for_you")
    assert champion is not None and champion.release == made
    user = bench.interactions("for_you").users[0]
    items, times = bench.history("for_you", user)
    assert items and times == sorted(times)
    steps = champion.slate.steps(items, times, 5, as_of=to_micros(bench.as_of))
    assert steps.answer.items and not set(steps.answer.items) & set(items)
    assert steps.answer == champion.slate.answer(items, times, 5, as_of=to_micros(bench.as_of))
    assert bench.history("for_you", "nobody") == ([], [])
    assert "for_you@1" in repr(bench)


def test_learning_from_all_days_or_from_those_before_a_split(bench: Workbench) -> None:
    split = bench.split("for_you")
    whole = bench.learn("for_you", tm.spectral(factors=4))
    before = bench.learn("for_you", tm.spectral(factors=4), split)
    assert (whole.as_of, before.as_of) == (to_micros(bench.as_of), split.at)
    assert list(before.items) == list(split.train.items)


def test_a_slate_over_any_recommender(bench: Workbench) -> None:
    split = bench.split("for_you")
    for learner in (tm.popularity(days=30), tm.spectral(factors=4)):
        made = models.learn(learner, split.train, split.at)
        steps = bench.slate("for_you", made).steps([], [], 4, as_of=to_micros(bench.as_of))
        assert len(steps.answer) == 4


# ---- names and drawings

RUBBISH = '<span class="a-size-medium a-color-secondary"'


def test_titles_are_plain_texts() -> None:
    assert plain_title(RUBBISH) == ""
    assert plain_title("Time &amp; Tide <b>weekly</b>\x1b[31m") == "Time & Tide weekly [31m"
    assert plain_title("I <3 cats, 5 > 4") == "I <3 cats, 5 > 4"
    assert len(plain_title("long " * 50)) <= 70
    items = pl.DataFrame(
        {"item_id": ["a", "b", "c"], "title": ["Vibe", RUBBISH, None], "category": ["Music", "", None]}
    )
    names = ItemNames.from_items(items, "item_id")
    assert [names(item) for item in "abcd"] == ["Vibe", "b", "c", "d"]
    assert [names.full(item) for item in "ab"] == ["Vibe (Music)", "b"]
    assert ItemNames.from_items(pl.DataFrame({"item_id": ["a"], "title": [3]}), "item_id")("a") == "a"


class Elements(HTMLParser):
    """Which elements a text of HTML opens."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_titles_are_never_markup() -> None:
    page = Elements(hostile_drawing().html())
    assert page.opened.count("script") == 2 and "img" not in page.opened
    assert page.opened.count("circle") == 12 and page.opened.count("svg") == 1
    assert not {name for name in page.attributes if name.startswith("on")}


def test_nothing_is_loaded_from_anywhere() -> None:
    text = hostile_drawing().html()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    assert not {"link", "iframe", "object"} & set(Elements(text).opened)


def test_the_drawing_has_its_table(bench: Workbench) -> None:
    split = bench.split("for_you")
    made = models.learn(tm.spectral(factors=4), split.train, split.at)
    text = bench.map("for_you", made, neighbours=3)._repr_html_()
    page = Elements(text)
    assert page.opened.count("circle") == page.opened.count("tr") - 1 == 15
    assert "</i>other<" not in text and "c0" in text


def test_activity_counts_every_span() -> None:
    day = 86_400_000_000
    told = Interactions(["a"], ["x"], np.zeros(3, np.int32), np.zeros(3, np.int32), np.array([0, 0, 5]) * day)
    found = Activity.from_interactions(told)
    assert found.span == "day" and found.frame["events"].to_list() == [2, 0, 0, 0, 0, 1]
    far = Interactions(["a"], ["x"], np.zeros(2, np.int32), np.zeros(2, np.int32), np.array([0, 400]) * day)
    assert (
        Activity.from_interactions(far).span == "month" and Activity.from_interactions(far).frame["events"].sum() == 2
    )
    once = Interactions(["a"], ["x"], np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([0]))
    assert Elements(Activity.from_interactions(once)._repr_html_()).opened.count("rect") == 1
