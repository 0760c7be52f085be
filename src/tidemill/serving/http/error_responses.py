"""Error responses: the only place that maps errors to HTTP status codes. Bodies have code, message and tip."""

from __future__ import annotations

import msgspec

from tidemill.core.errors import (
    AccessError,
    BadRequest,
    HostRefused,
    NotKept,
    NotLogged,
    NotReady,
    NotServed,
    ServeError,
    SwitchedOff,
    TidemillError,
    TooBusy,
    TooLarge,
    WrongMedia,
    WrongMethod,
)

#: The first matching class decides.
STATUS: tuple[tuple[type[TidemillError], int], ...] = (
    (TooLarge, 413),
    (BadRequest, 400),
    (NotServed, 404),
    (WrongMethod, 405),
    (WrongMedia, 415),
    (TooBusy, 429),
    (NotLogged, 503),
    (NotKept, 503),
    (SwitchedOff, 503),
    (NotReady, 503),
    (HostRefused, 400),
    (AccessError, 403),
    (TidemillError, 500),
)


class ErrorDetail(msgspec.Struct, frozen=True):
    """An error: its code, what is wrong, and the next step."""

    code: str
    message: str
    tip: str | None


class ErrorResponse(msgspec.Struct, frozen=True):
    """The body of a refused or failed request."""

    error: ErrorDetail


class InferenceError(msgspec.Struct, frozen=True):
    """The same in the Open Inference Protocol, where the error is a string."""

    error: str
    code: str


def status(error: TidemillError) -> int:
    """The HTTP status of an error."""
    return next(code for kind, code in STATUS if isinstance(error, kind))


def body(error: TidemillError) -> bytes:
    """`{"error": {"code": "TM701", "message": …, "tip": …}}`."""
    return msgspec.json.encode(ErrorResponse(ErrorDetail(error.code, error.message, error.tip)))


def body_v2(error: TidemillError) -> bytes:
    """`{"error": "…", "code": "TM701"}`."""
    message = f"{error.message} ({error.tip})" if error.tip else error.message
    return msgspec.json.encode(InferenceError(message, error.code))


def not_kept(what: str, error: OSError) -> NotKept:
    """The caller's error where none of `what` could be written to disk."""
    why = error.strerror or "incomplete write"
    return NotKept(f"the {what} could not be written to disk: {why}", tip="none were accepted: send them again")


def unexpected() -> TidemillError:
    """The caller's error for a bug in the server, without details."""
    return ServeError("the server failed on this request", tip="see the server log for details")
