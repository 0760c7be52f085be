"""Somebody else's lists from a file: the same figures as the same lists from a model, and what is wrong is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from known_rankers import Given
from synthetic_days import shop

from tidemill.core.errors import SourceDamaged, SourceMissing, SourceUnknown
from tidemill.core.identity.surrogates import Surrogates
from tidemill.sources.files.table_file import read_table
from tidemill.training import Protocol, catalogue, evaluation_users, measure_ranker, ranked_lists, split_at
from tidemill.training.recommender.ranked_lists import ITEM, USER, RankedLists

SPLIT = split_at(shop(150))
ITEMS = catalogue(SPLIT)
USERS = sorted({*SPLIT.train.users, *SPLIT.test.users})
RNG = np.random.default_rng(0)
LISTS = {user.user: RNG.permutation(len(ITEMS))[:15].tolist() for user in evaluation_users(SPLIT)}
ROWS = [(user, ITEMS[code], place) for user, codes in LISTS.items() for place, code in enumerate(codes, 1)]


def read(file: Path, *args: Any, **options: Any) -> RankedLists:
    """As `tidemill evaluate --ranked` reads a file."""
    names = (options.get("user", ""), *USER, options.get("item", ""), *ITEM)
    return ranked_lists(read_table(file, text=names), *args, name=file.name, **options)


def csv_file(folder: Path, rows=ROWS, header: str = "user,item,rank", name: str = "lists.csv") -> Path:
    file = folder / name
    text = "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def parquet(folder: Path) -> Path:
    users, items, places = zip(*ROWS, strict=True)
    pq.write_table(
        pa.table({"user_id": users, "item_id": items, "score": [-float(p) for p in places]}), folder / "l.parquet"
    )
    return folder / "l.parquet"


def json_lines(folder: Path) -> Path:
    (folder / "l.jsonl").write_text("".join(json.dumps({"user": u, "item": i, "rank": r}) + "\n" for u, i, r in ROWS))
    return folder / "l.jsonl"


def json_lists(folder: Path) -> Path:
    lines = [{"user": user, "items": [ITEMS[code] for code in codes]} for user, codes in LISTS.items()]
    (folder / "l.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "l.ndjson"


FORMS = {
    "csv": csv_file,
    "turned": lambda folder: csv_file(folder, ROWS[::-1]),
    "gzip": lambda folder: csv_file(folder, name="lists.csv.gz"),
    "parquet": parquet,
    "lines": json_lines,
    "lists": json_lists,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_worth_what_its_lists_are(form: str, tmp_path: Path) -> None:
    lists = read(FORMS[form](tmp_path), ITEMS, USERS)
    assert {user: codes.tolist() for user, codes in lists.lists.items()} == LISTS
    found = measure_ranker(lists, SPLIT)
    same = measure_ranker(Given(lambda user, n: LISTS[user.user]), SPLIT)
    assert found.users == same.users
    for name, values in same.per_user.items():
        assert found.per_user[name].tolist() == values.tolist()


def test_raw_ids_become_surrogates_at_the_door(tmp_path: Path) -> None:
    surrogates = Surrogates(bytes(32))
    split = split_at(shop(60))
    known = {surrogates("user_id", name): name for name in {*split.train.users, *split.test.users}}
    file = csv_file(tmp_path, [(name, "i000", 1) for name in known.values()] + [("stranger", "i001", 1)])
    lists = read(file, ["i000"], sorted(known), surrogate=lambda found: surrogates.many("user_id", found))
    assert lists.lists.keys() == known.keys()
    assert lists.unknown_users == 1
    mixed = csv_file(tmp_path, [(name, "i000", 1) for name in known])  # already surrogates
    again = read(mixed, ["i000"], sorted(known), surrogate=lambda found: surrogates.many("user_id", found))
    assert again.lists.keys() == known.keys()
    assert not any(name in repr(vars(lists)) for name in ("stranger", *list(known.values())[:5]))


def test_what_is_wrong_with_lists_is_told(tmp_path: Path) -> None:
    users = evaluation_users(SPLIT)
    warm = next(user for user in users if len(user.items) > 1)
    seen, wanted = (ITEMS[int(codes[0])] for codes in (warm.items, warm.targets))
    rows = [(warm.user, seen, 1), (warm.user, "nobody's", 2), (warm.user, wanted, 3), (warm.user, wanted, 4)]
    lists = read(csv_file(tmp_path, [*rows, ("stranger", wanted, 1)]), ITEMS, USERS)
    found = measure_ranker(lists, SPLIT, told=lists.told(users)).evaluation
    sentences = "\n".join(found.warnings)
    assert "a file does not show when its lists were made" in sentences
    assert "1 of 5 rows (20.0%) name an item without any event" in sentences
    assert "1 users of the file have no event" in sentences
    n_users = found.slices[0].n_users
    assert f"{n_users - 1} of {n_users} queries" in sentences
    assert "25.0% of the positions held an item that the user already had" in sentences
    assert "25.0% of the positions repeated an item" in sentences
    hit = measure_ranker(lists, SPLIT).per_user["ndcg@10"]
    assert (
        np.count_nonzero(hit) == 1
    )  # the unknown item holds a place, the seen one does not: the second place is right
    gains = 1 / np.log2(np.arange(2, 12))
    assert hit.max() == pytest.approx(gains[1] / gains[: len(warm.targets)].sum())


def test_every_unknown_item_holds_a_place_of_its_own(tmp_path: Path) -> None:
    user = evaluation_users(SPLIT)[0]
    wanted = ITEMS[int(user.targets[0])]
    rows = [(user.user, name, n) for n, name in enumerate(("nobody's", "no other's", wanted))]
    found = measure_ranker(read(csv_file(tmp_path, rows), ITEMS, USERS), SPLIT, protocol=Protocol(target="all"))
    gains = 1 / np.log2(np.arange(2, 12))
    assert found.per_user["ndcg@10"][0] == pytest.approx(gains[2] / gains[: len(user.targets)].sum())


def test_ids_of_a_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    file = csv_file(tmp_path, [("007", "01", 1), ("7", "1", 1)], header="user_id,ITEM,score")
    lists = read(file, ["01", "1"], ["007", "7"])
    assert {user: codes.tolist() for user, codes in lists.lists.items()} == {"007": [0], "7": [1]}


def test_columns_may_have_the_projects_own_names(tmp_path: Path) -> None:
    file = csv_file(tmp_path, [("a", "x", 0.1), ("a", "y", 0.9)], header="reader,title,score")
    lists = read(file, ["x", "y"], ["a"], user="reader", item="title")
    assert lists.lists["a"].tolist() == [1, 0]  # the largest score is best
    with pytest.raises(SourceUnknown, match="no column for the user"):
        read(file, ["x"], ["a"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("user,item\na,x\n", "no rank or score column"),
        ("user,item,rank\na,x,first\n", "not a number"),
        ("user,item,rank\na,x,\nb,x,1\n", "1 rows have no number"),
        ("user,item,score\na,x,nan\n", "1 rows have no number"),
        ("user,item,rank\n", "no row"),
        ("user,item,rank\na,x,1\na,x,1,4\n", "1 lines are refused"),
    ],
)
def test_a_file_that_says_too_little_is_refused(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "lists.csv"
    file.write_text(text)
    with pytest.raises(SourceUnknown, match=why) as refused:
        read(file, ["x"], ["a"])
    assert refused.value.tip


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        read(tmp_path / "nowhere.csv", [], [])
    (tmp_path / "lists.parquet").write_bytes(b"PAR1\0")
    with pytest.raises(SourceDamaged, match="cannot be read as parquet"):
        read(tmp_path / "lists.parquet", [], [])
