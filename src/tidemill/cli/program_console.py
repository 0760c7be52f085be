"""Console of a command: prints the commands in its messages as they can be typed."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from tidemill.cli.program import with_program


class ProgramConsole(Console):
    """A console that prints commands as they can be typed; see `program`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)  # `a:b:` is a name of the project, and no pictogram

    def print(self, *objects: Any, **options: Any) -> None:
        """See `rich.console.Console.print`."""
        super().print(*(with_program(one) if isinstance(one, str) else one for one in objects), **options)
