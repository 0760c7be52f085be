"""Command line: one file per command. Each calls the loop, and prints text or JSON.

Results go to stdout (`--json` for machines), progress and logs to stderr. Exit status: 0 done; 1 refused or failed,
with a code that `tidemill help CODE` explains; 2 wrong usage; 3 done, but an increment is held; 4 a verification
found problems; 130 interrupted.
"""

from __future__ import annotations

from tidemill.cli.main import main

__all__ = ["main"]
