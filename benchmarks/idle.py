"""What an idle server costs: CPU milliseconds a second of the whole process tree, with one recommender and no request.

    python benchmarks/idle.py [--seconds 30] [--workers 2]

The server of a new project (supervisor, workers, log writer, console) is started and left alone. Printed next to the
budget of 5 ms a second; web servers without a model take 2 to 6.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TIDEMILL = str(Path(sys.executable).with_name("tidemill"))
BUDGET_MS = 5.0
#: The server's start, the first look of each process and the console's first fold are not idling.
SETTLE_S = 8.0
SETTINGS = """[laptop]
keys = "{keys}"
search = "exact"
[laptop.serve]
port = 18471
console_port = 18472
workers = {workers}
[laptop.sources]
reviews = "shop:reviews?customers=150&items=60&days=90"
items = "shop:items?customers=150&items=60&days=90"
"""


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_ms(pid: int) -> dict[str, float]:
    """CPU milliseconds of each process of the tree so far, by its command's last words."""
    spent = {}
    for process in tree(pid):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
        name = next((word.rpartition(".")[2] for word in words if word.startswith("tidemill.")), "supervisor")
        spent[f"{name} {process}"] = (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-idle-") as place:
        project = Path(place) / "corner"
        subprocess.run([TIDEMILL, "init", "corner"], cwd=place, check=True, capture_output=True)
        (project / "tidemill.toml").write_text(SETTINGS.format(keys=Path(place) / "keys", workers=asked.workers))
        for words in ("run --backfill --until 2026-03-20", "train for_you", "promote for_you@1"):
            subprocess.run([TIDEMILL, *words.split()], cwd=project, check=True, capture_output=True)
        with subprocess.Popen([TIDEMILL, "serve"], cwd=project, stderr=subprocess.DEVNULL) as server:
            try:
                while True:
                    try:
                        urllib.request.urlopen("http://127.0.0.1:18471/readyz", timeout=2).close()
                        break
                    except OSError:
                        time.sleep(0.2)
                time.sleep(SETTLE_S)
                before, began = cpu_ms(server.pid), time.monotonic()
                time.sleep(asked.seconds)
                after, took = cpu_ms(server.pid), time.monotonic() - began
            finally:
                server.terminate()
    for name, value in after.items():
        print(f"{name:32}{(value - before.get(name, 0.0)) / took:8.2f} ms/s")
    total = (sum(after.values()) - sum(before.values())) / took
    print(f"{'all':32}{total:8.2f} ms/s; {total / BUDGET_MS:.2f} of the budget of {BUDGET_MS:g}")


if __name__ == "__main__":
    main()
