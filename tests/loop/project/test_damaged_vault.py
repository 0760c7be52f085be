"""A vault that is missing or damaged: what needs it is refused, all else works, and no new vault takes its place."""

from __future__ import annotations

import shutil
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import LedgerCorrupt, LedgerMissing, TidemillError
from tidemill.core.records.prediction import Prediction
from tidemill.core.settings import load
from tidemill.feedback import PREDICTIONS, SegmentLog
from tidemill.loop.ops.doctor import doctor
from tidemill.loop.serve import server_processes
from tidemill.loop.state.project_status import status
from tidemill.loop.training.train import train

LAST = FIRST + timedelta(days=19)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


DAMAGES = {"missing": Path.unlink, "empty": lambda path: path.write_bytes(b""), "truncated": cut, "no database": other}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_needs_no_vault_goes_on_without_it(project: Project, damage: str) -> None:
    project.write("reviews-1.csv", daily(20, users=300))
    project.run(LAST)
    path = project.path / ".tidemill" / "vault.sqlite"
    assert {file.name for file in path.parent.glob("vault.sqlite*")} == {"vault.sqlite"}
    backup = shutil.copy(path, project.path / "backup")
    DAMAGES[damage](path)
    left = path.read_bytes() if path.exists() else None

    stores, graph = project.open()
    release = train(stores, graph, "for_you").release
    stores.releases.promote(release.name)
    log = SegmentLog(stores.state / "log", project.clock)
    log.write(Prediction(prediction_id="a" * 32, kind="computed", model="for_you", release=release.name))
    log.close()
    settings = load(project.path, environ={})
    server_processes._write_all(settings, threading.Event(), last=True)
    logged = stores.lake.log(PREDICTIONS)
    assert logged is not None and logged.num_rows == 1
    assert server_processes._stores(settings).surrogate("user_id", "u1") == stores.surrogates("user_id", "u1")

    (item,) = [item for item in status(stores, graph).action_items if "vault" in item.what]
    assert item.weight == "broken" and str(path) in item.why[0]
    (finding,) = [finding for finding in doctor(project.path, settings, project.path) if finding.what == "vault"]
    assert finding.state == "wrong" and str(path) in finding.says

    project.write("reviews-2.csv", daily(1, first=LAST + timedelta(days=1)))
    with pytest.raises(LedgerMissing if damage in ("missing", "empty") else LedgerCorrupt):
        project.run(LAST + timedelta(days=1))
    with pytest.raises(TidemillError):
        stores.vault.identity(stores.surrogates("user_id", "u1"))
    with pytest.raises(TidemillError):
        stores.vault.forget([stores.surrogates("user_id", "u1")])
    assert (path.read_bytes() if path.exists() else None) == left

    shutil.copy(backup, path)
    assert stores.vault.identity(stores.surrogates("user_id", "u1")) == ("user_id", "u1")
    assert project.run(LAST + timedelta(days=1)).arrived == 12
    stores, graph = project.open()
    assert not any("vault" in item.what for item in status(stores, graph).action_items)
