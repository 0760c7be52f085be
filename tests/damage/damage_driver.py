"""Damage driver: flips, cuts, zeroes and removes files of a small project's state, and uses the project after each.

    python tests/damage/damage_driver.py --damages 300 --seed 1

Each damage is made to a fresh copy. Then come `verify`, `status`, a server start with questions, a run that brings in a
new day, a second server start with the same questions, and `verify` and `status` again. The table has a row for each
kind of file. The exit status is 1 if there is a finding: a wrong answer that nothing tells, an error without a code of
its own, a stop of what does not need the damaged file, or a damage that nothing sees.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import msgspec

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("loop", "serving", "damage")]

from conftest_loop import Project
from small_mill import NEXT, ask, build, copy, killed

from tidemill.core.errors import TidemillError
from tidemill.core.settings import load
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.state.project_status import status

T = TypeVar("T")
HOWS = ("flip", "cut", "zero", "remove")
#: Commands that a damage may stop, until the file is restored from a backup.
RUN, SERVE, ALL = "run", "serve", "run serve verify status"


class Kind(msgspec.Struct, frozen=True):
    """A kind of file: its name, and the patterns of its paths below `.tidemill`."""

    name: str
    patterns: tuple[str, ...]
    #: What makes it whole again.
    remedy: str
    #: The commands that cannot go on without it.
    needs: str = ""
    #: Damages that `verify` need not see: nothing depends on what is lost, or nothing else says that it was there.
    unseen: tuple[str, ...] = ()


#: Every file is of the first kind that fits.
KINDS = (
    Kind("identity", ("mill.json",), "backup", ALL),
    Kind("key", ("../../keys/*",), "backup", ALL, unseen=("flip",)),  # upper case in hexadecimal
    Kind("ledger", ("ledger.sqlite",), "backup", f"{RUN} status", unseen=("flip",)),  # in the free space of a page
    Kind("ledger's log", ("ledger.sqlite-wal",), "backup", RUN),
    Kind("index of a database's log", ("*.sqlite-shm",), "SQLite", unseen=HOWS),  # SQLite makes it again
    Kind("ledger's head", ("ledger.head",), "run"),
    Kind(
        "checkpoint of the ledger", ("checkpoints/*",), "backup", unseen=("flip", "remove")
    ),  # upper case in hexadecimal
    Kind("vault", ("vault.sqlite",), "backup", RUN, unseen=("flip",)),
    Kind(
        "vault's log", ("vault.sqlite-wal",), "backup", unseen=HOWS
    ),  # the next run misses the keys of the people in it
    Kind("commit of a table", ("lake/*/_delta_log/*.json",), "backup", RUN),
    Kind(
        "checkpoint of a table", ("lake/*/_delta_log/*.parquet", "lake/*/_last_checkpoint"), "run", unseen=("remove",)
    ),
    Kind("manifest", ("lake/_tidemill/manifests/*",), "backup", RUN),
    Kind("source state", ("lake/_tidemill/source_states/*",), "backup", RUN),
    Kind("held rows", ("lake/_tidemill/held/*",), "backup"),
    Kind("quarantine", ("lake/_tidemill/quarantine/*",), "backup"),
    Kind("rows of a log table", ("lake/predictions/*", "lake/outcomes/*"), "backup"),
    Kind("rows of a table", ("lake/*",), "backup", RUN),
    Kind("bundle", ("blobs/bundle:*",), "backup, rollback, training", SERVE),
    Kind("shipped code", ("blobs/modules:*",), "backup, rollback, training", SERVE),
    Kind("code of a training", ("blobs/code:*",), "backup"),
    Kind("lock file of the environment", ("blobs/environment:*",), "backup"),
    Kind("metrics of each user", ("blobs/figures:*",), "backup"),
    Kind("counts of a refresh", ("learning/*",), "run"),
    Kind("fresh online rows", ("latest/fresh/data.mdb",), "run", unseen=("flip",)),  # in a page that is not used
    Kind("readers of the online store", ("latest/fresh/lock.mdb",), "LMDB", unseen=HOWS),
    Kind("online snapshot", ("latest/views/*",), "run", unseen=HOWS),  # the one before the newest has no readers
    Kind("deployment", ("serving/*/live.json",), "run, server"),
    Kind("followed deployment", ("serving/*/serving.json",), "server", unseen=("remove",)),
    Kind("deployment before", ("serving/*/before.json",), "next promotion", unseen=("remove",)),
    Kind("state of a swap", ("serving/*/state.json",), "server", unseen=("remove",)),
    Kind("kill switch", ("serving/*/switch.json",), "run, server"),
    Kind("waiting switch entries", ("serving/spool.jsonl",), "run, server"),
    Kind("streams", ("serving/streams.json",), "run, server"),
    Kind("reports for the console", ("serving/*.json", "serving/workers/*"), "run, server", unseen=HOWS),
    Kind("list of segments", ("events/*.json", "log/*.json"), "next segment", unseen=("remove",)),
    Kind(
        "posted events", ("events/*",), "run, without what is lost", unseen=("cut",)
    ),  # of one that a killed process was writing
    Kind("logged predictions", ("log/predictions/*",), "log writer, without what is lost", unseen=("cut", "remove")),
    Kind("logged outcomes", ("log/outcomes/*",), "log writer, without what is lost", unseen=("cut",)),
    Kind("lease", ("*.lock",), "its next holder", unseen=HOWS),
)


class Result(msgspec.Struct, kw_only=True):
    """What was seen after one damage."""

    kind: str
    place: str
    how: str
    #: Problems of `verify` and new items of `status`, before and after the run.
    verify: list[str] | None = None
    status: list[str] | None = None
    verify_after: list[str] | None = None
    status_after: list[str] | None = None
    #: `same`, `refused`, `other`, or `none` if no server started, before and after the run.
    serve: str = "none"
    serve_after: str = "none"
    #: New items of `status` while the server ran, before and after the run.
    while_served: list[str] = []
    while_served_after: list[str] = []
    notes: list[str] | None = None
    #: Command -> the error that it ended with: a code, or a trace.
    errors: dict[str, str] = {}
    traces: list[str] = []

    @property
    def findings(self) -> list[str]:
        """What should not have happened."""
        kind = kind_of(self.place)
        found = [f"trace: {trace}" for trace in self.traces]
        if self.serve == "other" and not (self.verify or self.status or self.while_served):
            found.append("wrong answers, and nothing tells it")
        if self.serve_after == "other" and not self._word_after:
            found.append("wrong answers after the run, and nothing tells it")
        stops = [command for command in ("verify", "status", "run") if command in self.errors]
        stops += ["serve"] if self.serve_after in ("none", "refused") else []
        found += [f"{command} stops" for command in stops if command not in kind.needs]
        seen = self.verify or self.status or self.while_served or "verify" in self.errors
        if not seen and self.how not in kind.unseen:
            found.append("not seen by verify or status")
        return found

    @property
    def _word_after(self) -> bool:
        return bool(self.verify_after or self.status_after or self.while_served_after or self.notes)


def kind_of(place: str) -> Kind:
    """The kind of a file, by its path below `.tidemill`."""
    return next(kind for kind in KINDS if any(fnmatch(place, pattern) for pattern in kind.patterns))


class Driver:
    """The project, its right answers before and after the run, and what is to be damaged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        built = build(folder / "built")
        self.project = killed(built, folder / "whole")
        shutil.rmtree(folder / "built")
        state = self.project.path / ".tidemill"
        found = [*state.rglob("*"), *(self.project.path.parent / "keys").rglob("*")]
        self.files = sorted(os.path.relpath(path, state) for path in found if path.is_file())
        self._items: list[str] = []
        self._right: list[list[Any]] = [[], []]
        whole = self._use(Result(kind="", place="", how=""), lambda state: None)
        assert whole.verify == [] == whole.verify_after and not whole.errors and not whole.traces, whole
        self._items = [
            *(whole.status or []), *(whole.status_after or []), *whole.while_served, *whole.while_served_after
        ]  # fmt: skip

    def damages(self, seed: int) -> Iterator[tuple[str, str]]:
        """Path and damage, without end: each kind in turn, in an order of its own, and of each kind every damage."""
        chance = random.Random(seed)
        by_kind = {kind.name: [place for place in self.files if kind_of(place) is kind] for kind in KINDS}
        names = [name for name, places in by_kind.items() if places]
        chance.shuffle(names)
        turn = 0
        while True:
            for number, name in enumerate(names):
                yield chance.choice(by_kind[name]), HOWS[(turn + number) % len(HOWS)]
            turn += 1

    def damage(self, place: str, how: str, seed: int) -> Result:
        """Damage a fresh copy and use it."""
        result = Result(kind=kind_of(place).name, place=place, how=how)
        return self._use(result, lambda state: _damage(state / place, how, random.Random(seed)))

    def _use(self, result: Result, damage: Callable[[Path], None]) -> Result:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            project = copy(self.project, Path(folder))
            damage(project.path / ".tidemill")
            use = _Use(project, result)
            result.verify, result.status = use.verify(), self._new_or_none(use.status())
            first, items = use.ask("serve")
            result.while_served = self._new(items)
            result.notes = use.run()
            second, items = use.ask("serve after")
            result.while_served_after = self._new(items)
            result.verify_after, result.status_after = use.verify(), self._new_or_none(use.status())
        if not result.place:
            self._right = [first or [], second or []]
        result.serve = _compared(first, self._right[0])
        result.serve_after = _compared(second, self._right[0 if "run" in result.errors else 1])
        return result

    def _new_or_none(self, items: list[str] | None) -> list[str] | None:
        return None if items is None else self._new(items)

    def _new(self, items: list[str]) -> list[str]:
        return [item for item in items if item not in self._items]


class _Use:
    """The commands on one copy; what ends with an error gives `None`."""

    def __init__(self, project: Project, result: Result) -> None:
        self.project, self._result = project, result

    def verify(self) -> list[str] | None:
        settings = load(self.project.path, environ={})
        return self._try("verify", lambda: verify_project(settings, self.project.clock).problems)

    def status(self) -> list[str] | None:
        return self._try("status", lambda: [item.what for item in status(*self.project.open()).action_items])

    def run(self) -> list[str] | None:
        return self._try("run", lambda: self.project.run(NEXT).notes)

    def ask(self, what: str) -> tuple[list[Any] | None, list[str]]:
        return self._try(what, lambda: ask(self.project)) or (None, [])

    def _try(self, what: str, command: Callable[[], T]) -> T | None:
        root, told = logging.getLogger(), _Traces()
        root.addHandler(told)
        try:
            return command()
        except TidemillError as error:
            self._result.errors[what] = f"{error.code} {error.message}"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also the panic of a library
            self._trace(f"{what}: {type(error).__name__}: {error}")
            self._result.errors[what] = "trace"
        finally:
            root.removeHandler(told)
            for trace in told.found:
                self._trace(f"{what}: {trace}")
        return None

    def _trace(self, text: str) -> None:
        self._result.traces.append(text[:300])


class _Traces(logging.Handler):
    """Errors that were logged with a trace, or as another library's."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if record.exc_info or re.search(r": [A-Z]\w+(Error|Exception): ", said):
            self.found.append(said)


def _damage(path: Path, how: str, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if how == "flip" and content:
        bit = chance.choice((7, chance.randrange(8)))  # of text, the highest one makes it no UTF-8
        content[chance.randrange(len(content))] ^= 1 << bit
    elif how == "cut":
        del content[chance.randrange(len(content.rstrip()) or 1) :]  # not in the padding
    elif how == "zero":
        content = bytearray(len(content))
    path.unlink()
    if how != "remove":
        path.write_bytes(content)


def _compared(found: Sequence[Any] | None, right: Sequence[Any]) -> str:
    """A refusal is a string, the code of an error; `500 TM700` is a bug."""
    if found is None:
        return "none"
    pairs = [(one, other) for one, other in zip(found, right, strict=True) if one != other]
    if not pairs:
        return "same"
    return "refused" if all(isinstance(one, str) for one, _ in pairs) else "other"


def table(results: Sequence[Result]) -> str:
    """One row for each kind of file. `whole` counts those after which `verify` and `status` are content again."""
    rows = [["kind of file", "n", "verify", "status", "serve", "run", "serve after", "whole", "made whole by"]]
    for kind in KINDS:
        found = [result for result in results if result.kind == kind.name]
        if found:
            rows.append(
                [
                    kind.name,
                    str(len(found)),
                    _counts(_seen(one.verify) for one in found),
                    _counts(_seen(one.status) for one in found),
                    _counts(one.serve for one in found),
                    _counts(one.errors.get("run", "ok").partition(" ")[0] for one in found),
                    _counts(one.serve_after for one in found),
                    str(sum(one.verify_after == [] == one.status_after for one in found)),
                    kind.remedy,
                ]
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _seen(problems: list[str] | None) -> str:
    return "error" if problems is None else "found" if problems else "-"


def _counts(words: Iterator[str]) -> str:
    found: dict[str, int] = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    return " ".join(f"{word}:{n}" if len(found) > 1 else word for word, n in sorted(found.items()))


def main() -> int:
    """Damage in a child process, so that one that a damage ends is a finding too."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--damages", type=int, default=300)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--first", type=int, default=0, help="number of the first damage")
    options.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the copies are made")
    options.add_argument("--out", type=Path, help="a file of results, one JSON object a line; appended to")
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        return _child(given)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        out = given.out or Path(folder) / "results"
        first, end = given.first, given.first + given.damages
        while first < end:
            arguments = ["--damages", str(end - first), "--first", str(first), "--seed", str(given.seed)]
            command = [sys.executable, __file__, *arguments, "--folder", folder, "--out", str(out), "--child"]
            if subprocess.run(command).returncode == 0:
                break
            begun = (Path(folder) / "begun").read_text().split("\t")
            _append(out, Result(kind=kind_of(begun[1]).name, place=begun[1], how=begun[2], traces=["the process died"]))
            first = int(begun[0]) + 1
        results = [msgspec.json.decode(line, type=Result) for line in out.read_bytes().splitlines()]
    print(table(results))
    found = [(result, result.findings) for result in results if result.findings]
    for result, findings in found:
        print(f"{result.how} {result.place}: {'; '.join(findings)}")
    print(f"{len(results)} damages, {len(found)} with findings")
    return 1 if found else 0


def _child(given: argparse.Namespace) -> int:
    logging.disable(logging.NOTSET)
    driver = Driver(given.folder / "driver")
    for number, (place, how) in enumerate(driver.damages(given.seed)):
        if number >= given.first + given.damages:
            break
        if number >= given.first:
            (given.folder / "begun").write_text(f"{number}\t{place}\t{how}")
            result = driver.damage(place, how, given.seed * 100_003 + number)
            _append(given.out, result)
            print(number, how, place, result.findings, flush=True)
    shutil.rmtree(given.folder / "driver")
    return 0


def _append(out: Path, result: Result) -> None:
    with out.open("ab") as file:
        file.write(msgspec.json.encode(result) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
