"""An outsider's package with one learner, the one that docs/learners.md shows, put on a path as an installer would."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def block(first_line: str) -> str:
    """The code block of docs/learners.md that begins with this line."""
    page = (ROOT / "docs" / "learners.md").read_text("utf-8")
    (found,) = [text for text in re.findall(r"```\w+\n(.*?)```", page, re.DOTALL) if text.startswith(first_line)]
    return str(found)


def put_package(folder: Path, *, name: str = "jaccard-for-tidemill", version: str = "1.0") -> Path:
    """One module and its metadata in `folder`, which belongs on `sys.path`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jaccard.py").write_text(block("# jaccard.py"), "utf-8")
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    group, line = block("[project.entry-points.").strip().splitlines()
    assert group == '[project.entry-points."tidemill.learners"]'
    (about / "entry_points.txt").write_text("[tidemill.learners]\n" + line.replace('"', "") + "\n")
    (about / "top_level.txt").write_text("jaccard\n")
    (about / "RECORD").write_text(f"jaccard.py,,\n{about.name}/METADATA,,\n")
    return folder
