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


def status(error: TidemillError) -> int:
    """The HTTP status of an error."""
    return next(code for kind, code in STATUS if isinstance(error, kind))


def body(error: TidemillError) -> bytes:
    """`{"error": {"code": "TM701", "message": …, "tip": …}}`."""
    return msgspec.json.encode({"error": {"code": error.code, "message": error.message, "tip": error.tip}})


def body_v2(error: TidemillError) -> bytes:
    """`{"error": "…", "code": "TM701"}`: in the Open Inference Protocol the error is a string."""
    message = f"{error.message} ({error.tip})" if error.tip else error.message
    return msgspec.json.encode({"error": message, "code": error.code})


def not_kept(what: str, error: OSError) -> NotKept:
    """The caller's error where none of `what` could be written to disk."""
    why = error.strerror or "incomplete write"
    return NotKept(f"the {what} could not be written to disk: {why}", tip="none were accepted: send them again")


def unexpected() -> TidemillError:
    """The caller's error for a bug in the server, without details."""
    return ServeError("the server failed on this request", tip="see the server log for details")
