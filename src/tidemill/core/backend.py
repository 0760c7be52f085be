"""Back-end constructors: the interface by which a back-end is opened from the URL of a setting.

A back-end is a class that implements a port of `core.ports` and has `from_url`. An entry point in the group
`tidemill.PORT` names the class, and the entry point's name is the scheme of its URLs. The interface is the same for all
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
    """Context that a back-end receives with its URL."""

    #: The project's folder, to which paths are relative.
    project: Path
    #: Whether a missing store may be created. If not, the ledger and the vault raise `LedgerMissing`.
    create: bool = True
    #: The opened ledger store, which assigns fencing numbers. Set only for the port `leases`.
    lines: LedgerStore | None = None

    def path(self, url: str) -> Path:
        """The local path of a URL, with or without a scheme; relative paths start at the project's folder.

        >>> BackendContext(project=Path("/shop")).path("./.tidemill/lake")
        PosixPath('/shop/.tidemill/lake')
        >>> BackendContext(project=Path("/shop")).path("folder:///srv/blobs")
        PosixPath('/srv/blobs')
        """
        return self.project / Path(split_scheme(url)[1].removeprefix("//")).expanduser()


class Backend(Protocol):
    """Interface of the class that an entry point names."""

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> Self:
        """Open the store at `url`, the complete setting including its scheme if it has one.

        It may be called in any process, and repeatedly for the same URL. Errors must not reveal passwords in the URL.
        """
        ...


class LedgerBackend(Backend, Protocol):
    """A back-end of the port `ledger`, which can also check whether a ledger exists without creating one."""

    @classmethod
    def exists(cls, url: str, context: BackendContext) -> bool:
        """Whether a ledger exists at `url`."""
        ...


def split_scheme(url: str) -> tuple[str, str]:
    """Split a URL into scheme and rest; the scheme is empty if the setting is a plain path or name.

    >>> split_scheme("redis://cache:6379"), split_scheme("toy:shelf"), split_scheme("./data:old/lake")
    (('redis', '//cache:6379'), ('toy', 'shelf'), ('', './data:old/lake'))
    """
    found = _SCHEME.fullmatch(url)
    return (found[1].lower(), found[2]) if found else ("", url)
