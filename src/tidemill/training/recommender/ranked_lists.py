"""Ranked lists from a file, evaluated in the same way as the lists of a trained model.

One row per position: a user, an item, and a rank (1 is best) or a score (largest is best). A column of lists, best
first, is one row per user.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.errors import SourceUnknown
from tidemill.training.recommender.users_to_evaluate import EvaluationUser

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

#: Accepted column names, besides those of the project's own events.
USER = ("user", "user_id", "userid", "user_token", "subject", "customer", "customer_id")
ITEM = ("item", "item_id", "itemid", "item_token", "items", "product", "product_id")
RANK = ("rank", "place", "position")
SCORE = ("score", "prediction", "relevance")

Surrogate = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True, eq=False)
class RankedLists:
    """Lists by user id, as codes of a catalogue; an item outside the catalogue has a negative code."""

    name: str
    #: User id -> codes, best first.
    lists: dict[str, I32]
    #: Number of rows, of rows whose item has no events, and of users without events.
    n_rows: int
    unknown_rows: int
    unknown_users: int

    def rank(self, user: EvaluationUser, n: int) -> I32 | None:
        """The user's list; `None` if the file has none."""
        return self.lists.get(user.user)

    def told(self, users: Sequence[EvaluationUser]) -> list[str]:
        """Warnings about the file itself."""
        found = ["a file does not show when its lists were made; lists made after the split may have used the test"]
        if self.unknown_rows:
            share = f"{self.unknown_rows:,} of {self.n_rows:,} rows ({self.unknown_rows / self.n_rows:.1%})"
            found.append(f"{share} name an item without any event")
        if self.unknown_users:
            found.append(f"{self.unknown_users:,} users of the file have no event: they were left out")
        evaluated = {user.user for user in users}
        if len(evaluated) < len(users) and evaluated & self.lists.keys():
            found.append("the file has one list per user, which is used for all queries of the user")
        return found


def ranked_lists(
    rows: pa.Table,
    items: Sequence[str],
    users: Sequence[str],
    *,
    name: str,
    user: str = "user",
    item: str = "item",
    surrogate: Surrogate | None = None,
) -> RankedLists:
    """The ranked lists in the rows of a file called `name`.

    `items` is the catalogue (`catalogue`), `users` are the ids of the events; `user` and `item` are the names of their
    columns, which the rows may use. An id that is not in `users` is passed to `surrogate`, so the rows may use the
    source's ids; raw ids are never stored. Rows with equal rank or score keep their order. Raises `SourceUnknown` if
    they are no lists.
    """
    table = _table(rows, name, user, item)
    person = _encoded(table.column(0))
    thing = _encoded(table.column(1))
    who, unknown_users = _known(person.dictionary.to_pylist(), users, surrogate)
    code_of = {name: code for code, name in enumerate(items)}
    codes = np.array([code_of.get(name, -1 - n) for n, name in enumerate(thing.dictionary.to_pylist())], np.int32)
    row_user, row_item = np.asarray(person.indices), codes[np.asarray(thing.indices)]
    order = np.lexsort((np.arange(table.num_rows), np.asarray(table.column(2)), row_user))
    starts = np.searchsorted(row_user[order], np.arange(len(who) + 1))
    ranked = row_item[order]
    return RankedLists(
        name=name,
        lists={name: ranked[starts[i] : starts[i + 1]] for i, name in enumerate(who) if name is not None},
        n_rows=table.num_rows,
        unknown_rows=int((row_item < 0).sum()),
        unknown_users=unknown_users,
    )


def _known(found: Sequence[str], users: Sequence[str], surrogate: Surrogate | None) -> tuple[list[str | None], int]:
    """The known id of each user of the file (`None`: without events), and the number of users without events."""
    known = set(users)
    others = [name for name in found if name not in known]
    turned = dict(zip(others, surrogate(others), strict=True)) if surrogate else {}
    who = [name if name in known else turned.get(name) for name in found]
    who = [name if name in known else None for name in who]
    return who, who.count(None)


def _table(table: pa.Table, file: str, user: str, item: str) -> pa.Table:
    """User (text), item (text) and order (smallest first) of every row."""
    names = table.column_names
    of_user, of_item = _one(file, names, "user", (user, *USER)), _one(file, names, "item", (item, *ITEM))
    by_rank = next((name for name in names if name.lower() in RANK), None)
    by_score = next((name for name in names if name.lower() in SCORE), None)
    if pa.types.is_list(table.schema.field(of_item).type) or pa.types.is_large_list(table.schema.field(of_item).type):
        column = table.column(of_item).combine_chunks()
        parents = pc.list_parent_indices(column)
        order = pa.array(np.arange(len(parents)))
        people = table.column(of_user).combine_chunks().take(parents)
        table, of_order = pa.table({of_user: people, of_item: pc.list_flatten(column), "rank": order}), "rank"
    elif by_rank or by_score:
        of_order = by_rank or str(by_score)
    else:
        raise SourceUnknown(
            f"{file} has no rank or score column: it has {', '.join(names)}",
            tip=f"name it `rank` (1 is best) or `score` (largest is best); also: {', '.join((*RANK[1:], *SCORE[1:]))}",
        )
    order = _numbers(file, table.column(of_order), of_order)
    if not by_rank and of_order == by_score:
        order = pc.negate(order)
    columns = [_text(file, table.column(name), name) for name in (of_user, of_item)]
    if not table.num_rows:
        raise SourceUnknown(f"{file} contains no rows", tip="it needs one row for each user and position")
    return pa.table({"user": columns[0], "item": columns[1], "order": order})


def _one(file: str, names: Sequence[str], what: str, known: Sequence[str]) -> str:
    wanted = dict.fromkeys(known)
    for name in wanted:
        found = next((one for one in names if one.lower() == name.lower()), None)
        if found:
            return found
    raise SourceUnknown(
        f"{file} has no column for the {what}: it has {', '.join(names)}", tip=f"name it one of: {', '.join(wanted)}"
    )


def _numbers(file: str, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        found = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as problem:
        raise SourceUnknown(
            f"{file}: `{name}` contains a value that is not a number", tip="use numbers only"
        ) from problem
    n = found.null_count + (pc.sum(pc.is_nan(found)).as_py() or 0)
    if n:
        raise SourceUnknown(f"{file}: {n:,} rows have no number in `{name}`", tip="remove these rows")
    return found


def _text(file: str, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    if column.null_count:
        raise SourceUnknown(f"{file}: {column.null_count:,} rows are empty in `{name}`", tip="remove these rows")
    return column.cast(pa.string())


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pa.chunked_array(column.chunks, column.type).combine_chunks().dictionary_encode()
