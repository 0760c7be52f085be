"""Reproduction: trains a run or release again from its stored inputs and compares the result.

The publication, the code, the chosen settings and the environment are the recorded ones; the training is the same code
path, in a process that can only read the project. It adds only one ledger entry to the project. A search is not
repeated: its chosen settings are used.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.errors import BundleCorrupt, CorruptFile, EnvironmentUnmade, TidemillError, UsageError
from tidemill.core.identity.refs import Ref
from tidemill.core.ledger.ledger import redact_surrogates
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.processes.subprocess_job import run_job
from tidemill.core.progress import Progress, no_progress
from tidemill.core.record_format import decode_record
from tidemill.core.records.release import Card
from tidemill.core.records.runs import Run
from tidemill.governance.reproduction import DifferenceCause, LearningResult, Reproduction, judge
from tidemill.lake.publications import Publications, PublishedVersion
from tidemill.loop.families.model_family import RecordedSettings
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.code_snapshot import KIND as CODE
from tidemill.loop.provenance.code_snapshot import kept_code, write_code
from tidemill.loop.provenance.environment_lock import KIND as ENVIRONMENT
from tidemill.loop.provenance.environment_lock import EnvironmentLock, read_environment
from tidemill.loop.provenance.provenance import artefact_id
from tidemill.loop.reproduce.build_environment import make_environment
from tidemill.loop.reproduce.reproduce_process import RelearnJob, RelearnResult, do

#: The prefix of the temporary folder of a reproduction.
PLACE = "tidemill-reproduce-"


@dataclass(frozen=True)
class Target:
    """The run or release to reproduce, and its stored inputs."""

    #: `run:for_you@3` or `release:for_you@3`.
    about: str
    model: str
    card: Card
    made: LearningResult
    #: The ledger entry of its training or refresh.
    line: LedgerEntry
    known: PublishedVersion
    #: The run with the stored code and environment.
    run: Run


def reproduce(stores: Stores, name: str, *, here: bool = False, progress: Progress = no_progress) -> Reproduction:
    """Train the run (`for_you#3`) or the release (`for_you@3`) again and return the verdict.

    A new environment is built with the recorded libraries; with `here` the current one is used and its differences are
    listed. Raises `UsageError` for a run without a bundle, and for a model that was trained elsewhere.
    """
    target = target_of(stores, name)
    code, of_code = _code(stores, target)
    lock, of_environment = _environment(stores, target)
    blocked = [*data_causes(stores, target), *of_code]
    result = None
    if not blocked:
        with tempfile.TemporaryDirectory(prefix=PLACE) as place:
            result, blocked = _relearn(stores, target, code, None if here else lock, lock, Path(place), progress)
    repeated = None
    if result is not None and result.relearned is not None:
        repeated = LearningResult(result.bundle, result.relearned.n_rows, result.relearned.rows)
    reproduction = judge(
        target.about,
        target.made,
        repeated,
        compared=result.compared if result else None,
        erased=bool(stores.ledger.find("erase", after=target.line.seq)),
        blocked=blocked,
        differences=[*of_environment, *_differences(target, lock, result)],
    )
    reproduction = msgspec.structs.replace(reproduction, notes=_notes(target.run))
    _keep(stores, target, reproduction, here=here)
    return reproduction


def _differences(
    target: Target, lock: EnvironmentLock | None, result: RelearnResult | None
) -> Iterator[DifferenceCause]:
    """The differences between the recorded and the repeated training."""
    if target.card.refreshed:
        of = target.card.refreshed.of
        says = f"it was refreshed from counts: its parts that are not computed from counts are those of {of}"
        yield DifferenceCause(what="learning", says=says)
    if result is not None and result.environment is not None and lock is not None:
        for says in lock.differences(result.environment):
            yield DifferenceCause(what="environment", says=says)


def _notes(run: Run) -> tuple[str, ...]:
    if run.trials or run.kind == "auto":
        return (f"the settings that {run.name} chose were used; the search was not repeated",)
    return ()


def target_of(stores: Stores, name: str) -> Target:
    """The run or release with that name, with its ledger entry, publication and run."""
    if "#" in name:
        run = stores.runs.read(name)
        bundle = artefact_id(run.artefacts, "bundle")
        if not bundle:
            raise UsageError(
                f"{run.name} has no bundle: its kind is `{run.kind}`, its state {run.state}",
                tip=f"tidemill compare {run.model}   lists the runs",
            )
        return _target(stores, str(Ref("run", run.model, str(run.number))), run.model, bundle)
    release = stores.releases.get(name)
    return _target(stores, str(Ref("release", release.model, str(release.number))), release.model, release.bundle)


def _target(stores: Stores, about: str, model: str, bundle: str) -> Target:
    line = _made_by(stores, model, bundle)
    run = _run_of(stores, model, line)
    card = decode_record(line.details["card"], Card)
    return Target(
        about=about,
        model=model,
        card=card,
        made=LearningResult(bundle, card.n_rows, line.details.get("rows", "")),
        line=line,
        known=Publications(stores.ledger).resolve(line.details["publication"]),
        run=run,
    )


def _made_by(stores: Stores, model: str, bundle: str) -> LedgerEntry:
    """The first ledger entry of a bundle; the same bundle may be trained again."""
    for act in ("learn", "refresh"):
        for line in stores.ledger.find(act, about=f"model:{model}"):
            if line.details["bundle"] == bundle:
                return line
    raise UsageError(
        f"the bundle {bundle[:12]}… of {model} was not trained here, so it cannot be reproduced",
        tip="its card names its origin",
    )


def _run_of(stores: Stores, model: str, line: LedgerEntry) -> Run:
    """The run that trained it; for a refreshed bundle, the run of the original release."""
    while line.act == "refresh":
        line = _made_by(stores, model, stores.releases.get(line.details["of"]).bundle)
    return stores.runs.read(line.details["run"])


def data_causes(stores: Stores, target: Target) -> list[DifferenceCause]:
    """Every missing table version, and every changed or missing file of an existing one."""
    view = stores.lake.view(publication=target.known.publication.number)
    causes = []
    for table, version in target.card.data.items():
        try:
            files = view.files(table)
        except (TidemillError, OSError) as error:
            causes.append(
                DifferenceCause(what="data", says=f"table {table} version {version} is missing: {_message(error)}")
            )
            continue
        for file in files:
            try:
                view.paths(table, among=[file])
            except CorruptFile as error:
                gone = "is missing" if "is missing" in error.message else "has changed rows"
                says = f"table {table} version {version} {gone}: {_shortened(stores, error.message)}"
                causes.append(DifferenceCause(what="data", says=says))
    return causes


def _code(stores: Stores, target: Target) -> tuple[dict[str, bytes], list[DifferenceCause]]:
    sha256 = artefact_id(target.run.artefacts, CODE)
    if not sha256:
        return {}, [DifferenceCause(what="code", says=f"the code of {target.run.name} was not stored")]
    try:
        return kept_code(stores.blobs, sha256), []
    except (TidemillError, OSError) as error:
        return {}, [
            DifferenceCause(what="code", says=f"the stored code cannot be read: {_shortened(stores, _message(error))}")
        ]


def _environment(stores: Stores, target: Target) -> tuple[EnvironmentLock | None, list[DifferenceCause]]:
    sha256 = artefact_id(target.run.artefacts, ENVIRONMENT)
    if not sha256:
        return None, [DifferenceCause(what="environment", says=f"the environment of {target.run.name} was not stored")]
    try:
        return read_environment(stores.blobs, sha256), []
    except (TidemillError, OSError) as error:
        says = f"the recorded environment cannot be read: {_shortened(stores, _message(error))}"
        return None, [DifferenceCause(what="environment", says=says)]


def _relearn(
    stores: Stores,
    target: Target,
    code: dict[str, bytes],
    install: EnvironmentLock | None,
    lock: EnvironmentLock | None,
    place: Path,
    progress: Progress,
) -> tuple[RelearnResult | None, list[DifferenceCause]]:
    """The result of the process, or the causes of its failure. `install` is the environment to build, if any."""
    python = None
    if install is not None:
        progress("environment", {"libraries": sum(one.needed for one in install.installed.values())})
        try:
            python = make_environment(install, place / "environment")
        except EnvironmentUnmade as error:
            return None, [DifferenceCause(what="environment", says=_shortened(stores, error.message))]
    project = place / "project"
    write_code(code, project)
    progress("learning", {"model": target.model, "publication": target.known.publication.number})
    try:
        result = relearn(_job(stores, target, project, place), place, python, threads_of(lock))
    except TidemillError as error:
        says = f"training it again failed: {_shortened(stores, error.message)}"
        return None, [DifferenceCause(what="learning", says=says)]
    progress("learned", {"bundle": result.bundle[:12], "seconds": round(result.seconds, 1)})
    return result, []


def _job(stores: Stores, target: Target, project: Path, place: Path) -> RelearnJob:
    folder = place / "bundle"
    folder.mkdir()
    try:
        before = stores.releases.bundle(target.made.bundle)
    except BundleCorrupt:
        before = None
    return RelearnJob(
        settled=settings_of(stores, target, before),
        project=str(project),
        known=target.known,
        home=str(stores.project.absolute()),
        lake=stores.settings.lake,
        engine=stores.settings.engine,
        folder=str(folder),
        recorded=target.made.bundle,
        before=str(before.absolute()) if before else "",
    )


def settings_of(stores: Stores, target: Target, bundle: Path | None) -> RecordedSettings:
    """The model, learner and all settings of a target."""
    card = target.card
    measured = card.measured
    return RecordedSettings(
        model=target.model,
        learner=card.learner,
        parameters=card.parameters,
        at=measured.split_at if measured and not card.refreshed else None,
        search=_search_of(bundle) or ("exact" if bundle else stores.search().name),
    )


def _search_of(bundle: Path | None) -> str:
    """The search back-end that built the bundle's indexes; empty if it has none."""
    about = bundle / "recommender.json" if bundle else None
    if about is None or not about.is_file():
        return ""
    parts: dict[str, Any] = msgspec.json.decode(about.read_bytes()).get("parts", {})
    return next((str(part["search"]) for part in parts.values() if part.get("search")), "")


def relearn(
    job: RelearnJob, place: Path, python: Path | None = None, threads: Mapping[str, str | None] | None = None
) -> RelearnResult:
    """Do the job in a process whose files lie in `place`. With `python` it sees nothing of the current environment.

    Raises the process's `TidemillError`; of other errors it says only the type, because their message may quote data.
    """
    changed = {"TMPDIR": str(place), **(threads or {})}
    environ = {name: value for name, value in {**os.environ, **changed}.items() if value is not None}
    if python is not None:
        environ = {name: value for name, value in environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    interpreter = str(python) if python else None
    return run_job(do, job, python=interpreter, isolated=python is not None, cwd=place, env=environ)


def threads_of(lock: EnvironmentLock | None) -> dict[str, str | None]:
    """The recorded thread settings: `None` for one that was not set."""
    if lock is None:
        return {}
    names = {name for name in os.environ if name.endswith("_NUM_THREADS")} | {*lock.threads}
    return {name: lock.threads.get(name) for name in names}


def _keep(stores: Stores, target: Target, found: Reproduction, *, here: bool) -> None:
    tables = [str(Ref("table", table, str(version))) for table, version in sorted(target.card.data.items())]
    stores.ledger.append(
        "reproduce",
        about=target.about,
        refs_in=[f"bundle:{target.model}@{target.made.bundle}", *tables],
        fingerprint=found.made,
        details={
            "verdict": found.outcome,
            "says": redact_surrogates(found.says),
            "causes": [redact_surrogates(cause.says) for cause in found.causes],
            "differences": [redact_surrogates(cause.says) for cause in found.differences],
            "here": here,
        },
    )


def _message(error: Exception) -> str:
    return error.message if isinstance(error, TidemillError) else type(error).__name__


def _shortened(stores: Stores, text: str) -> str:
    """A sentence without the project's path."""
    return text.replace(f"{stores.project.resolve()}/", "").replace(f"{stores.project}/", "")
