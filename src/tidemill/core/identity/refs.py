"""References (refs) to versioned things, used throughout tidemill and in the ledger: `[mill/]kind:name@version`."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

from tidemill.core.errors import UsageError

RefKind = Literal["stream", "table", "view", "increment", "publication", "dataset", "model", "run", "bundle", "release"]
# A part starts with a letter, a digit or an underscore, so that it cannot be a path such as `..`.
_PART = r"\w[\w.-]*"
_PATTERN = re.compile(rf"(?:(?P<mill>{_PART})/)?(?:(?P<kind>[a-z]+):)?(?P<name>{_PART})(?:@(?P<version>{_PART}))?")


class Ref(msgspec.Struct, frozen=True):
    """A thing at a version, for example `table:ratings@17` or `release:for_you@3`.

    >>> str(Ref("table", "ratings", "17"))
    'table:ratings@17'
    """

    kind: str
    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}@{self.version}" if self.version else f"{self.kind}:{self.name}"


def parse_ref(text: str, kind: RefKind) -> Ref:
    """Parse a ref of the given kind; the text may omit the kind.

    >>> parse_ref("for_you@3", "release")
    Ref(kind='release', name='for_you', version='3')
    """
    match = _PATTERN.fullmatch(text)
    if not match:
        raise UsageError(f"{text!r} is not a ref", tip="write [kind:]name[@version], for example release:for_you@3")
    found = match["kind"] or kind
    if found not in get_args(RefKind) or found != kind:
        raise UsageError(f"{text!r} is a {found}, but a {kind} is required")
    return Ref(found, match["name"], match["version"] or "")
