"""Training of a model that mill.py declares, from published data to a release that can be promoted.

It is one flow for all model families. The same rows with the same code and settings are not trained again; new rules on
the same bundle are released directly.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.errors import CardIncomplete, UsageError
from tidemill.core.lease import train_lease
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.progress import Progress, no_progress
from tidemill.core.record_format import decode_record
from tidemill.core.records.release import Card, Release
from tidemill.core.records.runs import Trial
from tidemill.core.records.signature import Signature
from tidemill.core.storage.failpoint import failpoint
from tidemill.loop.families.model_family import FittedModel, Training, TrainingInputs, family_of
from tidemill.loop.mirror.mirror_runs import mirror_runs
from tidemill.loop.project.declarations import ModelDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.recovery import recover_lake
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import Provenance, collect_provenance
from tidemill.loop.training.run_tracking import begin_training, fan_out_progress, finish_training
from tidemill.training import RunTracker, SearchBudget
from tidemill.training.search.choice_result import is_verdict
from tidemill.training.search.search_budget import DEFAULT_BUDGET

#: The prefix of the temporary folder of a bundle, before the model's name.
_PLACE = "learn-"


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training."""

    release: Release
    card: Card
    #: Whether it was trained now; if not, the bundle of an earlier training is used.
    anew: bool
    #: Whether the release is new: it is not where its bundle, rules and card are those of an earlier one.
    created: bool
    notes: tuple[str, ...] = ()
    #: The run of the training, for example `for_you#3`; empty if nothing was trained.
    run: str = ""
    #: What each learner of a choice was worth on validation data, in the order in which they were tried.
    verdicts: tuple[Trial, ...] = ()


def train(
    stores: Stores,
    graph: ProjectGraph,
    name: str,
    *,
    at: int | None = None,
    rules_only: bool = False,
    again: bool = False,
    effort: SearchBudget = DEFAULT_BUDGET,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train the model `name` on the published data, evaluate it, and create a release.

    Nothing is trained where the same rows, settings and code were trained before, unless `again`. `at` (microseconds)
    is the split of the evaluation. `rules_only` uses the last bundle, however old. `effort` limits the choice of
    settings. A training is a run; an interrupted search is resumed. Raises `UnknownName`, and
    `CardIncomplete` before the training if `helps=` or `could_harm=` is missing.
    """
    family = family_of(graph, name)
    if rules_only and not family.has_rules:
        raise UsageError(f"{name} has no rules, --rules-only is for recommenders", tip=f"tidemill train {name}")
    require_card(graph.mill.models[name])
    with stores.leases.take(train_lease(name)) as lease:
        recover_lake(stores)
        remove_left_folders(stores, name)
        around = collect_provenance(stores.project)
        training = family.training(TrainingInputs(stores, graph, name, stores.lake.view(), at, effort, lease))
        code = fingerprint({"graph": dict(graph.codes), "learn": training.mark})
        creation = _Creation(training, code, around)
        known = {release.number for release in stores.releases.all(name)}
        line = None if again else _earlier(stores, name, None if rules_only else training.mark)
        if line is not None:
            release, card = creation.release(line)
            return TrainingResult(release, card, anew=False, created=release.number not in known)
        start = training.prepare()
        run, trials = begin_training(training, start, code, around)
        with run:
            effort = replace(effort, known=trials, keep=run.trial)
            line, fitted = _fit(creation, run, effort, fan_out_progress(run, progress))
            release, card = creation.release(line)
            finish_training(stores, run, start, fitted, release)
        training.finish()
    verdicts = tuple(trial for trial in stores.runs.trials(run.name) if is_verdict(trial))
    notes = (*fitted.notes, *mirror_runs(stores))
    created = release.number not in known
    return TrainingResult(release, card, anew=True, created=created, notes=notes, run=run.name, verdicts=verdicts)


def require_card(model: ModelDeclaration) -> None:
    """Raise `CardIncomplete` unless the model says who is served and who could be harmed."""
    if not model.helps.strip() or not model.could_harm.strip():
        raise CardIncomplete(
            f"{model.name} does not say who is served and who could be harmed",
            tip="set `helps=` and `could_harm=` in mill.py",
        )


@contextmanager
def bundle_folder(stores: Stores, model: str) -> Iterator[Path]:
    """An empty folder to write a bundle of `model` into; removed afterwards, or by the next training after a kill."""
    with tempfile.TemporaryDirectory(prefix=_prefix(model), dir=stores.state) as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        yield folder


def remove_left_folders(stores: Stores, model: str) -> None:
    """Remove the folders of killed trainings of `model`, while its lease is held."""
    for left in stores.state.glob(f"{_PLACE}*"):
        # A folder without a model's name is from an older version, which trained one model at a time.
        if "@" not in left.name or left.name.startswith(_prefix(model)):
            shutil.rmtree(left)


def _prefix(model: str) -> str:
    return f"{_PLACE}{model}@"  # model names contain no `@`


@dataclass(frozen=True)
class _Creation:
    """Creates releases of a training, with the current code and rules."""

    training: Training
    #: The fingerprint of everything that the result depends on, with all code of the project.
    code: str
    around: Provenance

    def release(self, line: LedgerEntry) -> tuple[Release, Card]:
        """The release of a training's ledger entry."""
        model, parts = self.training.model, self.training.parts()
        card = msgspec.structs.replace(
            decode_record(line.details["card"], Card), helps=model.helps, could_harm=model.could_harm
        )
        signature = line.details.get("signature")
        release = self.training.inputs.stores.releases.create(
            model.name,
            line.details["bundle"],
            parts.rules,
            card,
            facts=parts.facts,
            modules=parts.modules,
            code=self.code,
            commit=self.around.commit,
            environment=self.around.environment,
            log=model.log,
            signature=decode_record(signature, Signature) if signature else None,
            family=model.family,
            lease=self.training.inputs.lease,
        )
        return release, card


def _earlier(stores: Stores, name: str, mark: str | None) -> LedgerEntry | None:
    """The ledger entry of an earlier training with this fingerprint, that of the champion if it is one; else the last.

    With `None` the last training of all.
    """
    if mark is None:
        found = stores.ledger.last("learn", f"model:{name}")
        if found is None:
            raise UsageError(
                f"{name} has not been trained, so there are no rules to change", tip=f"tidemill train {name}"
            )
        return found
    lines = stores.ledger.find("learn", about=f"model:{name}", fingerprint=mark)
    champion = stores.releases.champion(name)
    live = [line for line in lines if champion is not None and line.details["bundle"] == champion.bundle]
    return next(iter((live or lines)[::-1]), None)


def _fit(
    creation: _Creation, run: RunTracker, effort: SearchBudget, progress: Progress
) -> tuple[LedgerEntry, FittedModel]:
    """Train now; returns the ledger entry of the bundle, and the result."""
    training = creation.training
    stores, name = training.inputs.stores, training.inputs.name
    with bundle_folder(stores, name) as folder:
        fitted = training.fit(folder, effort, progress)
        bundle = stores.releases.keep(folder)
    details = {
        "bundle": bundle,
        "card": fitted.card.json(),
        "publication": training.inputs.view.publication,
        "run": run.name,
        "rows": fitted.rows,
    }
    line = stores.ledger.append(
        "learn",
        about=f"model:{name}",
        refs_in=fitted.refs_in,
        refs_out=[f"bundle:{name}@{bundle}"],
        fingerprint=training.mark,
        details=details | ({"signature": fitted.signature.json()} if fitted.signature else {}),
        lease=training.inputs.lease,
    )
    failpoint("bundle.ledger")
    return line, fitted
