"""What the release of format 1 left behind: run by that release's own code, never again by a later one.

    PYTHONPATH=tests/lake python make.py FOLDER

A lake whose run was killed in its second publication, between the commits of two tables.
"""

from __future__ import annotations

import sys

from play import main

if __name__ == "__main__":
    main(sys.argv[1], "publish.commit:4")
