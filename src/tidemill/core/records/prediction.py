"""Records of serving: predictions and outcomes."""

from __future__ import annotations

from datetime import date
from typing import Literal

from tidemill.core.record_format import Record as Record


class ScoredItem(Record, frozen=True):
    """One item of an answer."""

    item: str = ""
    score: float = 0.0
    reason: str = ""


#: How many names of `exclude` and of `candidates` a prediction keeps.
LOGGED_ITEMS = 256
#: The format of predictions and outcomes. A new field with a default does not raise it; a changed meaning does.
LOG_FORMAT = 2


class Prediction(Record, frozen=True):
    """One answer: what was asked, what was used, what was said, by which release."""

    prediction_id: str = ""
    model: str = ""
    release: str = ""
    #: Id of the deployment and its arm; the deployment is empty in records of format 1.
    deployment: str = ""
    arm: str = "champion"
    #: Id of the routing policy that chose the arm. In format 1 the state of the switch stood here.
    policy: str = "single"
    #: `off` where the model was switched off and answered by its fallback, or not at all.
    switch: Literal["on", "off"] = "on"
    #: Probability that the policy gave this arm; and of each item to stand at its position, where items are drawn.
    propensity: float = 1.0
    item_propensities: tuple[float, ...] | None = None
    #: When it was answered, microseconds; the clock of the server, and its as-of.
    served_at: int = 0
    as_of: int = 0
    #: The subject's surrogate; the raw identifier is nowhere.
    subject: str = ""
    n: int = 0
    #: Items that were not allowed, and the only ones that were (`None`: the whole catalogue): the first
    #: `LOGGED_ITEMS` of each, and how many there were. A repeat has none; its full record has them.
    exclude: tuple[str, ...] = ()
    n_exclude: int = 0
    candidates: tuple[str, ...] | None = None
    n_candidates: int = 0
    items: tuple[ScoredItem, ...] = ()
    short: str | None = None
    #: Features used, and context, as JSON text.
    features: str = ""
    context: str = ""
    #: Number of the publication that the features were made from; 0 where it is not known.
    publication: int = 0
    #: Trace id of the request's W3C `traceparent` header, 32 hex digits; empty where there was none.
    trace_id: str = ""
    latency_us: int = 0
    #: `computed`, `repeat` (the same id within its slot), `not_modified`, `fallback` or `off`.
    kind: str = "computed"
    format: int = LOG_FORMAT


class Outcome(Record, frozen=True):
    """What really happened after a prediction, whenever it arrives."""

    prediction_id: str = ""
    item: str = ""
    what: str = ""
    value: float = 1.0
    #: The true class or text, where the outcome is not a number.
    label: str | None = None
    happened_at: int = 0
    received_at: int = 0
    #: The prediction's model and the UTC day on which it was served, where whoever reports the outcome says so.
    model: str = ""
    served_day: date | None = None
    format: int = LOG_FORMAT
