"""Health status: the bodies of liveness and readiness checks."""

from __future__ import annotations

import msgspec


class Liveness(msgspec.Struct, frozen=True):
    """Whether the worker runs."""

    live: bool = True


class Readiness(msgspec.Struct, frozen=True):
    """Whether every promoted model is live, and if not, why."""

    ready: bool
    reasons: list[str]
