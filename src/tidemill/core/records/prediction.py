"""Records of serving: predictions and outcomes."""

from __future__ import annotations

from datetime import date
from typing import Literal

from tidemill.core.record_format import Record as Record


class ScoredItem(Record, frozen=True):
    """One recommended item."""

    item: str = ""
    score: float = 0.0
    reason: str = ""


#: Maximum number of `exclude` and of `candidates` that a prediction records.
LOGGED_ITEMS = 256
#: The format of predictions and outcomes. Not increased for a new field with a default, only for a changed meaning.
LOG_FORMAT = 2


class Prediction(Record, frozen=True):
    """One logged prediction: the request, the features used, the response and the release."""

    prediction_id: str = ""
    model: str = ""
    release: str = ""
    #: Id of the deployment and its arm; the deployment is empty in records of format 1.
    deployment: str = ""
    arm: str = "champion"
    #: Id of the routing policy that chose the arm. In format 1, the state of the kill switch.
    policy: str = "single"
    #: `off` if the model was switched off, so that its fallback or nothing was served.
    switch: Literal["on", "off"] = "on"
    #: Probability that the policy chose this arm; and that each item got its position, if items are sampled.
    propensity: float = 1.0
    item_propensities: tuple[float, ...] | None = None
    #: Time of the response on the server's clock, and its as-of time, in microseconds.
    served_at: int = 0
    as_of: int = 0
    #: The subject's surrogate; the raw identifier is not stored.
    subject: str = ""
    n: int = 0
    #: The excluded items, and the allowed ones (`None`: the whole catalogue): the first `LOGGED_ITEMS` of each, and
    #: the total number. A repeat has none; the record of the first request has them.
    exclude: tuple[str, ...] = ()
    n_exclude: int = 0
    candidates: tuple[str, ...] | None = None
    n_candidates: int = 0
    items: tuple[ScoredItem, ...] = ()
    short: str | None = None
    #: The features used and the context, as JSON text.
    features: str = ""
    context: str = ""
    #: Number of the publication from which the features were computed; 0 if unknown.
    publication: int = 0
    #: Trace id of the request's W3C `traceparent` header, 32 hex digits; empty without the header.
    trace_id: str = ""
    #: The inputs of a tabular model that are unlike its training rows; those of repeats too.
    unseen: tuple[str, ...] = ()
    latency_us: int = 0
    #: `computed`, `repeat` (the same id within its slot), `not_modified`, `fallback` or `off`.
    kind: str = "computed"
    format: int = LOG_FORMAT


class Outcome(Record, frozen=True):
    """Observed outcome (label) of a prediction; it may arrive at any later time."""

    prediction_id: str = ""
    item: str = ""
    what: str = ""
    value: float = 1.0
    #: The true class or text if the outcome is not a number.
    label: str | None = None
    happened_at: int = 0
    received_at: int = 0
    #: The prediction's model and the UTC day on which it was served, if the reporter of the outcome states them.
    model: str = ""
    served_day: date | None = None
    format: int = LOG_FORMAT
