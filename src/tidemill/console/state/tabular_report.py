"""Tabular report: scores against baseline and champion, calibration, slices, fairness and feature importance."""

from __future__ import annotations

import msgspec

from tidemill.console.formatting import counted, interval, measure, share
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.request_form import RequestForm, request_form
from tidemill.console.state.slice_table import SliceTable, row_slice_table
from tidemill.core.record_format import Record
from tidemill.core.records.assessment import Assessment, EnsembleMember, FeatureImportance, GroupGap
from tidemill.core.records.quality import FEWEST_USERS, MetricScore, Standing
from tidemill.core.records.release import Release
from tidemill.loop.state.action_items import ActionCommand

#: Minimum correlation of values and contributions for a stated direction.
_CLEAR = 0.3
_TASKS = {
    "binary": "binary classification",
    "classes": "multi-class classification",
    "number": "regression",
    "count": "count regression",
}
#: `kept out` is the state `not selected` in older releases.
_STATES = {"chosen": 0, "stacked": 1, "not selected": 2, "kept out": 2, "late": 3, "failed": 4}


class ScoresAgainst(Record, frozen=True):
    """Scores compared with those of a baseline or champion on the same rows."""

    name: str
    standing: Standing
    scores: tuple[MetricScore, ...]


class InputInfluence(Record, frozen=True):
    """An input, its share of the feature importance, and the direction of its effect."""

    input: str
    share: float
    says: str
    #: The categories that raise and lower it most; empty for numbers.
    extremes: str


class TriedCandidate(Record, frozen=True):
    """A candidate of the search, with its settings as text."""

    member: EnsembleMember
    settings: str


class TabularReport(Record, frozen=True):
    """Data of the Model page for a tabular release."""

    task: str
    target: str
    #: The verdict, and its sentences with intervals.
    says: str
    sure: str
    measure: str
    less: bool
    prevalence: str
    beside: tuple[ScoresAgainst, ...]
    calibration: str
    parts: SliceTable | None
    gaps: tuple[GroupGap, ...]
    movers: tuple[InputInfluence, ...]
    members: tuple[TriedCandidate, ...]
    #: Names of the inputs that are times.
    times: tuple[str, ...]
    asking: RequestForm
    commands: tuple[ActionCommand, ...]


def tabular_report(release: Release, stores: ConsoleStores) -> TabularReport | None:
    """The report of a release with a signature; `None` for a recommender."""
    signature = release.signature
    if signature is None:
        return None
    found = release.card.assessment
    says, sure = verdict(release.name, found)
    return TabularReport(
        task=_TASKS[signature.task],
        target=signature.target,
        says=says,
        sure=sure,
        measure=found.measure if found else "",
        less=not found.main.higher_is_better if found and found.scores else True,
        prevalence=_prevalence(found, signature.target, signature.classes) if found else "",
        beside=tuple(_beside(found)) if found else (),
        calibration=_calibration(found) if found else "",
        parts=row_slice_table(found) if found and found.all_slices else None,
        gaps=tuple(sorted(found.gaps, key=lambda one: (not one.significant, one.attribute))) if found else (),
        movers=_movers(found) if found else (),
        members=_members(found) if found else (),
        times=tuple(field.name for field in signature.inputs if field.kind == "time"),
        asking=request_form(release, signature, stores),
        commands=_commands(release),
    )


def verdict(name: str, found: Assessment | None) -> tuple[str, str]:
    """The verdict as one sentence, and its sentences with intervals."""
    if found is None or not found.scores:
        return "It was not evaluated.", "There was not enough data for a test set."
    others = [(found.baseline, found.main)]
    if found.beside_champion:
        others.insert(0, (found.champion, found.beside_champion[0]))
    said = {"better": "beats {}", "even": "is not significantly better than {}", "worse": "is worse than {}"}
    parts = [said[score.standing].format(_called(found, other)) for other, score in others]
    return f"{name} {' and '.join(parts)}.", " ".join(_sentence(found, other, score) for other, score in others)


def _called(found: Assessment, other: str) -> str:
    return f"the champion, {other}," if found.beside_champion and other == found.champion else f"its baseline ({other})"


def _sentence(found: Assessment, other: str, score: MetricScore) -> str:
    figure, by = measure(score.name), interval(score.difference, signed=True)
    return (
        f"{figure} {interval(score.model)}, compared with {interval(score.baseline)} of {other}: a difference of {by}."
    )


def _prevalence(found: Assessment, target: str, classes: tuple[str, ...]) -> str:
    if found.prevalence is None:
        return ""
    if found.task == "binary":
        positive = classes[1] if len(classes) == 2 else "the positive class"
        return f"{share(found.prevalence)} of the test rows are {positive}."
    return f"The mean of {target} is {found.prevalence:.4g} on the test rows." if found.task != "classes" else ""


def _beside(found: Assessment) -> list[ScoresAgainst]:
    comparisons = []
    if found.beside_champion:
        first = found.beside_champion[0]
        comparisons.append(ScoresAgainst(name=found.champion, standing=first.standing, scores=found.beside_champion))
    if found.scores:
        comparisons.append(ScoresAgainst(name=found.baseline, standing=found.main.standing, scores=found.scores))
    return comparisons


def _calibration(found: Assessment) -> str:
    """Calibration as a sentence."""
    apart = [one for one in found.bins if not one.observed.low <= one.predicted <= one.observed.high]
    if not found.bins:
        return ""
    of = f"{len(apart):,} of {counted(len(found.bins), 'bin')}"
    if not apart:
        said = "Well calibrated in every bin."
    else:
        below = sum(one.predicted < one.observed.low for one in apart)
        way = "too low" if below == len(apart) else "too high" if not below else "off, some too low and some too high,"
        said = f"Predictions are significantly {way} in {of}."
    error = found.calibration_error
    return said + (f" Expected calibration error {interval(error)}." if error is not None else "")


def _movers(found: Assessment) -> tuple[InputInfluence, ...]:
    return tuple(
        InputInfluence(
            input=one.input,
            share=one.share,
            says=_direction(one.direction) if found.task != "classes" else "explained for the predicted class",
            extremes=_extremes(one),
        )
        for one in sorted(found.influences, key=lambda one: -one.share)
    )


def _direction(direction: float | None) -> str:
    if direction is None:
        return "by category"
    if abs(direction) < _CLEAR:
        return "no single direction"
    return "higher values raise it" if direction > 0 else "higher values lower it"


def _extremes(one: FeatureImportance) -> str:
    effects = [at for at in one.effect if at.at is None]
    if one.direction is not None or len(effects) < 2:
        return ""
    raises, lowers = max(effects, key=lambda at: at.mean), min(effects, key=lambda at: at.mean)
    return f"{raises.value or '(empty string)'} raises it most, {lowers.value or '(empty string)'} lowers it most"


def _members(found: Assessment) -> tuple[TriedCandidate, ...]:
    sign = -1.0 if found.scores and found.main.higher_is_better else 1.0

    def order(one: EnsembleMember) -> tuple[int, float]:
        return _STATES.get(one.state, 5), sign * one.score.value if one.score else 0.0

    return tuple(
        TriedCandidate(member=one, settings=_settings(one.settings)) for one in sorted(found.members, key=order)
    )


def _settings(text: str) -> str:
    """Settings in JSON with a space after each comma, so that they can wrap."""
    return text.replace(",", ", ").replace(",  ", ", ")


def _commands(release: Release) -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            text=f"tidemill export {release.name} {release.model}-{release.number}",
            does="export a folder that serves predictions without tidemill",
        ),
        ActionCommand(text=f"tidemill reproduce {release.name}", does="train again and compare"),
    )


def shareable_assessment(found: Assessment) -> Assessment | None:
    """The assessment without scores of groups that are too small to be shown."""
    if found.n_test < FEWEST_USERS:
        return None

    def enough(gap: GroupGap) -> bool:
        return all(n >= FEWEST_USERS for n in gap.n.values())

    charts = msgspec.structs.replace(
        found.charts,
        scores=tuple(one for one in found.charts.scores if all(bin_.n >= FEWEST_USERS for bin_ in one.bins)),
        residuals=tuple(one for one in found.charts.residuals if one.n >= FEWEST_USERS),
        residual_counts=tuple(one for one in found.charts.residual_counts if one.n >= FEWEST_USERS),
    )
    influences = tuple(
        msgspec.structs.replace(one, effect=tuple(at for at in one.effect if at.n >= FEWEST_USERS))
        for one in found.influences
    )
    return msgspec.structs.replace(
        found,
        charts=charts,
        influences=influences,
        parts=(),
        slices=tuple(part for part in found.all_slices if part.n_users >= FEWEST_USERS),
        bins=tuple(one for one in found.bins if one.n >= FEWEST_USERS),
        gaps=tuple(gap for gap in found.gaps if enough(gap)),
    )
