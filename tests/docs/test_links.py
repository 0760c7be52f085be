"""Links between pages lead somewhere, and every page can be reached from the README."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_pages import PAGES, ROOT, anchors, links


def broken(page: Path, target: str) -> str | None:
    """Why a link leads nowhere; `None` where it does, or leads out of the project."""
    if target.startswith(("http://", "https://", "mailto:")):
        return None
    path, _, anchor = target.partition("#")
    place = (page.parent / path).resolve() if path else page
    if not place.exists():
        return f"{page.name}: {target} is not there"
    if not place.is_relative_to(ROOT):
        return f"{page.name}: {target} lies outside of the project"
    if anchor and place.suffix == ".md" and anchor not in anchors(place):
        return f"{page.name}: {place.name} has no heading for #{anchor}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [why for target in links(page) if (why := broken(page, target))] == []


def test_a_wrong_link_is_caught(tmp_path: Path) -> None:
    page = ROOT / "docs" / "how-it-works.md"
    assert broken(page, "no-such-page.md")
    assert broken(page, "how-it-works.md#no-such-heading")
    assert broken(page, "../../elsewhere")
    assert broken(page, "how-it-works.md") is None


def test_every_page_is_reached_from_the_readme() -> None:
    todo, reached = [ROOT / "README.md"], set()
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        local = [target.partition("#")[0] for target in links(page) if "://" not in target]
        todo += [(page.parent / target).resolve() for target in local if target]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []
