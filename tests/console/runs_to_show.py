"""Evaluations, and figures and trials of runs, for the pages that show them."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

from tidemill.core.clock import to_micros
from tidemill.core.records.quality import Evaluation, Exposure, Metric, SliceResult
from tidemill.core.records.runs import Trial


def metric(value: float, half: float) -> Metric:
    return Metric(value=value, low=value - half, high=value + half)


def evaluation(warm: float, day: date = date(2017, 6, 1), *, lift: float | None = None) -> Evaluation:
    """An evaluation in which warm users have this hit rate."""
    ups = {
        "warm": (warm, 0.062, 563),
        "all": (warm * 0.55 + 0.02, 0.059, 4_210),
        "cold": (0.055, 0.0552, 3_647),
        "tiny": (0.5, 0.1, 4),
    }
    slices = []
    for users, (value, base, n) in ups.items():
        names = {
            "hit_rate@10": 1.0,
            "recall@10": 0.86,
            "ndcg@10": 0.55,
            "hit_rate@20": 1.4,
            "recall@20": 1.25,
            "ndcg@20": 0.68,
        }
        half = 0.5 / n**0.5
        slices.append(
            SliceResult(
                users=users,
                n_users=n,
                model={name: metric(value * scale, half * scale) for name, scale in names.items()},
                baseline={name: metric(base * scale, half * scale) for name, scale in names.items()},
                difference={name: metric((value - base) * scale, 0.72 * half * scale) for name, scale in names.items()},
            )
        )
    return Evaluation(
        model="for_you",
        baseline="popularity over 30 days",
        split_at=to_micros(datetime(day.year, day.month, day.day, tzinfo=UTC)),
        protocol="Global time split; any later item counts; seen items are dropped; the whole catalogue is ranked.",
        k=10,
        slices=tuple(slices),
        coverage=0.412,
        novelty=9.83,
        diversity=0.711,
        parts=_parts(warm),
        worst="worst of 5 parts is recency: over a year ago (98 users): worse than the baseline",
        exposure=_exposure(),
        validation=(
            {"half_life": "365 days", "neighbours": 200, "score": 0.0712, "n_users": 611},
            {"half_life": "180 days", "neighbours": 200, "score": 0.0698, "n_users": 611},
            {"half_life": "30 days", "neighbours": 200, "score": 0.0604, "n_users": 611},
        ),
    )


def _parts(warm: float) -> tuple[SliceResult, ...]:
    """Finer parts of the test: some better than popularity, one worse, two too small to be shown."""
    told = {
        ("history", "0 events"): (0.0002, 3_647), ("history", "1 event"): (0.4 * warm, 212),
        ("history", "2-4 events"): (0.7 * warm, 240), ("recency", "over a year ago"): (-0.4 * warm, 98),
        ("group", "Home & <Garden>"): (0.1 * warm, 1_204),
    }  # fmt: skip
    made = []
    for (family, users), (ahead, n) in told.items():
        model, beside, difference = metric(0.05 + ahead, 0.01), metric(0.05, 0.01), metric(ahead, 0.2 / n**0.5)
        p = 0.0004 if abs(ahead) > 0.2 / n**0.5 else 0.41
        made.append(
            SliceResult(
                users=users, n_users=n, model={"ndcg@10": model}, baseline={"ndcg@10": beside},
                difference={"ndcg@10": difference}, family=family, p={"ndcg@10": p / 5}, p_holm={"ndcg@10": p},
            )
        )  # fmt: skip
    half = {"ndcg@10": metric(0.5, 0.1)}
    few = SliceResult(
        users="10+ events", n_users=23, model={}, baseline={}, difference={}, family="history", note="too few"
    )
    tiny = SliceResult(users="Toys", n_users=4, model=half, baseline=half, difference=half, family="group", p_holm={})
    return (*made[:3], few, *made[3:], tiny)


def _exposure() -> tuple[Exposure, ...]:
    rows = [
        ("popularity", "head", 41, 0.61, 0.93, 0.34), ("popularity", "tail", 2_101, 0.09, 0.0, 0.31),
        ("group", "Magazines", 1_800, 0.7, 0.8, 0.75), ("group", "Never taken", 12, 0.02, 0.0, 0.0),
    ]  # fmt: skip
    return tuple(
        Exposure(
            by=by, group=group, n_items=n, shown=metric(shown, 0.02), baseline=metric(beside, 0.0),
            taken=metric(taken, 0.02), ratio=metric(shown / taken, 0.1) if taken else None,
        )
        for by, group, n, shown, beside, taken in rows
    )  # fmt: skip


def measured(warm: float) -> dict[str, Metric]:
    """Figures of a run at its end."""
    made: dict[str, Metric] = {}
    for users, (value, base, n) in {"warm": (warm, 0.062, 563), "all": (0.55 * warm + 0.02, 0.059, 4_210)}.items():
        half = 0.5 / n**0.5
        for name, scale in {"hit_rate@10": 1.0, "recall@10": 0.86, "ndcg@10": 0.55}.items():
            made[f"{name}[{users}]"] = metric(value * scale, half * scale)
            made[f"difference {name}[{users}]"] = metric((value - base) * scale, 0.72 * half * scale)
    return made | {
        "hit_rate@10[books]": metric(warm * 1.1, 0.03),
        "coverage": metric(0.412, 0.0),
        "novelty": metric(9.83, 0.0),
    }


def searched(n: int, seed: int = 3) -> list[Trial]:
    """Trials of a search over six settings, some of them given up early, failed, or late."""
    chance = random.Random(seed)
    made = []
    for number in range(n):
        days = chance.choice([7, 14, 30, 60, 90, 180, 365, 730])
        power, neighbours = round(chance.uniform(0, 1), 3), chance.randrange(20, 500)
        learner = chance.choice(["cooccurrence", "ease", "als", "transitions"])
        value = 0.05 + 0.03 * (days / 730) ** 0.3 + 0.01 * power - 0.02 * abs(neighbours - 200) / 500
        value = round(value + chance.gauss(0, 0.004) + 0.012 * (learner == "ease"), 5)
        given: dict[str, Any] = {"learner": learner, "half_life": f"{days} days", "neighbours": neighbours}
        given |= {"popularity": power, "l2": round(10 ** chance.uniform(-3, 3), 5), "seed": 0}
        if learner == "als":
            given["factors"] = chance.choice([16, 32, 64, 128])
        state = chance.choices(["finished", "pruned", "failed", "late"], [70, 22, 6, 2])[0]
        steps = tuple(round(value + chance.gauss(0, 0.002), 5) for _ in range(3))
        came = {"finished": (value, steps), "pruned": (None, steps[:1])}.get(state, (None, ()))
        said = "the matrix is singular" if state == "failed" else ""
        cpu = chance.uniform(1, 20)
        made.append(
            Trial(number=number, parameters=given, state=state, value=came[0], steps=came[1],  # type: ignore[arg-type]
                  cpu_s=cpu, wall_s=cpu / 2, says=said)
        )  # fmt: skip
    return made
