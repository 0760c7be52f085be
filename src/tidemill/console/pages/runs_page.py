"""Runs page as data: the runs of each model, the best one by the key metric, and its release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec

from tidemill.console.formatting import counted, interval, lower, measure, parameter, spelled, through
from tidemill.console.pages.loop_page import model_names
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.key_metric import (
    best_of,
    clear_best,
    is_beyond_noise,
    key_figure,
    less_is_better,
    rivals_of,
)
from tidemill.core.clock import to_micros
from tidemill.core.errors import BadRequest, LedgerError, NoSuchRelease, message_of, nearest
from tidemill.core.flatten import flatten
from tidemill.core.record_format import Record
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Release
from tidemill.core.records.runs import Run
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection, ModelProjection, ProjectedState

#: Maximum number of runs in a comparison.
FEWEST, MOST = 2, 8
#: Maximum number of listed runs per model, unless the page is filtered by that model.
LISTED = 25
KINDS, STATES = (
    get_args(next(one.type for one in msgspec.structs.fields(Run) if one.name == name)) for name in ("kind", "state")
)
#: Maximum length of a text to search for.
LONGEST = 200


class RunFilter(Record, frozen=True):
    """Which runs are listed, and by which metric they are sorted, best first; empty: all, newest first."""

    model: str = ""
    kind: str = ""
    state: str = ""
    tag: str = ""
    #: Words that must all occur in the name, learner, tags, notes, settings or reason of failure.
    text: str = ""
    sort: str = ""

    def address(self, page: str = "/runs", **changes: str) -> str:
        """The URL of the page with this filter, and with changes of it.

        >>> RunFilter(model="for_you", kind="train").address(kind="", text="a b")
        '/runs?model=for_you&text=a+b'
        """
        given = {name: value for name, value in (msgspec.structs.asdict(self) | changes).items() if value}
        return f"{page}?{urlencode(given)}" if given else page

    def chooses(self, run: Run) -> bool:
        """Whether a run is listed."""
        exact = ((self.model, run.model), (self.kind, run.kind), (self.state, run.state))
        if any(wanted and wanted != found for wanted, found in exact) or (self.tag and self.tag not in run.tags):
            return False
        # Refreshes may come daily and train nothing: they would hide the other runs.
        if run.kind == "refresh" and run.state == "finished" and not self.kind:
            return False
        return all(word in _text(run) for word in self.text.casefold().split())


def _text(run: Run) -> str:
    said = (run.name, run.kind, run.state, run.learner, *run.tags, *run.notes, run.says, run.commit or "")
    return "\n".join((*said, *(f"{name}={value}" for name, value in settings(run).items()))).casefold()


class RunRow(Record, frozen=True):
    """One run in the list."""

    name: str
    model: str
    number: int
    #: `for_you.3`: the name of the run in a URL, in which `#` has another meaning.
    key: str
    kind: str
    state: str
    learner: str
    tags: tuple[str, ...]
    started_at: int
    ended_at: int | None
    #: The key metric of its model's runs; `None` if it has none.
    figure: Metric | None
    #: Shown instead of the key metric: another metric, or the progress of a running run.
    instead: str
    trials: int
    cpu_s: float | None
    wall_s: float | None
    as_of: int
    data: dict[str, int]
    #: Its release, and whether that is live.
    release: str
    live: bool
    best: bool
    says: str


class ModelRuns(Record, frozen=True):
    """The runs of one model, running ones first, then newest first; or the best first, by the metric of the filter."""

    model: str
    #: The key metric or that of the filter, and whether lower is better; empty if no run has a metric.
    measure: str
    less: bool
    rows: tuple[RunRow, ...]
    #: Number of older runs that are not listed.
    older: int
    #: The best run and its release as sentences.
    says: tuple[str, ...]
    commands: tuple[ActionCommand, ...]


class RunsPage(Record, frozen=True):
    """All data of the Runs page."""

    mill: str
    now: int
    headline: str
    lead: str
    models: tuple[str, ...]
    filter: RunFilter
    #: The kinds, states, tags and metrics that occur among the runs of the chosen model.
    kinds: tuple[str, ...]
    states: tuple[str, ...]
    tags: tuple[str, ...]
    metrics: tuple[str, ...]
    running: int
    #: Number of finished refreshes; they are listed only if that kind is requested.
    refreshes: int
    groups: tuple[ModelRuns, ...]
    #: The reason why the ledger could not be read, if so.
    unread: str | None


def runs_page(stores: ConsoleStores, projection: LedgerProjection, **chosen: str) -> RunsPage:
    """Build the page; `chosen` are fields of `RunFilter`. Raises `NoSuchRelease` for an unknown model, `BadRequest` for
    an unknown kind or state and for a longer text than 200 characters.
    """
    wanted = RunFilter(**chosen)
    projected = projection.catch_up()
    found, unread = all_runs(stores)
    names = known_models(stores, projected, found)
    if wanted.model and wanted.model not in names:
        raise NoSuchRelease(
            f"there is no model {wanted.model!r}; {nearest(wanted.model, names)}", tip="tidemill status"
        )
    for name, known in (("kind", KINDS), ("state", STATES)):
        if (value := getattr(wanted, name)) and value not in known:
            raise BadRequest(f"there is no {name} of run {value!r}; {nearest(value, known)}")
    if len(wanted.text) > LONGEST:
        raise BadRequest(f"a text to search for has at most {LONGEST} characters")
    shown = [run for run in found if wanted.chooses(run)]
    of_model = [run for run in found if wanted.model in ("", run.model)]
    running = sum(run.state == "running" for run in shown)
    groups = tuple(
        _group(stores, projected.models.get(name) or ModelProjection(name), runs, wanted)
        for name in names
        if (runs := [run for run in shown if run.model == name])
    )
    refreshes = sum(run.kind == "refresh" and run.state == "finished" for run in of_model) if not wanted.kind else 0
    return RunsPage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        headline=_headline(shown, wanted, bool(found), refreshes, running),
        lead=_lead(shown, groups),
        models=tuple(names),
        filter=wanted,
        kinds=tuple(kind for kind in KINDS if any(run.kind == kind for run in found)),
        states=tuple(state for state in STATES if any(run.state == state for run in of_model)),
        tags=tuple(sorted({tag for run in of_model for tag in run.tags})),
        metrics=tuple(sorted({name for run in shown for name in run.metrics})),
        running=running,
        refreshes=refreshes,
        groups=groups,
        unread=projection.problem or unread,
    )


def all_runs(stores: ConsoleStores, model: str | None = None) -> tuple[list[Run], str | None]:
    """The runs as far as the ledger can be read, and the reason if it cannot."""
    try:
        return list(stores.runs.all(model)), None
    except (LedgerError, OSError) as error:
        return [], message_of(error)


def known_models(stores: ConsoleStores, projected: ProjectedState, runs: Iterable[Run]) -> list[str]:
    """Declared models first, then those that only have runs."""
    names = model_names(stores, projected)
    return [*names, *sorted({run.model for run in runs} - set(names))]


def key_of(run: Run) -> str:
    """The key of a run in a URL: `for_you.3`."""
    return f"{run.model}.{run.number}"


def named(key: str) -> str:
    """The name of a run from a URL.

    >>> named("for_you.3")
    'for_you#3'
    """
    model, _, number = key.rpartition(".")
    if not model or not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise BadRequest(f"{key!r} is not a run", tip="write run=for_you.3 for the run for_you#3")
    return f"{model}#{int(number)}"


def release_of(run: Run, known: ModelProjection | None) -> Release | None:
    """The release of a run: the one that it names, else the first with its bundle."""
    releases = [release for release, _ in known.releases] if known else []
    named = run.artefacts.get("release", "").removeprefix("release:")
    found = next((release for release in releases if release.name == named), None)
    if found is None and not named and (bundle := _hash(run.artefacts.get("bundle", ""))):
        found = next((release for release in releases if release.bundle == bundle), None)
    return found


def run_of(release: Release, runs: Iterable[Run]) -> Run | None:
    """The run that created a release, the newest if several name it; else the one with its bundle."""
    found = list(runs)
    for fits in (
        lambda run: run.artefacts.get("release", "").removeprefix("release:") == release.name,
        lambda run: _hash(run.artefacts.get("bundle", "")) == release.bundle,
    ):
        one = next((run for run in found if fits(run)), None)
        if one is not None:
            return one
    return None


def _hash(ref: str) -> str:
    """The content's hash in `bundle:for_you@4be1…`, or the text itself."""
    return ref.rpartition("@")[2]


def row(run: Run, figure: str, known: ModelProjection | None, best: Run | None = None) -> RunRow:
    """A run as a row of the list."""
    release = release_of(run, known)
    champion = known.champion if known else None
    instead = ""
    if figure not in run.metrics and run.metrics:
        name, metric = next(iter(run.metrics.items()))
        instead = f"{measure(name)} {interval(metric)}"
    return RunRow(
        name=run.name,
        model=run.model,
        number=run.number,
        key=key_of(run),
        kind=run.kind,
        state=run.state,
        learner=run.learner,
        tags=run.tags,
        started_at=run.started_at,
        ended_at=run.ended_at,
        figure=run.metrics.get(figure),
        instead=instead,
        trials=run.trials,
        cpu_s=run.cost.cpu_s if run.cost else None,
        wall_s=run.cost.wall_s if run.cost else None,
        as_of=run.as_of,
        data=run.data,
        release=release.name if release else "",
        live=release is not None and champion is not None and release.name == champion.name,
        best=best is not None and run.number == best.number,
        says=run.says,
    )


def _group(stores: ConsoleStores, known: ModelProjection, runs: Sequence[Run], wanted: RunFilter) -> ModelRuns:
    key = key_figure(runs)
    figure = wanted.sort or key
    best, clear = best_of(runs, key), clear_best(runs, key)
    limit = None if wanted.model else LISTED
    ordered = sorted(runs, key=lambda run: _order(run, wanted.sort))
    listed = [run for run in ordered[:limit] if limit is None or run is not best]
    if best is not None and best not in listed:
        listed.append(best)
        listed.sort(key=lambda run: _order(run, wanted.sort))
    says, commands = _verdict(known, runs, best, key)
    if wanted.state or wanted.tag or wanted.text:  # a part of the runs says nothing about what to promote
        says, commands = [f"Of these runs, {says[0]}"] if best else says, []
    return ModelRuns(
        model=known.name,
        measure=figure,
        less=less_is_better(figure),
        rows=tuple(_going(stores, run, row(run, figure, known, clear)) for run in listed),
        older=len(ordered) - len(listed),
        says=tuple(says),
        commands=tuple(commands),
    )


def _order(run: Run, metric: str) -> tuple[Any, ...]:
    """Running runs first, then the newest; with a metric the best first, and runs without it last."""
    if not metric:
        return run.state != "running", -run.number
    found = run.metrics.get(metric)
    sign = 1 if less_is_better(metric) else -1
    return found is None, sign * found.value if found else 0.0, -run.number


def _going(stores: ConsoleStores, run: Run, shown: RunRow) -> RunRow:
    """The row of a run, with its progress while it is running."""
    if run.state != "running":
        return shown
    points, trials = stores.runs.points(run.name), stores.runs.trials(run.name)
    far = [counted(len(trials), "trial")] if trials else []
    if points:
        last = max(points, key=lambda point: (point.step, point.at))
        far.append(f"step {last.step:,}: {lower(measure(last.name))} {last.value:.4g}")
    return msgspec.structs.replace(shown, instead=", ".join(far), trials=len(trials))


def _verdict(
    known: ModelProjection, runs: Sequence[Run], best: Run | None, figure: str
) -> tuple[list[str], list[ActionCommand]]:
    """The best run and its release as sentences, and commands to type."""
    if best is None:
        return ["None of these runs has a metric yet."], []
    says = [f"{best.name} has the best {lower(measure(figure))}: {interval(best.metrics[figure])}."]
    rivals = rivals_of(best, runs, figure)
    rival = best_of(rivals, figure)
    if rival is not None and not is_beyond_noise(best, rival, figure):
        says.append(f"That may be noise: the interval of {rival.name} overlaps it.")
    elif rival is None and any(run is not best and figure in run.metrics for run in runs):
        says.append("No other run was evaluated on the same data.")
    commands: list[ActionCommand] = []
    champion, release = known.champion, release_of(best, known)
    learned = known.learned_live
    live = run_of(learned, runs) if learned else None
    if release is not None and champion is not None and learned is not None and release.name == learned.name:
        fresh = "" if champion.name == learned.name else f", refreshed as {champion.name}"
        says.append(f"Released as {release.name}, which is live{fresh}.")
        if rival is not None:
            commands.append(_compare(best, rival, "compare it with the second best"))
        return says, commands
    if release is not None:
        says.append(f"Released as {release.name}, which is not live{_instead(champion)}.")
    else:
        says.append(f"It has no release{_instead(champion)}.")
    if live is not None and live is not best:
        if live.data != best.data:
            says.append(f"{live.name}, the run of the live release, used different data.")
        commands.append(_compare(live, best, "compare it with the live run"))
    if champion is not None and (live is None or not is_beyond_noise(best, live, figure)):
        return says, commands  # nothing shows that it is better than the live release
    if release is not None:
        commands.append(ActionCommand(text=f"tidemill promote {release.name}", does=f"make {release.name} live"))
    else:
        commands.append(ActionCommand(text=f"tidemill train {best.model}", does="train it and create a release"))
    return says, commands


def _instead(champion: Release | None) -> str:
    return f"; {champion.name} is live" if champion else ""


def _compare(one: Run, other: Run, does: str) -> ActionCommand:
    return ActionCommand(text=f"tidemill compare {one.name} {other.name}", does=does)


def _headline(shown: Sequence[Run], wanted: RunFilter, any_at_all: bool, refreshes: int, running: int) -> str:
    if not any_at_all:
        return "No runs yet."
    if not shown:
        only = not (wanted.kind or wanted.state or wanted.tag or wanted.text) and refreshes
        return "Only refreshes so far." if only else "No runs match."
    if running:
        return f"{spelled(running)} {'run is' if running == 1 else 'runs are'} in progress."
    if wanted.state or wanted.tag or wanted.text:
        return f"{spelled(len(shown))} {'run matches' if len(shown) == 1 else 'runs match'}."
    return f"{spelled(len(shown))} {'run' if len(shown) == 1 else 'runs'} so far."


def _lead(shown: Sequence[Run], groups: Sequence[ModelRuns]) -> str:
    if not shown:
        return "Every training, search and evaluation is recorded as a run."
    failed = sum(run.state in ("failed", "stopped") for run in shown)
    cpu = sum(run.cost.cpu_s for run in shown if run.cost)
    newest = max(run.as_of for run in shown)
    parts = [counted(len(groups), "model")]
    if failed:
        parts.append(f"{failed:,} of {len(shown):,} failed or stopped")
    if cpu >= 1:
        parts.append(f"{cpu:,.0f} CPU seconds in total")
    if newest:
        parts.append(f"newest data through {through(newest)}")
    return ", ".join(parts) + "."


def settings(run: Run) -> dict[str, str]:
    """The parameters of a run as text, nested ones by path."""
    return {name: parameter(value) for name, value in flatten(run.parameters).items() if value not in (None, [], ())}
