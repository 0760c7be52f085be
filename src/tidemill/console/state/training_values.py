"""Training values of each input of a release, and the share of the traffic that is unlike them."""

from __future__ import annotations

from tidemill.console.formatting import figure, number
from tidemill.console.state.bundle_inputs import bundle_inputs
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.model_traffic import ModelTraffic
from tidemill.core.record_format import Record
from tidemill.core.records.release import Release
from tidemill.models.tabular.input_ranges import InputRange

#: Number of texts that are named.
_NAMED = 4


class TrainingValues(Record, frozen=True):
    """The values of one input in the training rows."""

    input: str
    says: str
    #: The share of the training rows that are unlike it, and of the logged predictions; `None` if none was logged.
    outside: float
    unseen: float | None


def training_values(
    release: Release, stores: ConsoleStores, traffic: ModelTraffic | None
) -> tuple[TrainingValues, ...]:
    """The inputs of a release that have a range, those with the largest share of unlike predictions first."""
    logged = traffic.found if traffic else None
    found = [
        TrainingValues(
            input=one.name,
            says=_says(one),
            outside=one.outside,
            unseen=logged.unseen.get(one.name, 0) / logged.checked if logged and logged.checked else None,
        )
        for one in bundle_inputs(stores, release).ranges.inputs
    ]
    return tuple(sorted(found, key=lambda one: -(one.unseen or 0.0)))


def _says(one: InputRange) -> str:
    parts = []
    if one.texts is not None:
        more = len(one.texts) - _NAMED
        names = ", ".join(text or "(empty string)" for text in one.texts[:_NAMED])
        parts.append(f"{names} and {more:,} more" if more > 0 else names)
    if one.low is not None and one.high is not None:
        parts.append(f"{_end(one.low)} to {_end(one.high)}")
    return ", ".join([*parts, "may be missing" if one.missing else "never missing"])


def _end(value: float) -> str:
    return number(value) if value.is_integer() else figure(value)
