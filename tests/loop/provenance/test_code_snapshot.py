"""The project's code is kept as far as mill.py reaches, and once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from tidemill.backends.folder_blobs import FolderBlobs
from tidemill.core.errors import BundleCorrupt, BundleRefused
from tidemill.loop.provenance.code_snapshot import keep_changes, keep_code, kept_code, project_sources, write_code


def write(project: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(
        tmp_path / "project",
        {
            "mill.py": "import numpy\nimport prices\nfrom shop.rules import keep\nfrom shop import taxes as t\n",
            "prices.py": "def f():\n    import lazily\n    from importlib import import_module\n"
            "    import_module('by_name')\n",
            "lazily.py": "",
            "by_name.py": "",
            "shop/__init__.py": "",
            "shop/rules.py": "from . import deep\nfrom .deep import well\nkeep = 1\n",
            "shop/taxes.py": "from .. import nothing\n",
            "shop/deep/__init__.py": "",
            "shop/deep/well.py": "",
            "shop/unused.py": "",
            "unused.py": "",
            "numpy_like.py": "",
            "tests/test_mill.py": "",
            ".venv/lib/site-packages/prices.py": "",
        },
    )


def test_every_file_that_an_import_leads_to_and_no_other(project: Path) -> None:
    assert list(project_sources(project)) == [
        "by_name.py",
        "lazily.py",
        "mill.py",
        "prices.py",
        "shop/__init__.py",
        "shop/deep/__init__.py",
        "shop/deep/well.py",
        "shop/rules.py",
        "shop/taxes.py",
    ]


def test_a_ring_of_imports_ends(tmp_path: Path) -> None:
    write(tmp_path, {"mill.py": "import one", "one.py": "import two", "two.py": "import one, mill"})
    assert list(project_sources(tmp_path)) == ["mill.py", "one.py", "two.py"]


def test_the_same_code_is_kept_once_and_comes_back_byte_for_byte(project: Path, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    first = keep_code(blobs, project)
    (project / "unused.py").write_text("changed = True\n")
    assert keep_code(blobs, project) == first
    assert blobs.keys("code:") == [f"code:{first}"]
    (project / "shop" / "rules.py").write_text("keep = 2\n")
    second = keep_code(blobs, project)
    assert second != first
    write_code(kept_code(blobs, second), tmp_path / "again")
    assert project_sources(tmp_path / "again") == project_sources(project)
    (Path(blobs.folder(f"code:{first}")) / "prices.py").write_text("")
    with pytest.raises(BundleCorrupt, match=r"prices\.py"):
        kept_code(blobs, first)


def test_a_file_that_is_too_large_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "prices.py").write_text("# " + "x" * 1_100_000)
    with pytest.raises(BundleRefused, match=r"prices\.py"):
        keep_code(FolderBlobs(tmp_path / "blobs"), project)


def test_what_differs_from_the_commit_is_kept_of_the_code_alone(project: Path, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        return subprocess.run(
            ["git", *who, *words], cwd=project, check=True, capture_output=True, text=True
        ).stdout.strip()

    blobs = FolderBlobs(tmp_path / "blobs")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert keep_changes(blobs, project, commit) == ""
    (project / "prices.py").write_text("VALUE = 3\n")
    (project / "unused.py").write_text("PASSWORD = 'x'\n")
    kept = keep_changes(blobs, project, commit)
    told = msgspec.json.decode((Path(blobs.folder(f"changes:{kept}")) / "changes.json").read_bytes())
    assert told["commit"] == commit
    assert "+VALUE = 3" in told["diff"]
    assert "PASSWORD" not in told["diff"]
