"""Tables of events that change: rows come late, are deleted or replaced; users and items appear and vanish."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from hypothesis import strategies as st
from known_worlds import DAY

from tidemill.models import Interactions

#: Row number -> user, item, microseconds.
Rows = Mapping[int, tuple[str, str, int]]

_USERS = st.sampled_from([f"u{n}" for n in range(5)])
_ITEMS = st.sampled_from([f"i{n}" for n in range(7)])
#: Few instants on few days, so that ties are common, and one long before all others.
_TIMES = st.sampled_from([-3000 * DAY, *(day * DAY + hour for day in (0, 1, 2, 40, 41, 400) for hour in (0, 0, 3_600))])
_ROW = st.tuples(_USERS, _ITEMS, _TIMES)


@st.composite
def histories_of_a_table(draw: st.DrawFn) -> list[dict[int, tuple[str, str, int]]]:
    """The same table at up to five moments."""
    rows = dict(enumerate(draw(st.lists(_ROW, max_size=25))))
    moments = [dict(rows)]
    for _ in range(draw(st.integers(1, 4))):
        for number in draw(st.lists(st.sampled_from(sorted(rows)), max_size=4)) if rows else []:
            rows.pop(number, None)  # deleted, or the one below takes its place
            if draw(st.booleans()):
                rows[number] = draw(_ROW)
        start = max(rows, default=-1) + 1
        rows |= dict(enumerate(draw(st.lists(_ROW, max_size=4)), start))  # new or late
        moments.append(dict(rows))
    return moments


def interactions(rows: Rows) -> Interactions:
    if not rows:
        return Interactions.none()
    users, items, times = zip(*rows.values(), strict=True)
    table = pa.table({"user_id": users, "item_id": items, "at": list(times), "row": list(rows)})
    return Interactions.from_arrow(table, user="user_id", item="item_id", time="at", row="row")


def touched(before: Rows, after: Rows) -> tuple[Interactions, Interactions]:
    """All events of the users to whom something happened, before and after."""
    differ = set(before.items()) ^ set(after.items())
    users = {user for _, (user, _, _) in differ}
    return tuple(  # type: ignore[return-value]
        interactions({number: row for number, row in rows.items() if row[0] in users}) for rows in (before, after)
    )
