"""`tidemill features` of a project that has none."""

from __future__ import annotations

import io

from rich.console import Console

from tidemill.cli.commands.features_command import show, show_views


def test_no_view_is_said_with_what_declares_one() -> None:
    for way in (show, show_views):
        out = io.StringIO()
        way(Console(file=out, width=200), ())
        assert out.getvalue() == "mill.py has no feature views. Declare one with: @mill.features(entity=…)\n"
