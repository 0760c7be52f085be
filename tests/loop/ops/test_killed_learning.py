"""A training or an import that is killed anywhere, or finds the disk full: the next one finishes it, once."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import Project
from small_graphs import named
from tabular_projects import change, churn_project

from tidemill.core.errors import LeaseTaken
from tidemill.loop.examples.datasets import datasets
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.release.go_live import go_live
from tidemill.loop.training.train import train
from tidemill.models.tabular import open_tabular

pytest.importorskip("lightgbm")

DAY = date(2026, 10, 31)
TIDEMILL = Path(sys.executable).parent / "tidemill"
TRAIN = ("train", "churn")
#: Every point that a training, an import and a promotion pass, in their order.
OF_A_TRAINING = ["dataset.ledger", "bundle.written", "bundle.ledger", "release.written", "release.ledger"]
OF_AN_IMPORT = ["bundle.written", "bundle.ledger", "release.written", "release.ledger"]
SAID = {
    "helps": "people who wait", "could_harm": "nobody that we know of", "source": "a notebook of 2023",
    "licence": "internal", "revision": "2",
}  # fmt: skip


@pytest.fixture
def churn(tmp_path: Path) -> Project:
    project = churn_project(tmp_path, 200)
    project.run(DAY, backfill=True)
    return project


def begun(project: Project, *words: str, failpoint: str = "") -> subprocess.Popen[str]:
    env = os.environ | {"TIDEMILL_FAILPOINT": failpoint, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(TIDEMILL), *words], cwd=project.path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def killed(project: Project, *words: str, failpoint: str) -> None:
    process = begun(project, *words, failpoint=failpoint)
    said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, f"the failpoint was never passed: {said}"


def whole(project: Project, model: str) -> None:
    """One release whose bundle opens, no half of anything, and a ledger that tells all of it."""
    stores, _ = project.open()
    (release,) = stores.releases.all(model)
    assert release.name == f"{model}@1"
    stores.releases.verify(release)
    open_tabular(stores.releases.bundle(release.bundle))
    assert len(list(stores.blobs.keys("bundle:"))) == 1
    assert list(stores.state.glob("new-*")) == [] and list(stores.state.glob("learning-*")) == []
    assert verify_project(stores.settings, stores.clock).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", OF_A_TRAINING)
def test_a_training_that_is_killed_is_done_once_by_the_next(churn: Project, failpoint: str) -> None:
    killed(churn, *TRAIN, failpoint=failpoint)
    made = train(*churn.open(), "churn")
    assert made.release.name == "churn@1"
    stores, _ = churn.open()
    assert [one.name for one in datasets(stores, "churn")] == ["churn@1"]
    whole(churn, "churn")
    states = [run.state for run in stores.runs.all("churn")]
    assert states.count("finished") <= 1 and "running" not in states
    assert not train(*churn.open(), "churn").anew


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", ["promote.ledger", "promote.pointer"])
def test_a_promotion_that_is_killed_is_finished(churn: Project, failpoint: str) -> None:
    train(*churn.open(), "churn")
    killed(churn, "promote", "churn@1", failpoint=failpoint)
    stores, graph = churn.open()
    assert go_live(stores, graph, "churn@1").release == "churn@1"
    assert [one.release for one in stores.releases.history("churn")] == ["churn@1"]
    assert json.loads((stores.serving_root / "churn" / "live.json").read_bytes())
    whole(churn, "churn")


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", OF_AN_IMPORT)
def test_an_import_that_is_killed_is_done_once_by_the_next(churn: Project, tmp_path: Path, failpoint: str) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "model.onnx").write_bytes(named())
    (tmp_path / "card.json").write_text(json.dumps(SAID))
    words = ("import", "wait", str(tmp_path / "model.onnx"), "--card", str(tmp_path / "card.json"))
    killed(churn, *words, failpoint=failpoint)
    again = begun(churn, *words)
    said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    whole(churn, "wait")


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.8, 1.6, 2.4, 3.2])
def test_a_search_that_is_killed_leaves_no_process_and_no_folder(tmp_path: Path, after_s: float) -> None:
    project = churn_project(tmp_path, 300, learn="learn=tm.auto(minutes=0.06)")
    project.run(DAY, backfill=True)
    process = begun(project, *TRAIN)
    time.sleep(after_s)
    children = children_of(process.pid)
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while alive := [child for child in children if running(child)]:
        assert time.monotonic() < end, f"outlived the training: {alive}"
        time.sleep(0.1)
    made = train(*project.open(), "churn")
    stores, _ = project.open()
    assert [release.name for release in stores.releases.all("churn")] == [made.release.name]
    assert len(datasets(stores, "churn")) == 1
    left = [path.name for path in stores.state.iterdir() if path.is_dir() and path.name.startswith("learn")]
    assert left == [], left
    assert verify_project(stores.settings, stores.clock).problems == []


def children_of(pid: int) -> list[int]:
    """Processes that a process started, and theirs."""
    found = []
    for path in Path("/proc").glob(f"{pid}/task/*/children"):
        try:
            for child in path.read_text().split():
                found += [int(child), *children_of(int(child))]
        except OSError:
            continue
    return found


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_of_two_trainings_at_once_one_is_refused(churn: Project) -> None:
    stores, _ = churn.open()
    with stores.leases.take("train:churn"), pytest.raises(LeaseTaken, match="is held by process"):
        train(*churn.open(), "churn")
    assert stores.releases.models() == [] and stores.runs.all("churn") == []
    assert train(*churn.open(), "churn").release.name == "churn@1"


@pytest.mark.slow
def test_two_commands_at_once_leave_one_release(churn: Project) -> None:
    change(churn.path, "n_estimators=12", "n_estimators=900")
    both = [begun(churn, *TRAIN) for _ in range(2)]
    said = [process.communicate(timeout=200) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 1], [0, 0]), said
    assert codes == [0, 0] or any("the lease `train:churn` is held by process" in err for _, err in said)
    whole(churn, "churn")


# ---- a full disk


@pytest.mark.parametrize("what", ["rename", pytest.param("fsync", marks=pytest.mark.slow)])
def test_a_full_disk_ends_a_training_and_room_lets_the_next_finish(
    churn: Project, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """At the k-th write of a kind for k = 1, 2, 3, …, until a training gets through."""
    for k in range(1, 60):
        with monkeypatch.context() as patched:
            patched.setattr(os, what, Full(getattr(os, what), k))
            try:
                train(*churn.open(), "churn")
            except OSError as error:
                assert error.errno == errno.ENOSPC
                continue
        break
    else:
        pytest.fail("no training got through")
    assert k > 1, "nothing of a training passes by there"
    made = train(*churn.open(), "churn")
    assert made.release.name == "churn@1"
    whole(churn, "churn")


class Full:
    """A call of the system that fails from the k-th time on."""

    def __init__(self, real: Any, k: int) -> None:
        self.real, self.left = real, k

    def __call__(self, *given: Any, **more: Any) -> Any:
        self.left -= 1
        if self.left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real(*given, **more)
