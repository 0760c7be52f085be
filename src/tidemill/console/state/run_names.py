"""Names of runs in URLs, and the release of a run."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill.core.errors import BadRequest
from tidemill.core.records.release import Release
from tidemill.core.records.runs import Run
from tidemill.loop.state.ledger_projection import ModelProjection


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
