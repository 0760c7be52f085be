"""Names: each class name occurs once, names are nouns, and a module's first line names its concept."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from markdown_pages import ROOT

PACKAGE = ROOT / "src" / "tidemill"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)
MODULES = [path for path in FILES if path.name != "__init__.py"]
#: Past participles that do not end in `ed`: a class of that name says what was done, and not what it is.
_IRREGULAR = re.compile(
    "Begun|Brought|Built|Chosen|Done|Drawn|Found|Given|Gone|Held|Hidden|Kept|Known|Learnt|Left|Lost|Made|Met|Paid|Said|"
    "Seen|Sent|Shown|Spent|Spoken|Taken|Taught|Thought|Told|Understood|Won|Written"
)
#: Nouns that look like participles.
_NOUNS = {"Seed", "Speed", "Need", "Feed"}
_IDIOM = re.compile(
    r"(What|Whether|Which|How|Who|Whom|Whose|When|Where|Why|Very|Somebody|Nobody|Anything|Whatever|Did|Do|Does)\b"
)


def classes(tree: ast.Module) -> list[ast.ClassDef]:
    """Every class of a module, nested ones too."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def is_participle(name: str) -> bool:
    """Whether the last word of a class name is a past participle."""
    words = re.findall(r"[A-Z][a-z0-9]*", name)
    last = words[-1] if words else name
    return last not in _NOUNS and (_IRREGULAR.fullmatch(last) is not None or re.search(r"[a-z]ed$", last) is not None)


def _is_error(node: ast.ClassDef, errors: set[str]) -> bool:
    return any(isinstance(base, ast.Name) and base.id in errors for base in node.bases)


def roots(text: str) -> set[str]:
    """The first four letters of each word."""
    return {word[:4].lower() for word in re.findall(r"[A-Za-z]+", text)}


def names_its_concept(name: str, line: str) -> bool:
    """Whether a module's first line shares a word with its file name and is no question.

    >>> names_its_concept("merge", "Merging of arriving rows by key.")
    True
    """
    return _IDIOM.match(line) is None and bool(roots(name.removesuffix("_command").replace("_", " ")) & roots(line))


def test_class_names_are_unique_in_the_package() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in classes(ast.parse(path.read_text("utf-8"))):
            found[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_no_class_is_named_by_a_past_participle() -> None:
    """Errors are named for what happened (`LeaseTaken`), all else for what it is."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
    errors = {node.name for node in classes(trees[PACKAGE / "core" / "errors.py"])} | {"Exception"}
    bad = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path, tree in trees.items()
        for node in classes(tree)
        if is_participle(node.name) and node.name not in errors and not _is_error(node, errors)
    ]
    assert bad == []


def test_participles_are_caught() -> None:
    assert all(map(is_participle, ("Asked", "_Held", "Told", "AutoMade", "Settled", "Learnt")))
    assert not any(map(is_participle, ("Run", "Need", "PublishedVersion", "HeldIncrement", "Feed")))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_first_line_of_a_module_names_its_concept(path: Path) -> None:
    line = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
    assert names_its_concept(path.stem, line), f"{path.stem}: {line}"


def test_a_first_line_that_names_nothing_is_caught() -> None:
    assert names_its_concept("merge", "Merging of arriving rows by key: each is new, a repeat or conflicting.")
    assert not names_its_concept("merge", "What becomes of arriving rows whose keys may be known.")
    assert not names_its_concept("ease", "Item-to-item weights by ridge regression.")


def test_no_public_name_of_a_package_is_a_module_of_it() -> None:
    """Importing the module would hide the lazily loaded name."""
    bad = {}
    for door in PACKAGE.rglob("__init__.py"):
        public = set(re.findall(r"import (\w+) as \1", door.read_text("utf-8")))
        beside = {path.stem for path in door.parent.iterdir() if path.name != "__init__.py"}
        if public & beside:
            bad[str(door.parent.relative_to(PACKAGE))] = public & beside
    assert bad == {}


def test_no_folder_is_too_wide_to_read() -> None:
    """About twenty files a folder; the commands are one file each."""
    wide = {
        str(folder.relative_to(PACKAGE)): n
        for folder in {path.parent for path in FILES}
        if (n := sum(path.parent == folder for path in FILES)) > 24 and folder.name != "commands"
    }
    assert wide == {}
