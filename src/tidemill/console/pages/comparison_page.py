"""Comparison page as data: runs side by side, their differences, their metrics and paired significance tests.

The same comparison as `tidemill compare`; the first run is the baseline.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from tidemill import training
from tidemill.console.formatting import counted, interval, lower, measure, parameter, through
from tidemill.console.pages.runs_page import RunRow, all_runs, row
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.key_metric import best_of, key_figure, less_is_better, rank, users_of
from tidemill.console.state.run_names import named, release_of, run_of
from tidemill.core.clock import to_micros
from tidemill.core.errors import BadRequest, LedgerError, NoSuchRelease, nearest
from tidemill.core.record_format import Record
from tidemill.core.records.assessment import VERSUS_CHAMPION
from tidemill.core.records.quality import Metric
from tidemill.core.records.runs import Run
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection, ModelProjection, ProjectedState

if TYPE_CHECKING:
    from tidemill.training import RunComparison
    from tidemill.training.runs.run_comparison import PairedDifference

#: `ahead` and `behind`: the difference is significant after the Holm correction.
Standing = Literal["ahead", "behind", "even", "unpaired", "reference"]
#: Number of runs in a comparison.
FEWEST, MOST = 2, 8
#: Maximum number of cached comparisons.
_KEPT = 24


class DifferingSetting(Record, frozen=True):
    """One field that differs between the runs, and its value in each; empty if a run does not have it."""

    about: Literal["run", "parameters", "data", "code", "environment"]
    name: str
    values: tuple[str, ...]


class ComparedRun(Record, frozen=True):
    """A metric of one run."""

    run: str
    metric: Metric | None
    #: This run minus the first on the same test users, and the Holm-corrected p of a paired test; `None` without one.
    difference: Metric | None
    p: float | None
    standing: Standing


class ComparedFigures(Record, frozen=True):
    """One metric of all runs."""

    name: str
    less: bool
    #: A metric of a single group of users, or a difference from popularity: collapsed.
    late: bool
    rows: tuple[ComparedRun, ...]


class ComparePage(Record, frozen=True):
    """All data of the comparison page."""

    mill: str
    now: int
    models: tuple[str, ...]
    runs: tuple[RunRow, ...]
    headline: str
    lead: str
    figures: tuple[ComparedFigures, ...]
    #: Whether any two runs could be paired, and the reasons why others could not.
    paired: bool
    unpaired: tuple[str, ...]
    differences: tuple[DifferingSetting, ...]
    #: Number of parameters, tables and other fields that are the same in all runs.
    same: int
    commands: tuple[ActionCommand, ...]


class ComparisonStore:
    """Cached comparisons of one console: a paired test takes a second, and finished runs never change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], RunComparison] = {}
        self._lock = threading.Lock()

    def compare(self, stores: ConsoleStores, runs: Sequence[Run]) -> RunComparison:
        """The comparison of `runs`, in the given order."""
        names = tuple(run.name for run in runs)
        with self._lock:
            found = self._known.get(names)
            if found is None:
                found = stores.compare(names) if stores.compare else training.compare(runs)
                if all(run.state in ("finished", "failed") for run in runs):
                    self._known[names] = found
                    if len(self._known) > _KEPT:
                        del self._known[next(iter(self._known))]
        return found


def compare_page(
    stores: ConsoleStores, projection: LedgerProjection, keys: Sequence[str], store: ComparisonStore | None = None
) -> ComparePage:
    """The comparison of `for_you.3` and others; raises `BadRequest` for less than two or more than eight runs, and
    `NoSuchRelease` with the nearest name for an unknown run.
    """
    projected = projection.catch_up()
    names = list(dict.fromkeys(named(key) for key in keys))
    if not FEWEST <= len(names) <= MOST:
        raise BadRequest(
            f"{counted(len(names), 'run')} selected; {FEWEST} to {MOST} can be compared",
            tip="select them on the Runs page",
        )
    runs = _read(stores, names)
    found = (store or ComparisonStore()).compare(stores, runs)
    figures = _figures(runs, found)
    pairs = [figure.name for figure in figures if any(one.difference for one in figure.rows)]
    figure = key_figure(runs, pairs)
    best = best_of(runs, figure)
    headline, lead = _verdict(runs, best, figure, figures)
    clear = best if best is not None and _is_clear(runs, best, figure, figures) else None
    return ComparePage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        models=tuple(dict.fromkeys(run.model for run in runs)),
        runs=tuple(row(run, figure, projected.models.get(run.model), clear) for run in runs),
        headline=headline,
        lead=lead,
        figures=figures,
        paired=bool(pairs),
        unpaired=found.unpaired,
        differences=tuple(_differs(found)),
        same=found.same,
        commands=tuple(_commands(projected, runs, clear)),
    )


def _read(stores: ConsoleStores, names: Sequence[str]) -> list[Run]:
    found, unread = all_runs(stores)
    if unread is not None:
        raise LedgerError(f"the ledger cannot be read: {unread}", tip="tidemill verify")
    by_name = {run.name: run for run in found}
    for name in names:
        if name not in by_name:
            there = nearest(name, list(by_name)[:200]) if by_name else "there are no runs yet"
            raise NoSuchRelease(f"there is no run {name}; {there}", tip="the Runs page lists them")
    return [by_name[name] for name in names]


def _figures(runs: Sequence[Run], found: RunComparison) -> tuple[ComparedFigures, ...]:
    pairs = {(pair.other, pair.measure): pair for pair in found.paired}
    made = []
    for figure in sorted(found.metrics, key=lambda figure: (_late(figure.name), rank(figure.name))):
        less = less_is_better(figure.name)
        rows = []
        for place, (run, metric) in enumerate(zip(runs, figure.values, strict=True)):
            # A metric over rows names no users, and is paired over all rows.
            pair = pairs.get((run.name, figure.name)) or pairs.get((run.name, f"{figure.name}[all]"))
            pair = pair if place else None
            rows.append(
                ComparedRun(
                    run=run.name,
                    metric=metric,
                    difference=pair.difference if pair else None,
                    p=pair.p_holm if pair else None,
                    standing=_standing(pair, less) if pair else _without(place),
                )
            )
        made.append(ComparedFigures(name=figure.name, less=less, late=_late(figure.name), rows=tuple(rows)))
    return tuple(made)


def _without(place: int) -> Standing:
    return "unpaired" if place else "reference"


def _late(name: str) -> bool:
    """Whether a metric is collapsed: those of single groups, and the differences from popularity."""
    return name.startswith(("difference ", *VERSUS_CHAMPION)) or rank(name) > 2


def _standing(pair: PairedDifference, less: bool) -> Standing:
    if not pair.sure:
        return "even"
    return "ahead" if (pair.difference.low > 0) is not less else "behind"


def _differs(found: RunComparison) -> list[DifferingSetting]:
    rows = []
    for one in found.differs:
        about, _, name = one.what.partition(".")
        if about == "parameters" and name:
            rows.append(DifferingSetting(about="parameters", name=name, values=_texts(one.values)))
        elif about == "data" and name:
            rows.append(
                DifferingSetting(about="data", name=name, values=tuple(f"@{v}" if v else "" for v in one.values))
            )
        elif one.what == "as of":
            rows.append(
                DifferingSetting(
                    about="data", name="through", values=tuple(through(v) if v else "" for v in one.values)
                )
            )
        elif one.what in ("code", "commit"):
            rows.append(DifferingSetting(about="code", name=one.what, values=_texts(one.values)))
        elif one.what == "environment":
            rows.append(DifferingSetting(about="environment", name="fingerprint", values=_texts(one.values)))
        else:
            rows.append(DifferingSetting(about="run", name=one.what, values=_texts(one.values)))
    return rows


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple("" if value is None else parameter(value) for value in values)


def _verdict(runs: Sequence[Run], best: Run | None, figure: str, figures: Sequence[ComparedFigures]) -> tuple[str, str]:
    """The verdict as one sentence, and one with its interval and p."""
    if best is None:
        return "None of these runs has a metric yet.", "Their parameters are shown side by side."
    small = lower(measure(figure))
    rows = {one.run: one for one in next(one for one in figures if one.name == figure).rows}
    first = runs[0]
    if best is first:
        others = [one.standing for one in rows.values() if one.run != first.name and one.metric is not None]
        if not others or "unpaired" in others:
            return _unpaired(best, figure)
        if all(standing == "behind" for standing in others):
            says = f"On the same test {_whom(figure)} its {small} is better than that of every other run."
            return f"{first.name} is better.", says
        return f"{first.name} has the best {small}.", "Its lead over the others is not significant."
    one = rows[best.name]
    if one.difference is None or one.p is None:
        return _unpaired(best, figure)
    by = f"on the same test {_whom(figure)} the difference from {first.name} is {interval(one.difference, signed=True)}"
    sure = f"p {one.p:.3f}" if one.p >= 0.001 else "p below 0.001"
    if one.standing == "ahead":
        return f"{best.name} is better than {first.name}.", f"By {small}: {by}, {sure}."
    return "No significant difference.", f"{best.name} has the best {small}, but {by}, {sure}: not significant."


def _is_clear(runs: Sequence[Run], best: Run, figure: str, figures: Sequence[ComparedFigures]) -> bool:
    """Whether a paired test shows that the best run is better than each other one."""
    rows = {one.run: one.standing for one in next(one for one in figures if one.name == figure).rows}
    if best is runs[0]:
        return all(rows[run.name] == "behind" for run in runs[1:])
    return len(runs) == 2 and rows[best.name] == "ahead"


def _whom(figure: str) -> str:
    """The unit of a metric: users for metrics of lists, rows for those of tabular models."""
    return "users" if users_of(figure) or "@" in figure else "rows"


def _unpaired(best: Run, figure: str) -> tuple[str, str]:
    small = lower(measure(figure))
    why = f"there are no metrics of the same test {_whom(figure)} to pair"
    return f"{best.name} has the best {small}.", f"Significance cannot be tested: {why}."


def _commands(projected: ProjectedState, runs: Sequence[Run], best: Run | None) -> list[ActionCommand]:
    names = " ".join(run.name for run in runs)
    commands = [ActionCommand(text=f"tidemill compare {names}", does="show the same in a terminal")]
    if best is None:
        return commands
    known = projected.models.get(best.model) or ModelProjection(best.model)
    release, champion = release_of(best, known), known.champion
    if release is None:
        commands.append(
            ActionCommand(text=f"tidemill train {best.model}", does=f"{best.name} has no release: create one")
        )
    elif champion is None or (champion.name != release.name and run_of(champion, runs) is not None):
        commands.append(ActionCommand(text=f"tidemill promote {release.name}", does=f"make {release.name} live"))
    return commands


def address(keys: Sequence[str], first: str | None = None) -> str:
    """The comparison's URL, optionally with another run first.

    >>> address(["for_you.3", "for_you.4"], "for_you.4")
    '/runs/compare?run=for_you.4&run=for_you.3'
    """
    ordered = sorted(keys, key=lambda key: key != first)
    return "/runs/compare?" + "&".join(f"run={quote(key, safe='')}" for key in ordered)
