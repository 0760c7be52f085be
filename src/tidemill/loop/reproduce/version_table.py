"""Version table: metrics of every stored version of a model's code on every version of its training data.

Each cell is a learner with the settings chosen by its run, fitted by the code of that run on that publication and
evaluated there. Every publication has its own split, after 90% of its events, so metrics are comparable within a
column; along a row the test set differs. The libraries are the current ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.errors import TidemillError, UnknownName, UsageError, nearest
from tidemill.core.ledger.ledger import redact_surrogates
from tidemill.core.progress import Progress, no_progress
from tidemill.core.record_format import Record, decode_record
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Card
from tidemill.lake.publications import Publications, PublishedVersion
from tidemill.loop.families.model_family import RecordedSettings
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.code_snapshot import KIND as CODE
from tidemill.loop.provenance.code_snapshot import changed_files, kept_code, write_code
from tidemill.loop.provenance.environment_lock import package_sources
from tidemill.loop.provenance.provenance import artefact_id
from tidemill.loop.reproduce.reproduce import relearn
from tidemill.loop.reproduce.reproduce_process import RelearnJob

PLACE = "tidemill-versions-"


class CodeVersion(Record, frozen=True):
    """A row: the code and settings of one run."""

    run: str
    code: str
    commit: str | None
    learner: str
    #: Files and settings that differ from the previous row.
    changed: tuple[str, ...] = ()


class DataVersion(Record, frozen=True):
    """A column: the tables of one publication."""

    publication: int
    as_of: int
    #: Table -> version, its number of rows, and the rows added since the previous column.
    tables: dict[str, int]
    rows: dict[str, int]
    added: dict[str, int] = msgspec.field(default_factory=dict)


class Cell(Record, frozen=True):
    """The metrics of one code version on one publication, or a sentence why there are none."""

    run: str
    publication: int
    metrics: dict[str, Metric] = msgspec.field(default_factory=dict)
    says: str = ""


class VersionTable(Record, frozen=True):
    """The whole table: cells row by row."""

    model: str
    codes: tuple[CodeVersion, ...]
    data: tuple[DataVersion, ...]
    cells: tuple[Cell, ...]

    def cell(self, run: str, publication: int) -> Cell:
        """The cell of a run's code and a publication."""
        return next(cell for cell in self.cells if (cell.run, cell.publication) == (run, publication))


@dataclass(frozen=True)
class _Version:
    """A stored code version, with its card and the publication that it was first trained on."""

    run: str
    sha256: str
    commit: str | None
    card: Card
    publication: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.sha256, self.card.learner, _text(self.card.parameters)


def _nothing_kept(stores: Stores, model: str) -> TidemillError:
    """The error for a model without stored code: it is unknown, or its trainings stored none."""
    known = sorted({run.model for run in stores.runs.all()})
    if known and model not in known:
        return UnknownName(f"no training of a model {model!r} is on record", tip=nearest(model, known))
    return UsageError(f"no training of {model} has stored its code", tip=f"tidemill train {model}")


def version_table(stores: Stores, model: str, *, most: int = 5, progress: Progress = no_progress) -> VersionTable:
    """The table of the newest `most` versions of code and of data; earlier cells are read, not recomputed.

    Each new cell is a ledger entry. Raises `UsageError` for a model without stored code.
    """
    learned = _learned(stores, model)
    if not learned:
        raise _nothing_kept(stores, model)
    codes = list({one.key: one for one in reversed(learned)}.values())[::-1][-most:]
    known = [Publications(stores.ledger).resolve(number) for number in sorted({one.publication for one in learned})]
    data = _data_versions(stores, learned[-1].card.data, known[-most:])
    cells = []
    for one in codes:
        for at in known[-most:]:
            progress("measure", {"code": one.run, "publication": at.publication.number})
            cells.append(_cell(stores, model, one, at))
    return VersionTable(model=model, codes=_code_versions(stores, codes), data=data, cells=tuple(cells))


def _learned(stores: Stores, model: str) -> list[_Version]:
    """Every training with stored code, oldest first."""
    found = []
    for line in stores.ledger.find("learn", about=f"model:{model}"):
        if not line.details.get("run"):
            continue
        run = stores.runs.read(line.details["run"])
        sha256 = artefact_id(run.artefacts, CODE)
        if sha256:
            card = decode_record(line.details["card"], Card)
            found.append(_Version(run.name, sha256, run.commit, card, line.details["publication"]))
    return found


def _cell(stores: Stores, model: str, one: _Version, at: PublishedVersion) -> Cell:
    mark = fingerprint(
        {
            "code": list(one.key),
            "data": {table: at.publication.manifests.get(table, "") for table in one.card.data},
            "tidemill": package_sources(),
        }
    )
    about = f"model:{model}"
    before = stores.ledger.find("measure", about=about, fingerprint=mark)
    if before:
        metrics = msgspec.json.decode(before[-1].details["metrics"], type=dict[str, Metric])
        return Cell(run=one.run, publication=at.publication.number, metrics=metrics)
    cell = _measured(stores, model, one, at)
    if cell.metrics:
        stores.ledger.append(
            "measure",
            about=about,
            refs_in=[f"{CODE}:{model}@{one.sha256}", *_tables(one, at)],
            fingerprint=mark,
            details={"metrics": msgspec.json.encode(cell.metrics).decode(), "run": one.run},
        )
    return cell


def _measured(stores: Stores, model: str, one: _Version, at: PublishedVersion) -> Cell:
    """Evaluate in a separate process, with the stored code."""
    with tempfile.TemporaryDirectory(prefix=PLACE) as place:
        project = Path(place) / "project"
        try:
            write_code(kept_code(stores.blobs, one.sha256), project)
        except (TidemillError, OSError) as error:
            says = error.message if isinstance(error, TidemillError) else type(error).__name__
            return Cell(run=one.run, publication=at.publication.number, says=says)
        job = RelearnJob(
            settled=RecordedSettings(model=model, learner=one.card.learner, parameters=one.card.parameters),
            project=str(project),
            known=at,
            home=str(stores.project.absolute()),
            lake=stores.settings.lake,
            engine=stores.settings.engine,
        )
        try:
            result = relearn(job, Path(place))
        except TidemillError as error:
            return Cell(run=one.run, publication=at.publication.number, says=redact_surrogates(error.message))
    return Cell(run=one.run, publication=at.publication.number, metrics=result.metrics)


def _code_versions(stores: Stores, codes: Sequence[_Version]) -> tuple[CodeVersion, ...]:
    rows, before = [], None
    for one in codes:
        changed = _changed(stores, before, one) if before else ()
        rows.append(
            CodeVersion(run=one.run, code=one.sha256, commit=one.commit, learner=one.card.learner, changed=changed)
        )
        before = one
    return tuple(rows)


def _changed(stores: Stores, before: _Version, after: _Version) -> tuple[str, ...]:
    try:
        files = changed_files(kept_code(stores.blobs, before.sha256), kept_code(stores.blobs, after.sha256))
    except (TidemillError, OSError):
        files = ("files that are no longer stored",)
    if before.card.learner != after.card.learner:  # the settings are not comparable
        return (*files, f"learner {before.card.learner} → {after.card.learner}")
    one, two = _flat(before.card.parameters), _flat(after.card.parameters)
    settings = [
        f"{name} {_short(one.get(name))} → {_short(two.get(name))}"
        for name in sorted({*one, *two})
        if one.get(name) != two.get(name)
    ]
    return (*files, *settings)


def _data_versions(
    stores: Stores, tables: Mapping[str, int], known: Sequence[PublishedVersion]
) -> tuple[DataVersion, ...]:
    columns: list[DataVersion] = []
    for at in known:
        view = stores.lake.view(publication=at.publication.number)
        rows = {table: view.rows(table) for table in tables if table in view}
        before = columns[-1].rows if columns else {}
        added = {table: count - before[table] for table, count in rows.items() if table in before}
        columns.append(
            DataVersion(
                publication=at.publication.number, as_of=at.as_of, rows=rows, added=added,
                tables={table: view.versions[table] for table in rows},
            )
        )  # fmt: skip
    return tuple(columns)


def _tables(one: _Version, at: PublishedVersion) -> list[str]:
    versions = at.publication.versions
    return [f"table:{table}@{versions[table]}" for table in sorted(one.card.data) if table in versions]


def _text(parameters: object) -> str:
    return msgspec.json.encode(parameters, order="sorted").decode()


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings with dotted names.

    >>> _flat({"parameters": {"n_estimators": 12}})
    {'parameters.n_estimators': 12}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
