"""What the release of format 1 left behind: run by that release's own code, never again by a later one.

    PYTHONPATH=tests/serving python make.py FOLDER

A shop with one promoted release and its switch off, answers and outcomes in the lake, and closed segments of answers,
outcomes and posted events that nobody has taken yet. Paths are then under FOLDER, which is not where they are read.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from served_shop import MODEL, open_shop
from tidemill.core.posted import Person, Posted, encode
from tidemill.core.segments import SegmentWriter

from tidemill.core.clock import SystemClock
from tidemill.core.records import Answered, Outcome, Prediction
from tidemill.feedback import LogWriter, SegmentLog
from tidemill.serving import switch

SERVED_AT = 1_780_000_000_000_000


def prediction(i: int, *, off: bool = False) -> Prediction:
    return Prediction(
        prediction_id=f"{i:032x}", model=MODEL, release=f"{MODEL}@1", arm="champion", policy="off" if off else "on",
        propensity=1.0, served_at=SERVED_AT + i, as_of=SERVED_AT, subject="a" * 26, n=2,
        items=(Answered(item="item01", score=0.5, reason="near"), Answered(item="item02", score=0.25, reason="near")),
        short=None, features='{"facts":"1.1:20600"}', context='{"page":"home"}', latency_us=410,
        kind="fallback" if off else "computed",
    )  # fmt: skip


def outcome(i: int) -> Outcome:
    return Outcome(
        prediction_id=f"{i:032x}",
        item="item01",
        what="click",
        value=1.0,
        happened_at=SERVED_AT + 9,
        received_at=SERVED_AT + 9,
    )


def main(folder: Path) -> None:
    shop = open_shop(folder / "project", port=0, workers=1)
    house = shop.house
    shop.promote(shop.release())
    switch(shop.root, MODEL, off=True, who="ada", why="wrong prices", clock=SystemClock(), ledger=house.ledger)
    taken = SegmentLog(house.state / "log", SystemClock())
    for i in range(4):
        taken.write(prediction(i, off=i == 3))
    asyncio.run(taken.outcomes([outcome(0), outcome(1)]))
    taken.close()
    with house.leases.take("log") as lease:
        LogWriter(house.state / "log", house.lake, lease).write()
    left = SegmentLog(house.state / "log", SystemClock())
    for i in range(4, 7):
        left.write(prediction(i, off=i == 6))
    asyncio.run(left.outcomes([outcome(4)]))
    left.close()
    events = SegmentWriter(house.state / "events" / "reviews", SystemClock())
    row = {"item_id": "item05", "rating": 5.0, "reviewed_at": SERVED_AT}
    events.append(encode(Posted(received_at=SERVED_AT, row=row, people={"user_id": Person("s" * 26, b"sealed")})))
    events.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
