"""Request bodies and parameters as validated records (msgspec); errors name the field, never the person."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from tidemill.core.errors import BadRequest, TooLarge
from tidemill.core.settings import Serve

Name = Annotated[str, Meta(min_length=1, max_length=512)]
Scalar = str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | bool | None
Decoded = TypeVar("Decoded")

#: What is said of an integer that is not `is_exact`.
INEXACT = "is an integer that a 64-bit float cannot hold exactly"
#: A user token and a name in a path.
TOKEN = re.compile(r"[a-z2-7]{26}\Z")
WORD = re.compile(r"[\w.-]{1,128}\Z")
#: Items that are recommended if a request does not say how many.
N = 20
#: Each prediction with a context stores it.
_CONTEXT_BYTES = 16_384


class RecommendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/recommend/{model}`: the user, the number of items (20), excluded items and candidates."""

    #: The user's identifier as in the streams; only its surrogate is stored.
    user: Name
    n: Annotated[int, Meta(ge=1)] | None = None
    #: Context of the request (page, device, …); stored in the prediction log, not used by built-in rules.
    context: Annotated[dict[str, Scalar], Meta(max_length=32)] | None = None
    #: Items that may not be recommended.
    exclude: Annotated[list[Name], Meta(max_length=10_000)] | None = None
    #: Only these items may be recommended; by default the whole catalogue.
    candidates: Annotated[list[Name], Meta(max_length=10_000)] | None = None


class OutcomeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One outcome in `POST /v1/outcomes`: the response to a recommended item, or the true label."""

    prediction_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    item: Annotated[str, Meta(max_length=512)] | None = None
    #: The person's action: `click`, `rating`, `bought`, …
    what: Annotated[str, Meta(min_length=1, max_length=64)]
    #: 1 by default.
    value: int | float | None = None
    #: ISO 8601 with a zone; by default the time of arrival.
    happened_at: str | None = None
    #: The true class or string, where the outcome is not a number.
    label: Annotated[str, Meta(max_length=512)] | None = None
    #: The prediction's model and the UTC day on which it was served, as in its response, so that the join need not
    #: read all predictions.
    model: Annotated[str, Meta(max_length=128)] | None = None
    served_day: date | None = None


_recommend = msgspec.json.Decoder(RecommendBody)
_outcomes = msgspec.json.Decoder(list[OutcomeBody])
_outcome = msgspec.json.Decoder(OutcomeBody)


def recommend(body: bytes, limits: Serve) -> RecommendBody:
    """A recommendation request; `BadRequest` names the field."""
    request = decoded(_recommend, body)
    if request.n is not None:
        _in_range(request.n, limits)
    if request.context and len(msgspec.json.encode(request.context)) > _CONTEXT_BYTES:
        raise TooLarge("`context` is too large", tip=f"at most {_CONTEXT_BYTES:,} bytes as JSON")
    return request


def outcomes(body: bytes, limits: Serve) -> list[OutcomeBody]:
    """One outcome or a list of them."""
    bodies = decoded(_outcomes, body) if body.lstrip()[:1] == b"[" else [decoded(_outcome, body)]
    for row, outcome in enumerate(bounded(bodies, limits)):
        if not outcome.item and outcome.label is None:
            raise BadRequest(f"outcome {row} has neither an `item` nor a `label`")
        if outcome.value is not None and not is_exact(outcome.value):
            raise BadRequest(f"outcome {row}: `value` {INEXACT}")
    return bodies


def rows(body: bytes, limits: Serve) -> list[dict[str, object]]:
    """One event or a list of them, not yet validated against a contract."""
    parsed = decoded(msgspec.json.Decoder(list[dict[str, object]] | dict[str, object]), body)
    return bounded(parsed if isinstance(parsed, list) else [parsed], limits)


def bounded(found: list[Decoded], limits: Serve) -> list[Decoded]:
    """The rows; `BadRequest` without rows, `TooLarge` for too many."""
    if not found:
        raise BadRequest("the request has no rows")
    if len(found) > limits.max_rows:
        raise TooLarge(f"the request has {len(found):,} rows", tip=f"send at most {limits.max_rows:,} at a time")
    return found


def token(text: str) -> str:
    """A user token: a surrogate, 26 characters."""
    if not TOKEN.match(text):
        raise BadRequest(
            "the user token in the path is not 26 characters of a-z and 2-7", tip="a POST returns it as `token`"
        )
    return text


def word(text: str, what: str) -> str:
    """A model's or stream's name from a path; errors quote it, so only names of safe characters are accepted."""
    if not WORD.match(text):
        raise BadRequest(f"the path has no valid {what} name", tip="letters, digits, `.`, `_` and `-` are allowed")
    return text


def unescaped(part: str, of: str) -> str:
    """A part of a path or a query without its percent-encoding."""
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest(f"the {of} is not UTF-8") from None


def is_exact(value: float) -> bool:
    """Whether a number is held by a float64 without rounding, which an integer above 2**53 may not be."""
    try:
        return type(value) is not int or int(float(value)) == value
    except OverflowError:
        return False


def query_n(query: str, limits: Serve) -> int:
    """`n` of a query string like `n=20`; no other parameter is allowed."""
    n = N
    for part in query.split("&") if query else ():
        name, _, value = (unescaped(one, "query") for one in part.partition("="))
        if name != "n" or not (value.isascii() and value.isdigit() and len(value) < 10):
            raise BadRequest("the only query parameter is `n`, an integer", tip="for example ?n=20")
        n = int(value)
    if n < 1:
        raise BadRequest("`n` must be at least 1")
    _in_range(n, limits)
    return n


def _in_range(n: int, limits: Serve) -> None:
    if n > limits.max_n:
        raise TooLarge(f"`n` is {n:,}", tip=f"request at most {limits.max_n:,} items")


def decoded(decoder: msgspec.json.Decoder[Decoded], body: bytes) -> Decoded:
    """A body as its record; `BadRequest` names the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:  # the message has the field and the types, never the value
        raise BadRequest(f"the body is not valid: {error}") from None
    except RecursionError:
        raise TooLarge("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("the body is not valid JSON in UTF-8") from None
