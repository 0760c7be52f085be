"""Runs: everything that was trained, searched or evaluated, each as a few entries of the ledger.

The ledger's order decides a run's number: a new run writes an entry that claims the next number of its model, and the
first entry with a number owns it; the other run claims the next one. So two runs that begin at the same instant never
share a number, on any ledger back-end.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import msgspec

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.core.identity.refs import Ref, parse_ref
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Lease
from tidemill.core.record_format import decode_record
from tidemill.core.records.runs import MetricPoint, Run, Trial
from tidemill.training.runs.process_identity import is_gone, process_identity
from tidemill.training.runs.run_json import plain, text_of
from tidemill.training.runs.run_tracker import RunTracker, run_subject

#: The kinds of a run: `train`, `search`, …
KINDS: tuple[str, ...] = get_args(next(field.type for field in msgspec.structs.fields(Run) if field.name == "kind"))
#: Maximum number of tags of a run.
MOST_TAGS = 20
_TAG = re.compile(r"[\w./:=+-]{1,40}")


class Runs:
    """The runs of a project over its ledger; `clock` gives the times of their begin and end."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = {"run-begin": 0, "run-end": 0, "run-tag": 0}
        self._begun: dict[str, LedgerEntry] = {}  # by subject, in the ledger's order
        self._ended: dict[str, LedgerEntry] = {}
        self._tagged: dict[str, list[LedgerEntry]] = {}

    def begin(
        self,
        model: str,
        kind: str,
        *,
        learner: str = "",
        parameters: Mapping[str, Any] = {},
        data: Mapping[str, int] = {},
        as_of: int = 0,
        code: str = "",
        commit: str | None = None,
        changed: bool = False,
        environment: str = "",
        notes: Sequence[str] = (),
        lease: Lease | None = None,
    ) -> RunTracker:
        """Begin a run of `model`; returns its tracker, a context manager.

        `data` maps each table that the run reads to its version, `as_of` is that publication's time (microseconds).
        With a `lease`, entries are written only while the lease is held. Raises `UsageError` for a name or a setting
        that cannot be stored.
        """
        parse_ref(run_subject(model, 1), "run")
        given = Run(
            model=model,
            number=0,
            kind=_kind(kind),
            state="running",
            started_at=to_micros(self._clock.now()),
            learner=learner,
            parameters=plain(dict(parameters)),
            data=dict(data),
            as_of=as_of,
            code=code,
            commit=commit,
            changed=changed,
            environment=environment,
            notes=tuple(notes),
        )
        while True:
            claims = (_number(line.about) for line in self._ledger.newest("run-begin") if _model(line.about) == model)
            number = 1 + next(claims, 0)  # the newest claim has the largest number: few entries are read
            run = msgspec.structs.replace(given, number=number)
            line = self._ledger.append(
                "run-begin",
                about=run_subject(model, number),
                refs_in=[str(Ref("table", table, str(version))) for table, version in sorted(run.data.items())],
                details={
                    "run": text_of(run),
                    "place": process_identity(),
                    "lease": lease.number if lease else 0,
                    "lease_name": lease.name if lease else "",
                },
                lease=lease,
            )
            if self._owner(run_subject(model, number)).seq == line.seq:
                return RunTracker(self._ledger, self._clock, run, lease)

    def all(self, model: str | None = None) -> list[Run]:
        """All runs, or those of one model, newest first, each in its current state."""
        begun = self._catch_up()
        return self._as_they_are([line for name, line in reversed(begun.items()) if model in (None, _model(name))])

    def newest(self, model: str) -> Iterator[Run]:
        """The runs of a model, newest first, each in its current state; read lazily, as far as they are asked for."""
        here, leases = process_identity(), dict[str, int]()
        for line in self._ledger.newest("run-begin"):
            lease, name = line.details["lease"], _lease_name(line)
            leases[name] = max(leases.get(name, 0), lease)
            if _model(line.about) != model or self._owner(line.about).seq != line.seq:
                continue
            stopped = 0 < lease < leases[name] or is_gone(line.details["place"], here)
            ended = self._ledger.find("run-end", about=line.about)
            tagged = self._ledger.find("run-tag", about=line.about)
            yield _with_tags(self._run(line, ended[0] if ended else None, stopped=stopped), tagged)

    def read(self, name: str) -> Run:
        """The run named `for_you#3`; raises `UnknownName` with the nearest name."""
        begun = self._catch_up()
        return self._as_they_are([begun[self._about(name, begun)]])[0]

    def tag(self, name: str, tags: Iterable[str] = (), *, remove: Iterable[str] = ()) -> Run:
        """Add tags to the run `for_you#3` and remove others, at any time; returns the run with its tags.

        A tag has up to 40 letters, digits and `. / : = + - _`. Nothing is written if nothing changes. Raises
        `UnknownName` with the nearest name, for a run or a tag to remove, and `UsageError` for a text that is no tag
        and for more than 20 tags.
        """
        run, added, removed = self.read(name), sorted(set(tags)), sorted(set(remove))
        for tag in added:
            if not _TAG.fullmatch(tag):
                raise UsageError(f"{tag!r} cannot be a tag", tip="write 1 to 40 letters, digits and . / : = + - _")
        for tag in removed:
            if tag not in run.tags:
                raise UnknownName(f"{run.name} has no tag {tag!r}; {nearest(tag, run.tags)}")
        found = (set(run.tags) - set(removed)) | set(added)
        if len(found) > MOST_TAGS:
            raise UsageError(f"{run.name} would have {len(found)} tags; the limit is {MOST_TAGS}", tip="remove some")
        if found != set(run.tags):
            about = run_subject(run.model, run.number)
            self._ledger.append("run-tag", about=about, details={"add": added, "remove": removed})
        return self.read(name)

    def points(self, name: str) -> list[MetricPoint]:
        """The logged metrics of a run, in their order."""
        lines = self._ledger.find("run-points", about=self._about(name, self._catch_up()))
        return [
            point for line in lines for point in msgspec.json.decode(line.details["points"], type=list[MetricPoint])
        ]

    def trials(self, name: str) -> list[Trial]:
        """The stored trials of a run, in the order in which they ended."""
        lines = self._ledger.find("trial", about=self._about(name, self._catch_up()))
        return [decode_record(line.details["trial"], Trial) for line in lines]

    def _catch_up(self) -> dict[str, LedgerEntry]:
        """Read entries since the last call; returns the first entries. Entries never change, so each is read once."""
        with self._lock:
            for act, known in (("run-begin", self._begun), ("run-end", self._ended)):
                for line in self._ledger.find(act, after=self._seen[act]):
                    known.setdefault(line.about, line)
                    self._seen[act] = line.seq
            for line in self._ledger.find("run-tag", after=self._seen["run-tag"]):
                self._tagged.setdefault(line.about, []).append(line)
                self._seen["run-tag"] = line.seq
            return dict(self._begun)

    def _as_they_are(self, lines: Sequence[LedgerEntry]) -> list[Run]:
        open_ones = [line for line in lines if line.about not in self._ended]
        lost = self._lost(open_ones) if open_ones else set()
        self._catch_up()  # a process that has died may have ended its run just before
        return [
            _with_tags(
                self._run(line, self._ended.get(line.about), stopped=line.about in lost),
                self._tagged.get(line.about, ()),
            )
            for line in lines
        ]

    def _owner(self, subject: str) -> LedgerEntry:
        """The first entry that claimed a number."""
        return self._ledger.find("run-begin", about=subject)[0]

    def _lost(self, lines: Sequence[LedgerEntry]) -> set[str]:
        """The runs that will not end: their process is dead, or a later run began with the same lease."""
        here = process_identity()
        newest: dict[str, int] = {}
        for line in self._begun.values():
            name = _lease_name(line)
            newest[name] = max(newest.get(name, 0), line.details["lease"])
        return {
            line.about
            for line in lines
            if 0 < line.details["lease"] < newest[_lease_name(line)] or is_gone(line.details["place"], here)
        }

    def _run(self, line: LedgerEntry, ended: LedgerEntry | None, *, stopped: bool) -> Run:
        if ended is not None:
            return decode_record(ended.details["run"], Run)
        run = decode_record(line.details["run"], Run)
        kept = len(self._ledger.find("trial", about=line.about))
        return msgspec.structs.replace(run, state="stopped" if stopped else "running", trials=kept)

    def _about(self, name: str, begun: Iterable[str]) -> str:
        model, _, number = name.removeprefix("run:").rpartition("#")
        subject = (
            run_subject(model, int(number)) if number.isascii() and number.isdecimal() and len(number) < 10 else ""
        )
        known = list(begun)
        if subject not in known:
            names = [f"{_model(one)}#{_number(one)}" for one in known]
            raise UnknownName(f"there is no run {name!r}; {nearest(name, names[-200:])}", tip="tidemill compare")
        return subject


def _with_tags(run: Run, changes: Iterable[LedgerEntry]) -> Run:
    """The run with its tags after the changes, in their order."""
    tags = set(run.tags)
    for line in changes:
        tags = (tags - set(line.details["remove"])) | set(line.details["add"])
    return msgspec.structs.replace(run, tags=tuple(sorted(tags))) if tags != set(run.tags) else run


def _lease_name(line: LedgerEntry) -> str:
    """The lease that a run holds; entries without a name predate the second kind of lease."""
    return str(line.details.get("lease_name", "run"))


def _model(name: str) -> str:
    return name.removeprefix("run:").rpartition("@")[0]


def _number(name: str) -> int:
    return int(name.rpartition("@")[2])


def _kind(word: str) -> Any:
    if word not in KINDS:
        raise UsageError(f"there is no kind of run {word!r}", tip=nearest(word, KINDS))
    return word
