"""What was learned is learned again from what was kept: bitwise, or no, because something is not as it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest_loop import FIRST, Project, daily, new_project

from tidemill.core.errors import UsageError
from tidemill.loop.families.recommender import recommender_training
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.environment_lock import EnvironmentLock, read_environment
from tidemill.loop.provenance.installed_libraries import InstalledLibrary
from tidemill.loop.reproduce.reproduce import PLACE, reproduce
from tidemill.loop.training.train import train

LAST = FIRST + timedelta(days=29)
KNN = (
    "tm.item_knn(neighbours=20, popularity_share=0.2, popularity_half_life='30 days', recency='30 days', "
    "spectral_share=0.0, factors=0)"
)
HELPER = '''"""Half stars."""


def halved(rating):
    return rating / 2
'''


def settled(project: Project, learner: str = KNN) -> None:
    """Another learner in mill.py."""
    mill = project.path / "mill.py"
    lines = mill.read_text().split("\n")
    mill.write_text("\n".join(f"    learn={learner}," if line.strip().startswith("learn=") else line for line in lines))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of thirty days with a helper module, learned once and learned again after other days."""
    project = new_project(tmp_path_factory.mktemp("reproduce"))
    mill = project.path / "mill.py"
    (project.path / "stars").mkdir()
    (project.path / "stars" / "__init__.py").write_text("")
    (project.path / "stars" / "half.py").write_text(HELPER)
    mill.write_text(
        mill.read_text().replace("import tidemill as tm\n", "import tidemill as tm\nfrom stars import half\n")
    )
    settled(project)
    project.write("reviews.csv.gz", daily(30, per_day=20, users=60, items=15))
    project.run(LAST, backfill=True)
    stores, graph = project.open()
    train(stores, graph, "for_you")
    project.write("reviews-more.csv", daily(3, per_day=20, users=70, first=LAST + timedelta(days=1)))
    project.run(LAST + timedelta(days=3))
    stores, graph = project.open()
    train(stores, graph, "for_you")
    return project.path.parent


@pytest.fixture
def shop(learned: Path, tmp_path: Path) -> Project:
    """A copy of it for each test, with keys of its own."""
    project = new_project(tmp_path)
    shutil.rmtree(project.path)
    shutil.copytree(learned / "shop", project.path)
    shutil.copytree(learned / "keys", tmp_path / "keys")
    settings = project.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace(str(learned), str(tmp_path)))
    return project


def test_a_run_of_older_days_comes_out_bitwise_and_the_project_stays_as_it_is(shop: Project) -> None:
    stores, _ = shop.open()
    settled(shop, "tm.popularity()")  # what mill.py says now does not matter: the code was kept
    (shop.path / "stars" / "half.py").unlink()
    before = {file: file.stat().st_mtime_ns for file in sorted((shop.path / ".tidemill").rglob("*")) if file.is_file()}
    head = stores.ledger.head().seq
    found = reproduce(stores, "for_you#1", here=True)
    assert (found.outcome, found.causes) == ("bitwise", ())
    assert found.about == "run:for_you@1"
    assert found.made == found.recorded == stores.releases.get("for_you@1").bundle
    assert not [cause for cause in found.differences if "tidemill" not in cause.says]  # it may be worked on meanwhile
    lines = stores.ledger.find(after=head)
    assert [(line.act, line.about, line.details["verdict"]) for line in lines] == [
        ("reproduce", "run:for_you@1", "bitwise")
    ]
    after = {file: file.stat().st_mtime_ns for file in sorted((shop.path / ".tidemill").rglob("*")) if file.is_file()}
    assert {file.name for file in after if before.get(file) != after[file]} <= {
        "ledger.head", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"
    }  # fmt: skip
    assert before.keys() <= after.keys()


def data_files(stores: Stores) -> list[Path]:
    """The files of the ratings that `for_you#1` learned from."""
    line = stores.ledger.find("learn")[0]
    return [Path(path) for path in stores.lake.view(publication=line.details["publication"]).paths("ratings")]


@pytest.mark.slow
def test_a_release_and_one_learned_later_come_out_too(shop: Project) -> None:
    stores, _ = shop.open()
    found = reproduce(stores, "for_you@2", here=True)
    assert (found.about, found.outcome, found.holds) == ("release:for_you@2", "bitwise", True)


@pytest.mark.slow
def test_a_release_that_was_refreshed_by_counting_is_what_learning_leaves(project: Project) -> None:
    settled(project)
    mill = project.path / "mill.py"
    mill.write_text(mill.read_text().replace("    learn=tm", '    refresh="1 day",\n    learn=tm'))
    project.write("reviews.csv.gz", daily(30, per_day=20, users=60, items=15))
    project.run(LAST, backfill=True)
    stores, graph = project.open()
    first = train(stores, graph, "for_you").release
    stores.releases.promote(first.name)
    project.write("reviews-more.csv", daily(1, per_day=20, users=70, first=LAST + timedelta(days=1)))
    assert project.run(LAST + timedelta(days=1)).refreshed == ["for_you@2"]
    stores, _ = project.open()
    assert stores.releases.get("for_you@2").bundle != first.bundle
    found = reproduce(stores, "for_you@2", here=True)
    assert found.outcome == "bitwise"
    assert "it was refreshed from counts" in found.differences[0].says


def test_a_changed_row_is_named_by_its_file(shop: Project) -> None:
    stores, _ = shop.open()
    file = data_files(stores)[0]
    rows = pq.read_table(file)
    place = rows.column_names.index("item_id")
    items = rows["item_id"].to_pylist()
    other = next(item for item in items if item != items[0])  # the order of the rows depends on the project's keys
    changed = rows.set_column(place, rows.schema.field("item_id"), pa.array([other, *items[1:]], pa.string()))
    assert not changed.equals(rows)
    pq.write_table(changed, file)
    found = reproduce(shop.open()[0], "for_you#1", here=True)
    assert (found.outcome, found.made) == ("no", "")
    assert [cause.what for cause in found.causes] == ["data"]
    assert "table ratings version" in found.says
    assert "has changed rows" in found.says
    assert file.name in found.says
    assert str(shop.path) not in found.says


def test_a_changed_value_of_the_same_size_is_found_by_its_hash(shop: Project) -> None:
    stores, _ = shop.open()
    file = data_files(stores)[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(bytes(content))
    found = reproduce(shop.open()[0], "for_you#1", here=True)
    assert (found.outcome, [cause.what for cause in found.causes]) == ("no", ["data"])
    assert "differs from what was written" in found.says


def test_a_missing_table_version_is_named(shop: Project) -> None:
    stores, _ = shop.open()
    run = stores.runs.read("for_you#1")
    version = run.data["ratings"]
    files = data_files(stores)
    for file in files:
        file.unlink()
    found = reproduce(shop.open()[0], "for_you#1", here=True)
    assert found.says.startswith(f"not reproduced: table ratings version {version} is missing")
    assert len(found.causes) == len(files)
    line = stores.ledger.last("reproduce", "run:for_you@1")
    assert line is not None
    assert line.details["verdict"] == "no"
    manifest = next((shop.path / ".tidemill/lake/_tidemill/manifests/ratings").glob(f"{version}.json"))
    manifest.unlink()
    found = reproduce(shop.open()[0], "for_you#1", here=True)
    assert f"table ratings version {version} is missing: the manifest" in found.says


def test_changed_code_is_named_by_its_file(shop: Project) -> None:
    stores, _ = shop.open()
    key = stores.runs.read("for_you#1").artefacts["code"].rpartition("@")[2]
    file = Path(stores.blobs.folder(f"code:{key}")) / "stars" / "half.py"
    assert file.read_text() == HELPER
    file.chmod(0o600)
    file.write_text(HELPER.replace("/ 2", "/ 3"))
    found = reproduce(stores, "for_you#1", here=True)
    assert (found.outcome, [cause.what for cause in found.causes]) == ("no", ["code"])
    assert "stars/half.py" in found.says


def recorded(stores: Stores, name: str) -> EnvironmentLock:
    return read_environment(stores.blobs, stores.runs.read(name).artefacts["environment"].rpartition("@")[2])


def record_numpy(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the environment of `for_you#1` have been recorded with an older numpy, and give the version of now."""
    lock = recorded(stores, "for_you#1")
    older = {**lock.installed, "numpy": InstalledLibrary(version="1.26.4", files="", needed=True)}
    changed = msgspec.structs.replace(lock, installed=older)
    monkeypatch.setattr(sys.modules["tidemill.loop.reproduce.reproduce"], "read_environment", lambda *_: changed)
    return lock.installed["numpy"].version


@pytest.mark.slow
def test_another_library_version_is_named_beside_a_bundle_that_is_the_same(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, _ = shop.open()
    here = record_numpy(stores, monkeypatch)
    found = reproduce(stores, "for_you#1", here=True)
    assert found.outcome == "bitwise"
    assert f"numpy: recorded 1.26.4, here {here}" in [cause.says for cause in found.differences]


def test_another_library_version_is_the_cause_of_another_bundle(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_an_older_library_would(events: Any, spec: Any, **more: Any) -> Any:
        found = fit(events, msgspec.structs.replace(spec, neighbours=2), **more)
        return replace(found, parameters=spec.settled().settings())

    fit = recommender_training.train_recommender
    settled(shop, KNN.replace("neighbours=20", "neighbours=19"))
    stores, graph = shop.open()
    monkeypatch.setattr(recommender_training, "train_recommender", as_an_older_library_would)
    assert train(stores, graph, "for_you").run == "for_you#3"
    lock = recorded(stores, "for_you#3")
    older = {**lock.installed, "numpy": InstalledLibrary(version="1.26.4", files="", needed=True)}
    changed = msgspec.structs.replace(lock, installed=older)
    monkeypatch.setattr(sys.modules["tidemill.loop.reproduce.reproduce"], "read_environment", lambda *_: changed)
    found = reproduce(stores, "for_you#3", here=True)
    assert found.outcome == "no"
    assert found.says.startswith("not reproduced: numpy: recorded 1.26.4, here ")
    assert "lists of 20 items of users differ" in found.says
    assert found.answers == 61
    assert found.largest is not None
    assert found.largest > 1e-6
    assert found.made not in ("", found.recorded)


def test_what_left_no_bundle_cannot_be_reproduced(shop: Project) -> None:
    stores, _ = shop.open()
    with stores.runs.begin("for_you", "evaluate"):
        pass
    with pytest.raises(UsageError, match="has no bundle"):
        reproduce(stores, "for_you#3", here=True)


def test_code_and_environment_are_kept_once_and_name_nobody(shop: Project) -> None:
    stores, _ = shop.open()
    one, two = stores.runs.read("for_you#1"), stores.runs.read("for_you#2")
    assert one.artefacts["code"] == two.artefacts["code"]
    assert stores.blobs.keys("code:") == ["code:" + one.artefacts["code"].rpartition("@")[2]]
    folder = Path(stores.blobs.folder(stores.blobs.keys("code:")[0]))
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*.py")}
    assert names == {"mill.py", "stars/__init__.py", "stars/half.py"}  # and not the project's tests or notebooks
    for key in stores.blobs.keys("environment:"):
        text = (Path(stores.blobs.folder(key)) / "environment.json").read_text()
        assert str(Path.home()) not in text
        assert sys.prefix not in text
        assert str(shop.path) not in text


@pytest.mark.slow
def test_one_that_is_killed_leaves_no_line_and_no_process(shop: Project) -> None:
    stores, _ = shop.open()
    head = stores.ledger.head().seq
    place = shop.path.parent / "temporary"
    place.mkdir()
    words = [
        str(Path(sys.executable).with_name("tidemill")),
        "reproduce",
        "for_you#1",
        "--here",
        "--project",
        str(shop.path),
    ]
    child = subprocess.Popen(words, env={**os.environ, "TMPDIR": str(place)})
    deadline = time.monotonic() + 60
    try:
        while not any(running_in(left) for left in place.glob(f"{PLACE}*")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    (left,) = place.glob(f"{PLACE}*")
    deadline = time.monotonic() + 60
    while running_in(left):
        assert time.monotonic() < deadline, "its process goes on alone"
        time.sleep(0.05)
    assert shop.open()[0].ledger.head().seq == head


def running_in(folder: Path) -> list[str]:
    """The processes whose working folder this is."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if place.readlink() == folder:
                found.append(place.parent.name)
        except OSError:  # ended just now, or somebody else's
            continue
    return found
