"""What a first run costs for each of many small files: over fifty days, or each of a day of its own.

    python benchmarks/many_files.py [FILES,FILES,…]

The last column is the power of the files with which the CPU time rises between the last two columns: 1 is linear.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from math import log
from pathlib import Path

from history import MILL, TIDEMILL, cpu_of

FIRST = date(2010, 1, 1)
ROWS = 12


def write_files(project: Path, n_files: int, days: int) -> None:
    """Files of twelve reviews each, spread over the days."""
    for number in range(n_files):
        day = FIRST + timedelta(days=number * days // n_files)
        noon = int(datetime.combine(day, datetime.min.time(), UTC).timestamp()) + 43_200
        rows = (f"i{(n * 5 + number) % 40},u{(n * 7 + number) % 300},{1 + n % 5}.0,{noon + n}\n" for n in range(ROWS))
        (project / "data" / f"reviews-{number:06d}.csv").write_text("".join(rows))


def first_run(n_files: int, days: int) -> float:
    """CPU seconds of the first run of a new project."""
    place = Path(tempfile.mkdtemp(prefix="tidemill-bench-"))
    project = place / "history"
    try:
        (project / "data").mkdir(parents=True)
        (project / "mill.py").write_text(MILL)
        (project / "tidemill.toml").write_text(
            f'[laptop]\nkeys = "{place / "keys"}"\n[laptop.sources]\n'
            'reviews = "file:data?columns=item_id,user_id,rating,reviewed_at:unix_s"\n'
        )
        write_files(project, n_files, days)
        return cpu_of(TIDEMILL, "run", "--until", str(FIRST + timedelta(days=days - 1)), at=project)
    finally:
        shutil.rmtree(place)


def main(counts: Sequence[int]) -> None:
    print(f"{'CPU ms a file':<16}" + "".join(f"{n:>10,}" for n in counts) + f"{'power':>8}", flush=True)
    for name, days, fewest in (("50 days", lambda _: 50, 50), ("a file a day", lambda n: n, 1)):
        start = first_run(fewest, fewest)
        spent = [max(first_run(n, days(n)) - start, 1e-3) for n in counts]  # of few files, less than the noise
        power = log(spent[-1] / spent[-2]) / log((counts[-1] - fewest) / (counts[-2] - fewest))
        each = "".join(f"{1000 * cpu_s / (n - fewest):10.1f}" for cpu_s, n in zip(spent, counts, strict=True))
        print(f"{name:<16}{each}{power:8.2f}", flush=True)


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1].split(",")] if len(sys.argv) > 1 else [250, 1_000, 4_000])
