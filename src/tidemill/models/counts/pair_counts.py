"""Time-decayed co-occurrence of items: which item follows which, counted over each user's events.

For events a before b of one user, at lag k = 1..max_lag, the pair has the weight

    (exp(-Δt / gap) + 0.1) · k^-lag_power · 2^-(age of b / half_life) · (1.5 if on the same day)

W is the sum of these, M = W + backward · Wᵀ, and M_ij is damped by (f_i + smooth)^-damping · (f_j + smooth)^-damping_to
with f the decayed counts. Sequence-aware item-to-item counting goes back to Linden et al. (2003) and to the
session-based kNN family (Ludewig & Jannach 2018).

The counts are additive, so `PairCounts` is updated from the events of the users that changed. All pairs decay alike, so
a weight is stored as an integer relative to the end of a span of four half-lives; decay is then one factor per span
when the matrix is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are first used

from tidemill.core.errors import BundleCorrupt, FormatTooNew, LearnError
from tidemill.core.record_format import decode_json
from tidemill.models.counts.exact_pair_sums import LARGEST, PairSums, added, from_entries, grown, summed
from tidemill.models.counts.item_tally import ItemTally
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.recommender.event_facts import DAY_US
from tidemill.models.recommender.interactions import F64, I32, I64, Interactions

FORMAT = 1
#: The minimum weight of a pair for any time between its events, and the factor for pairs on one day.
FLOOR, SAME_DAY = 0.1, 1.5
#: Added to counts before damping.
SMOOTH = 5.0
#: Added to recent events and to counts before they are compared.
TREND = (1.0, 3.0)
#: Maximum number of buffered pairs; adding to a large matrix costs as much as the matrix.
WAITING = 20_000_000
#: Half-lives per span, and number of kept spans: weights more than 256 half-lives older than the newest event vanish.
SPAN, SPANS = 4, 64
#: Integer that represents a weight of 1.
UNIT = 2.0**38


class PairSettings(msgspec.Struct, frozen=True, kw_only=True, tag="pairs"):
    """Parameters of the weight of a pair of events."""

    half_life_days: float = 365.0
    gap_days: float = 365.0
    max_lag: int = 60
    lag_power: float = 0.5

    @property
    def least(self) -> int:
        """Half of the smallest integer that one pair of events adds."""
        return max(1, int(FLOOR * self.max_lag**-self.lag_power * 2.0**-SPAN * UNIT / 2))

    def spans(self, time: npt.NDArray[Any]) -> tuple[I64, F64]:
        """For times (microseconds): the number of the span, and 2^-(time to its end / half-life)."""
        half_lives = time / (self.half_life_days * DAY_US)
        number = np.floor(half_lives / SPAN)
        return number.astype(np.int64), np.exp2(half_lives - (number + 1) * SPAN)

    def decay(self, number: int, as_of: int) -> float:
        """The value at `as_of` of a weight of 1 at the end of a span."""
        return float(np.exp2((number + 1) * SPAN - as_of / (self.half_life_days * DAY_US)))

    def none(self) -> PairCounts:
        """Empty counts."""
        return PairCounts(self, ItemTally.none(), {})

    def pair_sums(self, events: Interactions, place: I32, n: int) -> list[tuple[int, Any]]:
        """By span: pairs int64 (n, n) of "the column's item was taken after the row's"; events on the diagonal."""
        found = []
        for number, pairs, taken in _counted(events, place, n, self):
            found.append((number, (pairs + scipy.sparse.diags_array(taken, dtype=np.int64)).tocsr()))
        return found

    def from_sums(self, tally: ItemTally, span: I64, a: I64, b: I64, sums: I64) -> PairCounts:
        """Counts from the entries of these matrices."""
        spans = {}
        newest = int(span.max()) if len(span) else 0
        for number in np.unique(span[span > newest - SPANS]).tolist():
            own, here = (span == number) & (a == b), (span == number) & (a != b)
            taken = np.zeros(tally.n_items, np.int64)
            taken[a[own]] = sums[own]
            pairs = from_entries(a[here], b[here], sums[here], tally.n_items)
            spans[number] = _Span(PairSums.none(tally.n_items), np.zeros(0, np.int64)).plus(pairs, taken)
        return PairCounts(self, tally, spans)

    def open(self, folder: Path) -> PairCounts:
        """Counts with these settings, written into `folder`; raises `BundleCorrupt` if theirs differ."""
        found = PairCounts.open(folder)
        if found.settings != self:
            raise BundleCorrupt(f"the counts in {folder} were made with other settings")
        return found


@dataclass(frozen=True, eq=False)
class _Span:
    """Counts of one span: pairs whose later event is in it, and the number of events of each item in it."""

    pairs: PairSums
    taken: I64  # (n_items or fewer)

    def plus(self, pairs: scipy.sparse.csr_matrix[Any], taken: I64) -> _Span:
        both = taken.copy()
        both[: len(self.taken)] += self.taken
        if both.max(initial=0) > LARGEST:
            raise LearnError("the event count of an item is too large", tip="train on fewer events")
        return _Span(self.pairs.plus(pairs), both)


@dataclass(frozen=True, eq=False)
class ItemFactors:
    """Factors of the entries of a matrix, float64 (n_items): of rows, of columns, and of columns after the power."""

    left: F64
    right: F64
    boost: F64


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Co-occurrence counts of events, without users.

    They are identical, bit for bit, whether computed at once or event by event, in any order.
    """

    settings: PairSettings
    tally: ItemTally
    _spans: dict[int, _Span]

    @classmethod
    def from_interactions(
        cls, events: Interactions, *, half_life_days: float, gap_days: float, max_lag: int, lag_power: float = 0.5
    ) -> PairCounts:
        """Counts of these events."""
        settings = PairSettings(half_life_days=half_life_days, gap_days=gap_days, max_lag=max_lag, lag_power=lag_power)
        return settings.none().changed(Interactions.none(), events)

    def changed(self, before: Interactions, after: Interactions) -> PairCounts:
        """The counts after the events of some users changed from `before` to `after`.

        Both contain all events of these users and no others, because a late event changes the lags of the others. A
        user without events is absent from both. The cost depends on these events, not on the size of the counts.
        """
        tally = self.tally.changed(before, after)
        parts: dict[int, list[tuple[scipy.sparse.csr_matrix[Any], I64]]] = {}
        for events, sign in ((after, 1), (before, -1)):
            for number, pairs, taken in _counted(events, tally.places(events.items), tally.n_items, self.settings):
                parts.setdefault(number, []).append((sign * pairs, sign * taken))
        newest = max([*self._spans, *parts], default=0)
        spans = {number: span for number, span in self._spans.items() if number > newest - SPANS}
        for number in sorted(parts):
            if number > newest - SPANS:
                span = spans.get(number) or _Span(PairSums.none(tally.n_items), np.zeros(0, np.int64))
                pairs = added((pairs for pairs, _ in parts[number]), tally.n_items)
                taken = sum((taken for _, taken in parts[number]), np.zeros_like(tally.events))
                spans[number] = span.plus(pairs, taken)
        return PairCounts(self.settings, tally, spans)

    def frequency(self, items: Sequence[str], as_of: int) -> F64:
        """float64 (n_items): decayed events of each of `items`; an event of age t counts 2^-(t / half_life)."""
        total = np.zeros(self.tally.n_items)
        for number, span in self._spans.items():
            total[: len(span.taken)] += span.taken * (self.settings.decay(number, as_of) / UNIT)
        places = self.tally.places(items)
        return np.where(places >= 0, total[places], 0.0) if len(total) else np.zeros(len(items))

    def decays(self, as_of: int) -> dict[int, float]:
        """Span -> the weight at `as_of` of a unit of its counts."""
        return {number: self.settings.decay(number, as_of) / UNIT for number in self._spans}

    def matrix(
        self,
        items: Sequence[str],
        as_of: int,
        *,
        backward: float,
        damping: float,
        damping_to: float | None = None,
        smooth: float = SMOOTH,
        power: float = 1.0,
        trend: float = 0.0,
        recent: npt.NDArray[Any] | None = None,
    ) -> scipy.sparse.csr_matrix[Any]:
        """float32 (n_items, n_items) for `items`: row i has the weights of items related to i; the diagonal is empty.

        Items without counts have empty rows; counted items that are not in `items` are left out. `as_of` is not earlier
        than the newest event. With a `trend`, column j is multiplied by ((recent_j + 1) / (f_j + 3))^trend; `recent` is
        the number of events of each item on the last days, over a number of days chosen by the caller.
        """
        both = self._forward(items, as_of)
        if backward:
            both = (both + backward * both.T).tocsr()
        factors = self.factors(
            items, as_of, damping=damping, damping_to=damping_to, smooth=smooth, trend=trend, recent=recent
        )
        both.data *= np.repeat(factors.left, np.diff(both.indptr)) * factors.right[both.indices]
        if power != 1:
            both.data **= power
        if trend:
            both.data *= factors.boost[both.indices]
        single: scipy.sparse.csr_matrix[Any] = both.astype(np.float32)
        single.eliminate_zeros()
        single.sort_indices()
        return single

    def factors(
        self,
        items: Sequence[str],
        as_of: int,
        *,
        damping: float,
        damping_to: float | None = None,
        smooth: float = SMOOTH,
        trend: float = 0.0,
        recent: npt.NDArray[Any] | None = None,
        **_: Any,
    ) -> ItemFactors:
        """What the entries of `matrix` are multiplied by; it takes the same arguments."""
        frequency = self.frequency(items, as_of)
        boost = np.ones(len(items))
        if trend:
            if recent is None or len(recent) != len(items):
                raise LearnError("a trend needs the recent events of each item")
            boost = ((recent + TREND[0]) / (frequency + TREND[1])) ** trend
        return ItemFactors(
            left=(frequency + smooth) ** -damping,
            right=(frequency + smooth) ** -(damping if damping_to is None else damping_to),
            boost=boost,
        )

    def _forward(self, items: Sequence[str], as_of: int) -> scipy.sparse.csr_matrix[Any]:
        """float64 (n_items, n_items) for `items`: the weights of "the column's item was taken after the row's"."""
        n = self.tally.n_items
        total: scipy.sparse.csr_matrix[Any] = scipy.sparse.csr_matrix((n, n))
        for number, span in sorted(self._spans.items()):
            whole = grown(span.pairs.total(self.settings.least), n)
            weights = whole.data * (self.settings.decay(number, as_of) / UNIT)
            part: scipy.sparse.csr_matrix[Any] = scipy.sparse.csr_matrix(
                (weights, whole.indices, whole.indptr), shape=(n, n)
            )
            total = total + part if total.nnz else part
        return self.tally.aligned(total, items)

    def write(self, folder: Path) -> None:
        """Write the counts into the empty `folder`: arrays, item ids and their settings."""
        self.tally.write(folder)
        numbers = sorted(self._spans)
        for place, number in enumerate(numbers):
            self._spans[number].pairs.write(folder / f"span{place:02}")
            write_array(folder / f"span{place:02}" / "taken.npy", self._spans[number].taken)
        about = _About(format=FORMAT, settings=self.settings, spans=numbers)
        (folder / "pairs.json").write_bytes(msgspec.json.encode(about))

    @classmethod
    def open(cls, folder: Path) -> PairCounts:
        """Open what `write` wrote, memory-mapped; raises `BundleCorrupt` or `FormatTooNew` if that fails."""
        file = folder / "pairs.json"
        try:
            about = decode_json(file.read_bytes(), _About)
        except (OSError, msgspec.DecodeError) as problem:
            raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem
        if about.format > FORMAT:
            raise FormatTooNew(
                f"{file} has format {about.format}; this version of tidemill reads formats up to {FORMAT}"
            )
        spans = {}
        for place, number in enumerate(about.spans):
            taken = open_array(folder / f"span{place:02}" / "taken.npy")
            spans[number] = _Span(PairSums.open(folder / f"span{place:02}", len(taken)), taken)
        return cls(about.settings, ItemTally.open(folder), spans)


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """`pairs.json`."""

    format: int
    settings: PairSettings
    spans: list[int]


def cooccurrence_matrix(
    events: Interactions,
    as_of: int,
    *,
    half_life_days: float,
    gap_days: float,
    backward: float,
    damping: float,
    max_lag: int,
    lag_power: float = 0.5,
    damping_to: float | None = None,
    smooth: float = SMOOTH,
    power: float = 1.0,
    trend: float = 0.0,
    trend_days: int = 90,
) -> scipy.sparse.csr_matrix[Any]:
    """float32 (n_items, n_items): row i has the weights of the items related to i; the diagonal is empty.

    `trend_days` is the number of days before `as_of` whose events a `trend` uses.
    """
    counts = PairCounts.from_interactions(
        events, half_life_days=half_life_days, gap_days=gap_days, max_lag=max_lag, lag_power=lag_power
    )
    late = events.item[events.time >= as_of - trend_days * DAY_US]
    return counts.matrix(
        events.items,
        as_of,
        backward=backward,
        damping=damping,
        damping_to=damping_to,
        smooth=smooth,
        power=power,
        trend=trend,
        recent=np.bincount(late, minlength=events.n_items),
    )


def _counted(
    events: Interactions, place: I32, n: int, settings: PairSettings
) -> list[tuple[int, scipy.sparse.csr_matrix[Any], I64]]:
    """By span: pairs int64 (n, n) of "the column's item was taken after the row's", and the events of each item."""
    if not len(events):
        return []
    item = place[events.item]
    number, fresh = settings.spans(events.time)
    numbers = np.unique(number).tolist()
    totals: dict[int, scipy.sparse.csr_matrix[Any]] = {}
    waiting: list[tuple[I64, I32, I32, I64]] = []
    longest = int(np.diff(events.starts).max(initial=0))
    for lag in range(1, min(settings.max_lag, longest - 1) + 1):
        first = np.flatnonzero((events.user[:-lag] == events.user[lag:]) & (item[:-lag] != item[lag:]))
        then = first + lag
        days = (events.time[then] - events.time[first]) / DAY_US
        weight = (np.exp(-days / settings.gap_days) + FLOOR) * lag**-settings.lag_power * fresh[then]
        weight *= np.where(events.time[then] // DAY_US == events.time[first] // DAY_US, SAME_DAY, 1.0)
        waiting.append((np.rint(weight * UNIT).astype(np.int64), item[first], item[then], number[then]))
        if sum(len(weights) for weights, *_ in waiting) > WAITING:
            _add_up(totals, waiting, numbers, n)
    _add_up(totals, waiting, numbers, n)
    units = np.rint(fresh * UNIT).astype(np.int64)
    taken = {}
    for one in numbers:
        taken[one] = np.zeros(n, np.int64)
        np.add.at(taken[one], item[number == one], units[number == one])
    return [(one, totals.get(one, summed(item[:0], item[:0], units[:0], n)), taken[one]) for one in numbers]


def _add_up(
    totals: dict[int, scipy.sparse.csr_matrix[Any]],
    waiting: list[tuple[I64, I32, I32, I64]],
    numbers: list[int],
    n: int,
) -> None:
    """Add the buffered pairs to the sums of their spans."""
    if not waiting:
        return
    weights, rows, columns, spans = (np.concatenate(arrays) for arrays in zip(*waiting, strict=True))
    waiting.clear()
    for number in numbers:
        here = spans == number if len(numbers) > 1 else slice(None)
        found = summed(rows[here], columns[here], weights[here], n)
        if found.nnz:
            totals[number] = added([totals[number], found], n) if number in totals else found
