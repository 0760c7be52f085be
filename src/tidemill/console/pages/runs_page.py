"""Runs page as data: the runs of each model, the best one by the key metric, and its release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tidemill.console.formatting import counted, interval, lower, measure, spelled, through
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
from tidemill.console.state.run_filter import KINDS, STATES, RunFilter
from tidemill.console.state.run_names import key_of, release_of, run_of
from tidemill.core.clock import to_micros
from tidemill.core.errors import LedgerError, NoSuchRelease, message_of, nearest
from tidemill.core.record_format import Record
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Release
from tidemill.core.records.runs import Run
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection, ModelProjection, ProjectedState

#: Maximum number of listed runs per model, unless the page is filtered by that model.
LISTED = 25


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
    wanted.check()
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
