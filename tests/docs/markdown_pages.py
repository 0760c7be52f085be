"""The project's pages as the tests read them: their blocks in order, their links, and the commands that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sybil import Document
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).resolve().parent.parent.parent
#: What is written by hand; `docs/reference` is made from the code and has tests of its own.
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
_LANGUAGES = ("python", "toml", "console", "sh", "json", "http", "text", "pycon")
_FILE = re.compile(r"#\s*([\w./-]+\.(?:py|toml))\b")
_SPAN = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line on which the text starts."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is the content of, where its first line names one: `# mill.py`."""
        match = _FILE.match(self.text)
        return match[1] if match else None

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Of a console block: each command after `$ `, with the output that is shown below it."""
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif line.startswith("> ") and found and found[-1][0].endswith("\\"):
                found[-1] = (f"{found[-1][0]}\n{line[2:]}", "")
            elif found:
                found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        return found


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    parsers = [CodeBlockParser(language, lambda _: None) for language in _LANGUAGES]
    document = Document.parse(str(page), *parsers)
    found = []
    for region in document:
        text = str(region.parsed)
        line = document.text.count("\n", 0, region.region.start) + 2
        found.append((region.region.start, Block(_language(document.text, region.region.start), text, line)))
    return [block for _, block in sorted(found, key=lambda entry: entry[0])]


def _language(text: str, start: int) -> str:
    return text[start:].lstrip("`~ ").split("\n", 1)[0].strip()


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def spans(page: Path) -> list[str]:
    """What stands in backticks in the prose of a page; a table's `\\|` is a plain bar."""
    return [span.replace("\\|", "|") for span in _SPAN.findall(prose(page))]


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures."""
    return [first or second for first, second in _LINK.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+\s+(.*?)\s*$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-1")
    return found


def commands_in(page: Path) -> Iterator[str]:
    """Every call of `tidemill` that a page shows, in blocks and in the running text."""
    for block in blocks(page):
        if block.language == "console":
            yield from (command for command, _ in block.commands if command.startswith("tidemill"))
        elif block.language == "sh":
            yield from (line.strip() for line in block.text.splitlines() if line.startswith("tidemill"))
    yield from (span for span in spans(page) if re.match(r"tidemill [a-z-]", span))
