"""Slices of a test set: Holm's correction over all of them, and the worst one.

A slice of users is compared with the baseline on the same users, a slice of rows with all other rows. Both give a
`SliceResult` with a p value for each tested metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tidemill.core.records.quality import SliceResult
from tidemill.training.statistics.permutation_test import ALPHA, holm


def corrected(slices: Iterable[SliceResult]) -> tuple[SliceResult, ...]:
    """The slices with `p_holm`: their p values corrected over all slices and metrics."""
    slices = tuple(slices)
    stepped = holm({(n, name): p for n, one in enumerate(slices) for name, p in one.p.items()})
    return tuple(
        msgspec.structs.replace(one, p_holm={name: stepped[n, name] for name in one.p}) for n, one in enumerate(slices)
    )


def worst(
    slices: Sequence[SliceResult],
    measure: str,
    *,
    of: str,
    against: str,
    less: bool = False,
    notes: Mapping[tuple[str, str], str] = {},
    label: str = "Worst slice",
) -> str:
    """A sentence on the slice that is significantly worst by `measure`, else on the lowest one.

    Slices are made `of` users or rows and compared `against` something; `less`: lower is better. `notes` are words
    about a slice, by family and name. Slices in which neither side scores anything are left out.
    """
    tested = [one for one in slices if measure in one.difference and not _hopeless(one)]
    few = sum(not one.difference for one in slices)
    suffix = f"; {few} more have too few {of} to evaluate" if few else ""
    if not tested:
        return f"No slice has enough {of} to be tested{suffix}."
    beyond = [one for one in tested if one.p_holm[measure] < ALPHA and _nearest(one, measure, less) < 0]
    part = min(beyond or tested, key=lambda one: _nearest(one, measure, less) if beyond else _gain(one, measure, less))
    found = part.difference[measure]
    where = (
        f"{part.family}: {part.users} ({part.n_users:,} {of}), {measure} {part.model[measure].value:.4g} against "
        f"{part.baseline[measure].value:.4g} {against}, a difference of {found.value:+.3g} ({found.low:+.3g} to "
        f"{found.high:+.3g}), Holm p = {part.p_holm[measure]:.2g}{notes.get((part.family, part.users), '')}"
    )
    if beyond:
        return f"{label}: {where}; {len(beyond)} of {len(tested)} slices are significantly worse{suffix}."
    return f"None of {len(tested)} slices is significantly worse; the lowest is {where}{suffix}."


def _gain(part: SliceResult, measure: str, less: bool) -> float:
    return -part.difference[measure].value if less else part.difference[measure].value


def _nearest(part: SliceResult, measure: str, less: bool) -> float:
    """The best gain within the interval: below zero, the slice is worse."""
    return -part.difference[measure].low if less else part.difference[measure].high


def _hopeless(part: SliceResult) -> bool:
    """Whether neither side scores: a frozen model, for example, never lists items that it was not trained on."""
    return not any(metric.value for metric in (*part.model.values(), *part.baseline.values()))
