"""`tidemill evaluate` as a person types it: a model, a release, somebody's lists, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed_command import asked, tidemill

from tidemill.core import settings
from tidemill.core.clock import SystemClock
from tidemill.loop import Stores, open_stores

SHOP = "customers=300&items=80&days=90"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project over a simulated shop with its days published."""
    base = tmp_path_factory.mktemp("evaluate")
    assert tidemill("init", "corner", at=base)[0] == 0
    project = base / "corner"
    (project / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{base / "keys"}"\nsearch = "exact"\n[laptop.sources]\n'
        f'reviews = "shop:reviews?{SHOP}"\nitems = "shop:items?{SHOP}"\n'
    )
    asked("run", "--backfill", "--until", "2026-03-25", at=project)
    return project


@pytest.fixture(scope="module")
def stores(shop: Path) -> Iterator[Stores]:
    yield open_stores(shop, settings.load(shop), SystemClock())


@pytest.mark.slow
def test_a_model_is_measured_before_and_after_its_release(shop: Path, stores: Stores) -> None:
    first = asked("evaluate", "for_you", at=shop)
    assert first["what"] == "the settings of mill.py"
    assert first["run"] == "for_you#1"
    evaluation = first["evaluation"]
    assert evaluation["conventions"] == {
        "split": "time", "history": "before", "target": "all", "seen": "dropped", "ties": "row number",
    }  # fmt: skip
    assert [part["users"] for part in evaluation["slices"]][:2] == ["all", "warm"]
    assert first["leave_one_out"] is None

    card = asked("train", "for_you", at=shop)["card"]
    release = asked("evaluate", "for_you", at=shop)
    assert release["what"] == "for_you@1"
    measured = card["evaluation"]
    for part, trained in zip(release["evaluation"]["slices"], measured["slices"], strict=True):
        assert part["model"] == trained["model"]  # the same settings on the same days: the same figures
    assert release["evaluation"]["warnings"] == measured["warnings"]
    kept = stores.runs.read(release["run"])
    trained = stores.runs.all("for_you")[1]
    assert (kept.kind, kept.learner, trained.kind) == ("evaluate", card["learner"], "train")
    assert kept.metrics == trained.metrics
    assert (
        kept.artefacts["figures"].rpartition("@")[2] == trained.artefacts["figures"].rpartition("@")[2]
    )  # user by user
    earlier = asked("evaluate", "for_you@1", "--test-from", "2026-03-01", "--leave-one-out", at=shop)
    assert any("for_you@1 were chosen on days before" in sentence for sentence in earlier["evaluation"]["warnings"])
    assert earlier["leave_one_out"]["conventions"]["split"] == "leave-one-out"


@pytest.mark.slow
def test_the_page_for_people_names_parts_exposure_and_what_to_beware_of(shop: Path) -> None:
    status, out, err = tidemill(
        "evaluate", "for_you", "--history", "earlier", "--target", "last", "--by", "category", at=shop
    )
    assert status == 0, err
    for word in ("every event before the target", "difference (95%)", "Holm p", "history", "recency", "group"):
        assert word in out, word
    for word in ("cold items:", "gini", "shown/taken", "Recorded as run for_you#"):
        assert word in out, word


@pytest.mark.slow
def test_lists_from_a_file_name_people_as_the_source_does(shop: Path, stores: Stores, tmp_path: Path) -> None:
    rows = stores.lake.view().arrow("ratings", columns=["user_id", "item_id"]).to_pylist()
    surrogates = sorted({row["user_id"] for row in rows})
    items = sorted({row["item_id"] for row in rows})
    raw = {surrogate: stores.vault.identity(surrogate)[1] for surrogate in surrogates}
    found = {}
    for name, ids in (("raw.csv", raw), ("surrogates.csv", {one: one for one in surrogates})):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["user_id", "item_id", "rank"])
            writer.writerows((ids[one], item, n) for one in surrogates[::2] for n, item in enumerate(items))
        found[name] = asked("evaluate", "for_you", "--ranked", str(tmp_path / name), at=shop)
    assert found["raw.csv"]["evaluation"]["slices"] == found["surrogates.csv"]["evaluation"]["slices"]
    evaluation = found["raw.csv"]["evaluation"]
    assert (found["raw.csv"]["what"], evaluation["model"]) == ("raw.csv", "raw.csv")
    assert any("have no list and count as misses" in sentence for sentence in evaluation["warnings"])
    assert any("when its lists were made" in sentence for sentence in evaluation["warnings"])
    assert evaluation["slices"][0]["model"]["hit_rate@10"]["value"] > 0
    kept = "".join(line.details["run"] for line in stores.ledger.find("run-end"))
    assert kept
    assert not any(one in kept for one in (*surrogates, *raw.values()))


@pytest.mark.slow
def test_what_cannot_be_measured_is_refused_with_the_next_step(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "lists.csv").write_text("who,what\na,b\n")
    for words, code in [
        (("evaluate", "for_me"), "TM101"),
        (("evaluate", "for_you@99"), "TM604"),
        (("evaluate", "for_you", "--by", "colour"), "TM101"),
        (("evaluate", "for_you", "--test-from", "2031-01-01"), "TM501"),
        (("evaluate", "for_you", "--ranked", "nowhere.csv"), "TM201"),
        (("evaluate", "for_you", "--ranked", str(tmp_path / "lists.csv")), "TM204"),
        (("evaluate", "for_you", "--ranked", str(tmp_path / "lists.csv"), "--leave-one-out"), "TM001"),
    ]:
        status, out, err = tidemill(*words, "--json", at=shop)
        assert status == 1, words
        error = json.loads(out)["error"]
        assert error["code"] == code, (words, error)
        assert error["tip"], words
        assert "Traceback" not in err
