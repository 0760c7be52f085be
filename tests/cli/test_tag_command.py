"""`tidemill tag`: tags of a run in a project, and `compare --tag`, which lists the runs that have it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from tidemill.cli.commands.init_command import write_project
from tidemill.cli.main import cli
from tidemill.core import settings
from tidemill.core.clock import SystemClock
from tidemill.core.errors import UnknownName
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores


def tidemill(project: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--project", str(project)])


def test_runs_are_tagged_and_found_by_their_tags(tmp_path: Path) -> None:
    project = tmp_path / "corner"
    write_project(project, "shop")
    (project / "tidemill.toml").write_text(f'[laptop]\nkeys = "{tmp_path / "keys"}"\nsearch = "exact"\n')
    stores = open_stores(project, settings.load(project), SystemClock(), name=load_mill(project).name)
    for _ in range(2):
        with stores.runs.begin("for_you", "train"):
            pass
    assert tidemill(project, "tag", "for_you#1").output == "for_you#1: no tags\n"
    assert tidemill(project, "tag", "for_you#1", "good", "x").output == "for_you#1: good, x\n"
    done = tidemill(project, "tag", "for_you#1", "--remove", "x", "--json")
    assert json.loads(done.stdout) == {"run": "for_you#1", "tags": ["good"]}
    listed = json.loads(tidemill(project, "compare", "--tag", "good", "--json").stdout)
    assert [(run["number"], run["tags"]) for run in listed] == [(1, ["good"])]
    failed = tidemill(project, "tag", "for_you#1", "--remove", "god")
    assert isinstance(failed.exception, UnknownName)
    assert "did you mean `good`" in str(failed.exception)
