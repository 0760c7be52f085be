"""An outsider's package, as docs/learners.md or docs/families.md shows it, put on a path as an installer would."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def block(page: str, first_line: str) -> str:
    """The code block of a page of the docs that begins with this line."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    (found,) = [text for text in re.findall(r"```\w+\n(.*?)```", text, re.DOTALL) if text.startswith(first_line)]
    return str(found)


def put_package(
    folder: Path, *, page: str = "learners.md", module: str = "jaccard", name: str = "", version: str = "1.0"
) -> Path:
    """One module and its metadata in `folder`, which belongs on `sys.path`."""
    name = name or f"{module}-for-tidemill"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(block(page, f"# {module}.py"), "utf-8")
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    group, line = block(page, "[project.entry-points.").strip().splitlines()
    found = re.fullmatch(r'\[project\.entry-points\."(tidemill\.\w+)"\]', group)
    assert found
    (about / "entry_points.txt").write_text(f"[{found[1]}]\n" + line.replace('"', "") + "\n")
    (about / "top_level.txt").write_text(f"{module}\n")
    (about / "RECORD").write_text(f"{module}.py,,\n{about.name}/METADATA,,\n")
    return folder
