"""Learning something again from what was kept of it, and saying whether it is the same.

The publication, the code, the settled settings and the environment are those of then; the learning is the same code
path, in a process that can only read the project. Nothing of the project changes but one line of the ledger. What an
open range or a deadline decided is not searched again: the settings that it settled on are taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.errors import BundleCorrupt, CorruptFile, EnvironmentUnmade, TidemillError, UsageError
from tidemill.core.ledger import Line, without_surrogates
from tidemill.core.record_format import decode_record
from tidemill.core.records import Run
from tidemill.core.refs import Ref
from tidemill.core.release import Card
from tidemill.governance.reproduction import Cause, Made, Reproduction, judge
from tidemill.lake.publications import Known, Publications
from tidemill.loop.house import House
from tidemill.loop.reproduction.environment_lock import KIND as ENVIRONMENT
from tidemill.loop.reproduction.environment_lock import EnvironmentLock, read_environment
from tidemill.loop.reproduction.fresh_environment import make_environment
from tidemill.loop.reproduction.kept_code import KIND as CODE
from tidemill.loop.reproduction.kept_code import kept_code, write_code
from tidemill.loop.reproduction.relearn import Settled
from tidemill.loop.reproduction.reproduce_process import Asked, Told
from tidemill.loop.run import Teller, silent
from tidemill.loop.surroundings import kept

#: What the folder is called that all of it happens in, among the machine's temporary ones.
PLACE = "tidemill-reproduce-"


@dataclass(frozen=True)
class Target:
    """What is to come out again, and what was kept of it."""

    #: `run:for_you@3` or `release:for_you@3`.
    about: str
    model: str
    card: Card
    made: Made
    #: The ledger's line of its learning or refreshing.
    line: Line
    known: Known
    #: The run whose code and environment were kept.
    run: Run


def reproduce(house: House, name: str, *, here: bool = False, tell: Teller = silent) -> Reproduction:
    """Learn the run (`for_you#3`) or the release (`for_you@3`) again and give the verdict.

    A new environment is made with the recorded libraries; with `here` the present one is taken and what differs is
    named. Raises `UsageError` for a run that left no bundle, and for what was learned elsewhere.
    """
    target = target_of(house, name)
    code, of_code = _code(house, target)
    lock, of_environment = _environment(house, target)
    blocked = [*data_causes(house, target), *of_code]
    told = None
    if not blocked:
        with tempfile.TemporaryDirectory(prefix=PLACE) as place:
            told, blocked = _learned_again(house, target, code, None if here else lock, lock, Path(place), tell)
    made = None
    if told is not None and told.relearned is not None:
        made = Made(told.bundle, told.relearned.n_rows, told.relearned.rows)
    found = judge(
        target.about,
        target.made,
        made,
        compared=told.compared if told else None,
        erased=bool(house.ledger.find("erase", after=target.line.seq)),
        blocked=blocked,
        differences=[*of_environment, *_differences(target, lock, told)],
    )
    found = msgspec.structs.replace(found, notes=_notes(target.run))
    _keep(house, target, found, here=here)
    return found


def _differences(target: Target, lock: EnvironmentLock | None, told: Told | None) -> Iterator[Cause]:
    """Points in which learning it now was not what was recorded."""
    if target.card.refreshed:
        of = target.card.refreshed.of
        says = f"it was refreshed by counting: what cannot be counted anew stayed that of {of}"
        yield Cause(what="learning", says=says)
    if told is not None and told.environment is not None and lock is not None:
        for says in lock.differences(told.environment):
            yield Cause(what="environment", says=says)


def _notes(run: Run) -> tuple[str, ...]:
    if run.trials or run.kind == "auto":
        return (f"the settings that {run.name} settled on were taken, and not searched again",)
    return ()


def target_of(house: House, name: str) -> Target:
    """The run or release of that name, and what the ledger has of how it came about."""
    if "#" in name:
        run = house.runs.read(name)
        bundle = kept(run.artefacts, "bundle")
        if not bundle:
            raise UsageError(
                f"{run.name} left no bundle: it is of the kind `{run.kind}` and {run.state}",
                tip=f"tidemill compare {run.model}   lists the runs",
            )
        return _target(house, str(Ref("run", run.model, str(run.number))), run.model, bundle)
    release = house.releases.get(name)
    return _target(house, str(Ref("release", release.model, str(release.number))), release.model, release.bundle)


def _target(house: House, about: str, model: str, bundle: str) -> Target:
    line = _made_by(house, model, bundle)
    run = _run_of(house, model, line)
    card = decode_record(line.details["card"], Card)
    return Target(
        about=about,
        model=model,
        card=card,
        made=Made(bundle, card.n_rows, line.details.get("rows", "")),
        line=line,
        known=Publications(house.ledger).resolve(line.details["publication"]),
        run=run,
    )


def _made_by(house: House, model: str, bundle: str) -> Line:
    """The line that says how a bundle was made: the first one, for the same bundle may be made again."""
    for act in ("learn", "refresh"):
        for line in house.ledger.find(act, about=f"model:{model}"):
            if line.details["bundle"] == bundle:
                return line
    raise UsageError(
        f"the bundle {bundle[:12]}… of {model} was not learned here, so it cannot be learned again",
        tip="where it comes from stands on its card",
    )


def _run_of(house: House, model: str, line: Line) -> Run:
    """The run that learned it; of a refreshed bundle that of the release that it is a refresh of."""
    while line.act == "refresh":
        line = _made_by(house, model, house.releases.get(line.details["of"]).bundle)
    return house.runs.read(line.details["run"])


def data_causes(house: House, target: Target) -> list[Cause]:
    """Every table version that is gone, and every file of one that is not what was written."""
    view = house.lake.view(publication=target.known.publication.number)
    causes = []
    for table, version in target.card.data.items():
        try:
            files = view.files(table)
        except (TidemillError, OSError) as error:
            causes.append(Cause(what="data", says=f"table {table} version {version} is gone: {_said(error)}"))
            continue
        for file in files:
            try:
                view.paths(table, among=[file])
            except CorruptFile as error:
                gone = "is gone" if "is missing" in error.message else "has changed rows"
                says = f"table {table} version {version} {gone}: {_shortened(house, error.message)}"
                causes.append(Cause(what="data", says=says))
    return causes


def _code(house: House, target: Target) -> tuple[dict[str, bytes], list[Cause]]:
    sha256 = kept(target.run.artefacts, CODE)
    if not sha256:
        return {}, [Cause(what="code", says=f"the code of {target.run.name} was not kept")]
    try:
        return kept_code(house.blobs, sha256), []
    except (TidemillError, OSError) as error:
        return {}, [Cause(what="code", says=f"the kept code is not what was kept: {_shortened(house, _said(error))}")]


def _environment(house: House, target: Target) -> tuple[EnvironmentLock | None, list[Cause]]:
    sha256 = kept(target.run.artefacts, ENVIRONMENT)
    if not sha256:
        return None, [Cause(what="environment", says=f"the environment of {target.run.name} was not kept")]
    try:
        return read_environment(house.blobs, sha256), []
    except (TidemillError, OSError) as error:
        says = f"the recorded environment cannot be read: {_shortened(house, _said(error))}"
        return None, [Cause(what="environment", says=says)]


def _learned_again(
    house: House,
    target: Target,
    code: dict[str, bytes],
    install: EnvironmentLock | None,
    lock: EnvironmentLock | None,
    place: Path,
    tell: Teller,
) -> tuple[Told | None, list[Cause]]:
    """What the process tells, or why there is nothing to tell. `install` is the environment to make, if any."""
    python = Path(sys.executable)
    if install is not None:
        tell("environment", {"libraries": sum(one.needed for one in install.installed.values())})
        try:
            python = make_environment(install, place / "environment")
        except EnvironmentUnmade as error:
            return None, [Cause(what="environment", says=_shortened(house, error.message))]
    project = place / "project"
    write_code(code, project)
    tell("learning", {"model": target.model, "publication": target.known.publication.number})
    told = ask(python, _asked(house, target, project, place), threads_of(lock), apart=install is not None)
    if told.problem:
        return None, [Cause(what="learning", says=f"learning it again failed: {_shortened(house, told.problem)}")]
    tell("learned", {"bundle": told.bundle[:12], "seconds": round(told.seconds, 1)})
    return told, []


def _asked(house: House, target: Target, project: Path, place: Path) -> Asked:
    folder = place / "bundle"
    folder.mkdir()
    try:
        before = house.releases.bundle(target.made.bundle)
    except BundleCorrupt:
        before = None
    return Asked(
        settled=settled_of(house, target, before),
        project=str(project),
        known=target.known,
        home=str(house.project.absolute()),
        lake=house.settings.lake,
        engine=house.settings.engine,
        folder=str(folder),
        answer=str(place / "answer.json"),
        recorded=target.made.bundle,
        before=str(before.absolute()) if before else "",
    )


def settled_of(house: House, target: Target, bundle: Path | None) -> Settled:
    """What was learned, with nothing left open."""
    card = target.card
    measured = card.evaluation.split_at if card.evaluation and not card.refreshed else None
    return Settled(
        model=target.model,
        learner=card.learner,
        parameters=card.parameters,
        at=measured,
        search=_search_of(bundle) or house.search().name,
    )


def _search_of(bundle: Path | None) -> str:
    """The back-end that built the bundle's indexes; empty where it has none."""
    about = bundle / "recommender.json" if bundle else None
    if about is None or not about.is_file():
        return ""
    parts: dict[str, Any] = msgspec.json.decode(about.read_bytes()).get("parts", {})
    return next((str(part["search"]) for part in parts.values() if part.get("search")), "")


def ask(python: Path, asked: Asked, threads: Mapping[str, str | None], *, apart: bool) -> Told:
    """Let the process of this interpreter do it. `apart`: nothing of the present environment is handed on to it."""
    answer = Path(asked.answer)
    environ = {
        **os.environ,
        "TMPDIR": str(answer.parent),
        **{name: value for name, value in threads.items() if value is not None},
    }
    for name, value in threads.items():
        if value is None:
            environ.pop(name, None)
    if apart:
        environ = {name: value for name, value in environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    words = [str(python), *(["-I"] if apart else ["-P"]), "-m", "tidemill.loop.reproduction.reproduce_process"]
    with (answer.parent / "said.txt").open("wb") as said:
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=answer.parent, env=environ)
        assert child.stdin is not None
        try:
            child.stdin.write(msgspec.json.encode(asked) + b"\n")
            child.stdin.flush()
            status = child.wait()
        except BrokenPipeError:
            status = child.wait()
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
    try:
        return msgspec.json.decode(answer.read_bytes(), type=Told)
    except (OSError, msgspec.DecodeError):
        return Told(problem=f"its process ended with status {status} and said nothing")


def threads_of(lock: EnvironmentLock | None) -> dict[str, str | None]:
    """The settings of threads as they were: `None` for one that was not set."""
    if lock is None:
        return {}
    names = {name for name in os.environ if name.endswith("_NUM_THREADS")} | {*lock.threads}
    return {name: lock.threads.get(name) for name in names}


def _keep(house: House, target: Target, found: Reproduction, *, here: bool) -> None:
    tables = [str(Ref("table", table, str(version))) for table, version in sorted(target.card.data.items())]
    house.ledger.append(
        "reproduce",
        about=target.about,
        refs_in=[f"bundle:{target.model}@{target.made.bundle}", *tables],
        fingerprint=found.made,
        details={
            "verdict": found.outcome,
            "says": without_surrogates(found.says),
            "causes": [without_surrogates(cause.says) for cause in found.causes],
            "differences": [without_surrogates(cause.says) for cause in found.differences],
            "here": here,
        },
    )


def _said(error: Exception) -> str:
    return error.message if isinstance(error, TidemillError) else type(error).__name__


def _shortened(house: House, text: str) -> str:
    """A sentence without the project's own path, which says nothing to others."""
    return text.replace(f"{house.project.resolve()}/", "").replace(f"{house.project}/", "")
