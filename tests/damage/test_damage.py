"""Damaged files of every kind: no wrong answer that nothing tells, no trace, and no stop of what does not need them.

The whole drive is `python tests/damage/damage_driver.py`; here is one damage of each kind.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from damage_driver import HOWS, KINDS, Driver, Result, kind_of, table
from small_mill import copy

from tidemill.core.settings import load
from tidemill.loop.ops.verify_project import STORES, verify_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(tmp_path_factory.mktemp("damage"))


def test_the_project_has_a_file_of_every_kind_and_of_every_store(driver: Driver, tmp_path: Path) -> None:
    assert {kind_of(place) for place in driver.files} == set(KINDS)
    project = copy(driver.project, tmp_path)
    verified = verify_project(load(project.path, environ={}), project.clock)
    assert {one.store for one in verified.stores if one.files} == set(STORES)


def test_no_kind_of_damage_is_answered_wrongly_without_a_word_or_stops_what_does_not_need_it(driver: Driver) -> None:
    damages = list(islice(driver.damages(1), len(KINDS)))
    assert {kind_of(place) for place, _ in damages} == set(KINDS) and {how for _, how in damages} == set(HOWS)
    results = [driver.damage(place, how, number) for number, (place, how) in enumerate(damages)]
    assert [(one.how, one.place, one.findings) for one in results if one.findings] == []
    assert len(table(results).splitlines()) == len(KINDS) + 1


def test_what_should_not_happen_is_a_finding() -> None:
    quiet = Result(kind="streams", place="serving/streams.json", how="flip", verify=["x"], serve="same")
    quiet.serve_after = "same"
    assert quiet.findings == []
    quiet.verify = []
    assert quiet.findings == ["not seen by verify or status"]
    quiet.serve = quiet.serve_after = "other"
    assert len(quiet.findings) == 3
    quiet.serve_after, quiet.errors = "refused", {"run": "TM302 x"}
    assert {"run stops", "serve stops"} < set(quiet.findings)
    quiet.traces = ["run: KeyError: x"]
    assert "trace: run: KeyError: x" in quiet.findings
