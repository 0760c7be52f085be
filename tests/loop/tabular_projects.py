"""Small projects with a tabular model: the churn template over customers that nobody has."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from conftest_loop import Project

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import FixedClock

TODAY = datetime(2026, 11, 1, tzinfo=UTC)
#: Learns in a moment, and can be published.
QUICK = 'learn=__import__("lightgbm").LGBMClassifier(n_estimators=12, num_leaves=6, verbose=-1, n_jobs=1)'


def churn_project(tmp_path: Path, n: int = 500, *, learn: str = QUICK) -> Project:
    """The template with `n` made-up customers, and a learner in place of the template's."""
    path = tmp_path / "churn"
    write_project(path, "churn")
    change(path, "learn=tm.auto(minutes=1)", learn)
    (path / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{tmp_path / "keys"}"\nsearch = "exact"\n'
        '[laptop.sources]\ncustomers = "file:data/*.csv?header=true"\n'
    )
    made_up(path).write(path / "data" / "customers.csv", n)
    return Project(path, FixedClock(TODAY))


def change(project: Path, before: str, after: str) -> None:
    """Change mill.py in one place."""
    text = (project / "mill.py").read_text()
    assert before in text
    (project / "mill.py").write_text(text.replace(before, after))


def made_up(project: Path) -> ModuleType:
    """The template's own maker of customers."""
    spec = importlib.util.spec_from_file_location("made_up", project / "tests" / "made_up.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
