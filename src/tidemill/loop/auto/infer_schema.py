"""Schema inference: a file of rows, and the names of its columns in a generated mill.py."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tidemill.sources.files.column_kinds import FileColumn
from tidemill.sources.files.file_url import parse_file_url
from tidemill.sources.files.table_file import TableFile, inspect_table

#: Words in a name that suggest that a column identifies people.
_PEOPLE = re.compile(r"customer|user|person|client|patient|member|employee|subscriber|passenger|driver", re.IGNORECASE)
#: Names with another meaning in the generated mill.py, or in the class of its rows.
RESERVED = frozenset({"bool", "datetime", "float", "int", "mill", "rows", "str", "tm", "Row"})


def infer_schema(path: Path, names: Sequence[str] = (), options: str = "") -> TableFile:
    """A file of rows, its columns under names for mill.py.

    `names` are those of a CSV file without a header, `options` those of a `file:` URL. Raises as `inspect_table`.
    """
    found = inspect_table(path, names, parse_file_url(f"file:?{options}") if options else None)
    called = _called([column.source for column in found.columns])
    columns = tuple(replace(column, name=name) for column, name in zip(found.columns, called, strict=True))
    return replace(found, columns=columns)


def names_people(column: FileColumn) -> bool:
    """Whether a column looks like the identifier of a person."""
    return column.kind == "str" and column.unique and bool(_PEOPLE.search(column.name))


def _called(sources: Sequence[str]) -> list[str]:
    """Valid and distinct Python names for the columns."""
    found: list[str] = []
    for source in sources:
        # Python reads m² as m2, so the column gets that name at once
        plain = unicodedata.normalize("NFKC", source.strip())
        name = re.sub("_+", "_", "".join(letter if f"a{letter}".isidentifier() else "_" for letter in plain)).strip("_")
        name = name or "column"
        if not name.isidentifier() or keyword.iskeyword(name) or name in RESERVED:
            name = f"c_{name}"
        while name in found:
            name += "_"
        found.append(name)
    return found
