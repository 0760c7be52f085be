"""The project speaks of itself alone: no file of it names the place that it was made in."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from markdown_pages import ROOT

# With a tilde in each, so that this file does not hold them itself.
_PATTERNS = (
    r"/w~ork/(?:main|shared)\b",
    r"/t~mp/w/",
    r"/r~oot/",
    r"\b(?:D~ESIGN|S~TYLE|P~RODUCT|F~ACTS|F~AULTS|A~TTACKS|S~PEC)\.md\b",
    r"--index-~url\s+http",
    r"(?i)\bc~laude\b|\bant~hropic\b|\bsub~agents?\b",
    r"(?i)\bthis w~orkplace\b",
    r"(?i)\bi~ssue\s+#?\d+\b",
)
_FORBIDDEN = [re.compile(pattern.replace("~", "")) for pattern in _PATTERNS]
_OWN = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis", ".pytest_cache", "node_modules"}


def _files() -> list[Path]:
    """What is, or would be, committed."""
    if shutil.which("git") and (ROOT / ".git").exists():
        asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(asked, cwd=ROOT, capture_output=True, check=True).stdout
        paths = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not _OWN & set(path.relative_to(ROOT).parts)]
    return [path for path in paths if path.is_file()]


def found_in(text: str) -> list[str]:
    """The forbidden words in a text."""
    return [match[0] for pattern in _FORBIDDEN if (match := pattern.search(text))]


def test_no_file_names_the_place_it_was_made_in() -> None:
    files = _files()
    assert len(files) > 50
    bad = {
        str(path.relative_to(ROOT)): words
        for path in files
        if (words := found_in(str(path.relative_to(ROOT)) + "\n" + path.read_bytes().decode("utf-8", "replace")))
    }
    assert bad == {}


def test_forbidden_words_are_caught() -> None:
    for text in ("see /w~ork/main/x", "as D~ESIGN.md says", "i~ssue 3", "I~SSUE #12", "/r~oot/.cache"):
        assert found_in(text.replace("~", "")), text
    assert found_in("../shared/data beside the checkout") == []
    assert found_in("the design of an issue tracker; a session of a user") == []
