"""A few kills of the kill driver, for every change; `kill_driver.py` itself does as many as it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill_driver import KillDriver

pytestmark = pytest.mark.slow
pytest.importorskip("lightgbm")


def test_processes_that_are_killed_at_random_moments_lose_and_leave_nothing(tmp_path: Path) -> None:
    driver = KillDriver(tmp_path, seed=7)
    report = driver.run(10, mean_s=1.5)
    assert report.findings == [], report.table()
    assert len(report.kills) == 10
    assert min(report.acknowledged[kind] for kind in ("prediction", "outcome", "event")) > 0
    # the driver sees what is lost
    driver.told.predictions.append("0" * 32)
    driver.told.events.append(1)
    driver.check_logs()
    assert [finding.split(" acknowledged ")[1][:12] for finding in report.findings] == ["predictions ", "events are l"]
