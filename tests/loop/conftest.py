"""The project fixture of this room."""

from __future__ import annotations

from conftest_loop import project

__all__ = ["project"]
