"""A project's state is its user's alone, and the project file of another user is not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import PlaceRefused
from tidemill.core.storage.durable_files import create_private_files, private_folder
from tidemill.loop.project import project as projects


def test_state_is_private_whatever_the_umask(project: Project) -> None:
    before = os.umask(0)
    try:
        project.write("reviews.csv", daily(1))
        create_private_files()  # as commands and server processes do
        project.run(FIRST)
        state = project.path / ".tidemill"
        assert state.stat().st_mode & 0o777 == 0o700
        modes = {str(file.relative_to(state)): file.stat().st_mode & 0o077 for file in state.rglob("*")}
        assert modes
        assert {name: oct(mode) for name, mode in modes.items() if mode} == {}
        os.umask(0)
        project.open()
        assert os.umask(0) == 0, "opening a project in a notebook changes nothing for other files"
    finally:
        os.umask(before)


def test_state_that_others_may_read_is_made_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "state").mkdir(mode=0o755)
        private_folder(tmp_path / "state")
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_project_file_of_somebody_else_is_refused_until_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "mill.py").write_text("import tidemill as tm\n\nmill = tm.Mill('theirs')\n")
    os.chown(folder / "mill.py", 4242, 4242)
    with pytest.raises(PlaceRefused, match="belongs to another user") as refused:
        projects.load_mill(folder)
    command = str(refused.value.tip).partition(": ")[2]
    assert os.system(command) == 0
    assert projects.load_mill(folder).name == "theirs"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_project_in_the_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "mill.py").write_text("raise SystemExit('ran')\n")
    os.chown(folder, 4242, 4242)
    with pytest.raises(PlaceRefused):
        projects.load_mill(folder)
