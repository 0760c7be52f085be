"""A deployment: named by what it says, read from its JSON, and refused where its arms cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tidemill.core.errors import FormatTooNew
from tidemill.core.record_format import decode_record
from tidemill.core.records.deployment import Arm, Assignment, Deployment, deploy
from tidemill.core.records.release import Card, Release, Rule, RuleSet


def release(number: int = 1, model: str = "for_you") -> Release:
    card = Card(
        model=model, helps="Readers.", could_harm="Narrow choice.", learner="cooccurrence", parameters={},
        evaluation=None, data={}, n_rows=1, n_users=1, n_items=1, learned_at=1, as_of=1,
    )  # fmt: skip
    return Release(
        model=model, number=number, bundle=f"{number:064x}", rules=RuleSet(retrieve=(Rule(name="nearest"),)),
        rule_modules={}, facts={}, data={}, code="", commit=None, environment="", card=card, created_at=1,
    )  # fmt: skip


def test_its_id_is_that_of_what_it_says() -> None:
    one = deploy(Arm(release=release(1)))
    assert one.id == deploy(Arm(release=release(1))).id and len(one.id) == 16
    halves = [Arm(release=release(1), share=0.5), Arm(release=release(2), name="b", share=0.5)]
    others = [
        deploy(Arm(release=release(2))),
        deploy(Arm(release=release(1), name="a")),
        deploy(Arm(release=release(1)), salt="s"),
        deploy(Arm(release=release(1)), policy="ab"),
        deploy(*halves, policy="ab"),
        deploy(Arm(release=release(1)), Arm(release=release(2), name="b", shadow=True)),
    ]
    assert len({one.id, *(other.id for other in others)}) == 1 + len(others)


def test_it_is_read_as_it_was_written() -> None:
    made = deploy(
        Arm(release=release(1), share=0.9), Arm(release=release(2), name="b", share=0.1), policy="ab", salt="x"
    )
    assert decode_record(msgspec.json.encode(made), Deployment) == made
    assert made.assignment(made.arms[1]) == Assignment(made.id, "b", "ab", 0.1)


def test_a_pointer_of_format_1_is_one_arm() -> None:
    old = {"release": release(3), "bundle": "/old/bundle", "modules": "/old/modules", "format": 1}
    found = decode_record(msgspec.json.encode(old), Deployment)
    assert found.champion == Arm(release=release(3))
    assert found.says_the_same(deploy(Arm(release=release(3)))) and not found.says_the_same(None)


def test_a_newer_one_is_refused_and_a_stranger_is_none() -> None:
    made = msgspec.to_builtins(deploy(Arm(release=release(1))))
    with pytest.raises(FormatTooNew):
        decode_record(msgspec.json.encode({**made, "format": 3}), Deployment)
    assert decode_record(msgspec.json.encode({**made, "weather": "rain"}), Deployment).id == made["id"]
    for stranger in ({}, {"release": {}}, {"release": 3}, {"format": 2}):
        with pytest.raises(msgspec.DecodeError):
            decode_record(msgspec.json.encode(stranger), Deployment)


@pytest.mark.parametrize(
    ("arms", "more"),
    [
        ([], {}),
        ([Arm(release=release(), share=0.5)], {}),
        ([Arm(release=release(), share=0.5), Arm(release=release(2), share=0.5)], {}),
        ([Arm(release=release()), Arm(release=release(1, "other"), name="b", share=0.0)], {}),
        ([Arm(release=release(), share=1.5), Arm(release=release(2), name="b", share=-0.5)], {}),
        ([Arm(release=release(), shadow=True)], {}),
        ([Arm(release=release())], {"policy": "off"}),
    ],
)
def test_arms_that_cannot_be_are_refused(arms: list[Arm], more: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        deploy(*arms, **more)
