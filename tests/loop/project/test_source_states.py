"""Source states beside the ledger: small, found by their hash, and complete after every kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from conftest_loop import FIRST, Project, daily
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.backends.folder_objects import FolderObjects
from tidemill.core.errors import CorruptFile, FormatTooNew
from tidemill.core.ledger.ledger_entry import decode_entry
from tidemill.core.source_read import SourceState
from tidemill.loop.ingest.arrivals import stream_position
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.source_states import PREFIX, SourceStates, StateRef

Bodies = list[dict[str, dict[str, int]]]
BODIES: st.SearchStrategy[Bodies] = st.lists(
    st.dictionaries(
        st.sampled_from(["files", "events"]),
        st.dictionaries(st.integers(0, 30).map(str), st.integers(0, 10**6), max_size=20),
    ),
    max_size=12,
)


def states_of(bodies: dict[str, dict[str, int]]) -> dict[str, SourceState]:
    return {kind: SourceState.from_entries(kind, 1, body) for kind, body in bodies.items()}


def files(number: int) -> dict[str, SourceState]:
    """The state after `number` files, each of about as many bytes as a real one."""
    return {"files": SourceState.from_entries("files", 1, {str(i): f"{i:0170d}" for i in range(1, number + 1)})}


@settings(max_examples=100, deadline=None)
@given(BODIES)
def test_every_state_reads_back_and_what_is_superseded_goes(
    tmp_path_factory: pytest.TempPathFactory, bodies: Bodies
) -> None:
    objects = FolderObjects(tmp_path_factory.mktemp("objects"))
    ref: StateRef | None = None
    for body in bodies:
        ref = SourceStates(objects).write("reviews", states_of(body), ref)
        assert SourceStates(objects).read("reviews", ref) == states_of(body)
        SourceStates(objects).remove_superseded("reviews", ref)
        assert SourceStates(objects).read("reviews", ref) == states_of(body)
        assert SourceStates(objects).verify("reviews", ref) == []


def test_a_state_that_grows_is_a_short_chain_and_a_day_writes_little(tmp_path: Path) -> None:
    objects, written = FolderObjects(tmp_path), 0
    states = SourceStates(objects)
    ref: StateRef | None = None
    for day in range(1, 301):
        before = set(objects.list(PREFIX))
        ref = states.write("reviews", files(day), ref)
        written += sum(len(objects.get(name)) for name in set(objects.list(PREFIX)) - before)
        states.remove_superseded("reviews", ref)
    kept = [len(objects.get(name)) for name in objects.list(PREFIX)]
    size = len(msgspec.json.encode(files(300)["files"].body))
    assert len(kept) <= 10 and sum(kept) < 2 * size, kept
    assert written < 10 * size < sum(len(msgspec.json.encode(files(day)["files"].body)) for day in range(1, 301))
    assert ref is not None and ref.entries == {"files": 300}


def test_an_unchanged_state_is_not_written_again(tmp_path: Path) -> None:
    states = SourceStates(FolderObjects(tmp_path))
    ref = states.write("reviews", files(3), None)
    assert states.write("reviews", files(3), ref) == ref


def test_a_change_of_format_alone_is_written(tmp_path: Path) -> None:
    states = SourceStates(FolderObjects(tmp_path))
    ref = states.write("pages", {"pages": SourceState.from_entries("pages", 1, {"last": 3})}, None)
    ref = states.write("pages", {"pages": SourceState.from_entries("pages", 2, {"last": 3})}, ref)
    assert states.read("pages", ref)["pages"].format == 2


@pytest.mark.parametrize("missing", [False, True])
def test_damage_is_found_by_the_hash_and_named(tmp_path: Path, missing: bool) -> None:
    states = SourceStates(FolderObjects(tmp_path))
    ref = states.write("reviews", files(40), None)
    ref = states.write("reviews", files(41), ref)
    for file in sorted(tmp_path.rglob("*.json")):
        content = file.read_bytes()
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 1
        file.unlink()
        if not missing:
            file.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=file.stem):
            states.read("reviews", ref)
        (said,) = states.verify("reviews", ref)
        assert file.stem in said and "restore this object from a backup" in said
        file.write_bytes(content)
    assert states.verify("reviews", ref) == []


def test_an_object_that_was_damaged_is_mended_by_writing_it_again(tmp_path: Path) -> None:
    states = SourceStates(FolderObjects(tmp_path))
    ref = states.write("reviews", files(3), None)
    next(tmp_path.rglob("*.json")).write_bytes(b"damaged")
    assert states.write("reviews", files(3), None) == ref and states.read("reviews", ref) == files(3)


def test_what_a_later_tidemill_has_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatTooNew, match="ledger entry"):
        StateRef.from_details({"source_state": {"format": 2, "sha256": "0" * 64}})
    assert StateRef.from_details({"increment": "{}"}) is None


# ---- in a project


def lived(project: Project, days: int = 3) -> None:
    """A file a day, each day a run."""
    for day in range(days):
        project.write(f"reviews-{day}.csv", daily(1, first=FIRST + timedelta(days=day)))
        project.run(FIRST + timedelta(days=day))


def state_objects(project: Project) -> list[str]:
    return project.open()[0].objects.list(PREFIX)


def test_ledger_lines_name_a_state_and_hold_no_list_of_files(project: Project) -> None:
    lived(project)
    stores, _ = project.open()
    lines = stores.ledger.find("publish", about="stream:reviews")
    assert [line.details["source_state"]["entries"]["files"] for line in lines] == [1, 2, 3]
    assert "files" not in lines[-1].details and "reviews-0.csv" not in str(lines[-1].details)
    assert verify_project(stores.settings, stores.clock).problems == []


def test_a_run_with_nothing_to_do_writes_nothing(project: Project) -> None:
    lived(project)
    before, seq = state_objects(project), project.open()[0].ledger.head().seq
    project.run(FIRST + timedelta(days=2))
    assert state_objects(project) == before and project.open()[0].ledger.head().seq == seq


def test_a_damaged_state_stops_the_next_run_and_a_copy_of_it_mends_it(project: Project) -> None:
    lived(project)
    stores, _ = project.open()
    name = f"{PREFIX}/reviews/{stream_position(stores.ledger, 'reviews').state.sha256}.json"  # type: ignore[union-attr]
    content = stores.objects.get(name)
    stores.objects.delete(name)
    stores.objects.put(name, content.replace(b"1", b"2"))
    assert any(name in problem for problem in verify_project(stores.settings, stores.clock).problems)
    project.write("reviews-3.csv", daily(1, first=FIRST + timedelta(days=3)))
    with pytest.raises(CorruptFile, match="was changed"):
        project.run(FIRST + timedelta(days=3))
    stores.objects.delete(name)
    stores.objects.put(name, content)
    assert project.run(FIRST + timedelta(days=3)).arrived == 12


@pytest.mark.parametrize("point", ["source_state.put", "source_state.removed", "publish.ledger", "publish.intent"])
def test_killed_around_the_state_a_rerun_gives_the_same(project: Project, point: str) -> None:
    lived(project, 2)
    project.write("reviews-2.csv", daily(1, first=FIRST + timedelta(days=2)))
    until = FIRST + timedelta(days=2)
    killed = subprocess.run(
        [str(Path(sys.executable).parent / "tidemill"), "run", "--until", str(until)],
        cwd=project.path,
        env={**os.environ, "TIDEMILL_FAILPOINT": point},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    project.run(until)
    stores, _ = project.open()
    states = stores.lake.increments("reviews")
    assert [state.increment.number for state in states] == [1, 2, 3] and verify_project(
        stores.settings, stores.clock
    ).problems == []
    assert stores.lake.view().arrow("reviews").num_rows == 36
    ref = stream_position(stores.ledger, "reviews").state
    assert ref is not None and stores.source_states.read("reviews", ref)["files"].body.keys() == {"1", "2", "3"}
    assert stores.source_states.remove_superseded("reviews", ref) == 0, "an orphan was left"


def test_a_run_with_nothing_to_do_reads_as_few_lines_after_years_as_after_a_week(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines_read() -> int:
        stores, graph = project.open()
        read: list[int] = []
        monkeypatch.setattr(
            "tidemill.core.ledger.ledger.decode_entry", lambda line: read.append(line.seq) or decode_entry(line)
        )
        run(stores, graph, until=FIRST + timedelta(days=days - 1))
        return len(read)

    days = 4
    project.write("reviews-a.csv", daily(days))
    project.run(FIRST + timedelta(days=days - 1))
    few, days = lines_read(), 12
    project.write("reviews-b.csv", daily(8, first=FIRST + timedelta(days=4)))
    project.run(FIRST + timedelta(days=days - 1))
    assert lines_read() == few > 0
