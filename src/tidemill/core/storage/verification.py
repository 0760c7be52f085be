"""Verification of a store: every problem as a sentence, what was read, and what was not read and why."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from tidemill.core.errors import TidemillError
from tidemill.core.library_errors import require_error
from tidemill.core.record_format import Record


class StoreProblem(Record, frozen=True):
    """One problem of a store."""

    text: str = ""
    #: Whether what is damaged is derived from other data, so that the next `tidemill run` makes it again.
    derived: bool = False


class UnreadPlace(Record, frozen=True):
    """A file, or a part of a store, that was not read, and the reason."""

    place: str = ""
    why: str = ""


class StoreReport(Record, frozen=True):
    """The result for one store."""

    store: str = ""
    problems: tuple[StoreProblem, ...] = ()
    #: The number of files (or entries of a store on a server) that were read, and their bytes.
    files: int = 0
    size_bytes: int = 0
    unread: tuple[UnreadPlace, ...] = ()


class Verification:
    """Collects the result for one store. What was collected stays, also if the verification then fails.

    Places are paths relative to the store's folder `base`.

    >>> found = Verification("ledger")
    >>> with found.attempt("ledger.sqlite"):
    ...     found.read("ledger.sqlite", 4096)
    ...     raise ValueError("unexpected")
    >>> found.report().problems[0].text.partition(" in ")[0], found.report().size_bytes
    ('ledger.sqlite: ValueError', 4096)
    """

    def __init__(self, store: str, base: Path | None = None) -> None:
        self.store = store
        self.base = base
        self.problems: list[StoreProblem] = []
        #: Place -> bytes read.
        self.places: dict[str, int] = {}
        self.unread: dict[str, str] = {}

    def problem(self, text: str, *, derived: bool = False) -> None:
        """Add a problem, once."""
        problem = StoreProblem(text=text, derived=derived)
        if problem not in self.problems:
            self.problems.append(problem)

    def read(self, place: str, size_bytes: int) -> None:
        """Record that a file was read in full."""
        self.places[place] = max(size_bytes, self.places.get(place, 0))

    def skip(self, place: str, why: str) -> None:
        """Record that a file, or a part of the store, is not read."""
        self.unread[place] = why

    def content(self, place: str) -> bytes | None:
        """Read a file below `base`; `None` after a problem, if it cannot be read."""
        assert self.base is not None, "a store without a folder has no files"
        with self.attempt(place):
            content = (self.base / place).read_bytes()
            self.read(place, len(content))
            return content
        return None

    def add(self, part: Verification) -> None:
        """Take over what was collected for a part of the store."""
        for problem in part.problems:
            self.problem(problem.text, derived=problem.derived)
        for place, size_bytes in part.places.items():
            self.read(place, size_bytes)
        self.unread |= part.unread

    @contextmanager
    def attempt(self, what: str, *, derived: bool = False) -> Iterator[None]:
        """Turn any error of the block into a problem, so that the verification goes on.

        An unexpected one is given by its type and location only, because its message may contain data.
        """
        try:
            yield
        except TidemillError as error:
            tip = f"; {error.tip}" if error.tip and "tidemill verify" not in error.tip else ""
            self.problem(error.message + tip, derived=derived)
        except OSError as error:
            self.problem(f"{error.filename or what} cannot be read: {error.strerror or error}", derived=derived)
        except BaseException as error:
            require_error(error)
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self.problem(
                f"{what}: {type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}", derived=derived
            )

    def report(self) -> StoreReport:
        """The result so far."""
        return StoreReport(
            store=self.store,
            problems=tuple(self.problems),
            files=len(self.places),
            size_bytes=sum(self.places.values()),
            unread=tuple(UnreadPlace(place=place, why=why) for place, why in sorted(self.unread.items())),
        )


@runtime_checkable
class VerifiableStore(Protocol):
    """A store that can verify everything that it keeps."""

    def verify(self, found: Verification) -> None:
        """Read everything, and add each problem, each place read and each place not read to `found`."""
        ...
