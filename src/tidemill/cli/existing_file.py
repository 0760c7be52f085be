"""A file as an argument of a command: a missing one is answered with the nearest name in its folder."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill.core.errors import near_file


class ExistingFile(click.ParamType[Path]):
    """The path of a file that exists."""

    name = "file"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if not path.is_file():
            self.fail(f"There is no file {str(path)!r}{near_file(path)}.", param, ctx)
        return path
