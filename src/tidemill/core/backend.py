"""Back-end constructors: the contract by which a back-end is opened from the URL of a setting.

A back-end is a class that implements a port of `core.ports` and has `from_url`. An entry point in the group
`tidemill.PORT` names the class, and the entry point's name is the scheme of its URLs. The contract is the same for all
ports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from tidemill.core.ports import LedgerStore

#: `scheme:rest`; a path that begins with a name and a colon is written `./name:rest`.
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class BackendContext:
    """What a back-end gets beside its URL."""

    #: The project's folder: relative paths start here.
    project: Path
    #: Whether a store that does not exist may be created. The ledger raises `LedgerMissing` where it may not.
    create: bool = True
    #: The opened ledger store, which gives the rising numbers. Only the port `leases` gets it.
    lines: LedgerStore | None = None

    def path(self, url: str) -> Path:
        """The local path that a URL names: with or without its scheme, relative to the project.

        >>> BackendContext(project=Path("/shop")).path("./.tidemill/lake")
        PosixPath('/shop/.tidemill/lake')
        >>> BackendContext(project=Path("/shop")).path("folder:///srv/blobs")
        PosixPath('/srv/blobs')
        """
        return self.project / Path(split_scheme(url)[1].removeprefix("//")).expanduser()


class Backend(Protocol):
    """The class that an entry point names."""

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> Self:
        """Open the store at `url`, which is the whole setting as it was written, with its scheme if it has one.

        It may be called in any process and for the same URL many times. Errors must not show passwords of the URL.
        """
        ...


class LedgerBackend(Backend, Protocol):
    """A back-end of the port `ledger` also answers whether there is a ledger, without creating one."""

    @classmethod
    def exists(cls, url: str, context: BackendContext) -> bool:
        """Whether a ledger is at `url` now."""
        ...


def split_scheme(url: str) -> tuple[str, str]:
    """Scheme and rest of a URL; the scheme is empty where the setting is a plain path or name.

    >>> split_scheme("redis://cache:6379"), split_scheme("toy:shelf"), split_scheme("./data:old/lake")
    (('redis', '//cache:6379'), ('toy', 'shelf'), ('', './data:old/lake'))
    """
    found = _SCHEME.fullmatch(url)
    return (found[1].lower(), found[2]) if found else ("", url)
