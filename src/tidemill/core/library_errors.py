"""Errors of libraries and of the operating system as tidemill's, each with a code, a place and the next step.

The message of such an error may contain data, so it is only searched, never shown.
"""

from __future__ import annotations

import errno
import resource
import traceback
from collections.abc import Iterator

from tidemill.core.errors import LibraryFailed, LimitReached, PlaceRefused, TidemillError

_NO_MEMORY = ("cannot allocate memory", "failed to map segment", "out of memory", "cannot apply additional memory")
_NO_HANDLES = ("too many open files", "os error 24", "code: 24")
_NO_ANSWER = ("generic s3 error", "error sending request")
#: Libraries whose own exceptions name them, whatever file raised them.
_PACKAGES = (
    "catboost", "deltalake", "faiss", "lightgbm", "lmdb", "narwhals", "obstore", "onnxruntime", "polars", "pyarrow",
)  # fmt: skip
_TRACE = "`tidemill --trace COMMAND` shows the full traceback; everything published before is unchanged"


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust panicked: such an error is no `Exception`, so `except Exception` misses it."""
    return type(error).__name__ == "PanicException" and not isinstance(error, Exception)


def require_error(error: BaseException) -> None:
    """Raise it again if it is neither an `Exception` nor a panic, such as the end of the process or of a task."""
    if not isinstance(error, Exception) and not is_panic(error):
        raise error


def as_tidemill_error(error: BaseException) -> TidemillError:
    """The error as a `TidemillError`: a `LimitReached` if memory or file handles ran out anywhere in its causes.

    >>> as_tidemill_error(MemoryError()).code
    'TM007'
    """
    if isinstance(error, TidemillError):
        return error
    for cause in _causes(error):
        said = str(cause).lower()
        if isinstance(cause, MemoryError) or any(words in said for words in _NO_MEMORY):
            return LimitReached(
                f"there is not enough memory ({_place(error)}){_limit(resource.RLIMIT_AS, 'address space')}",
                tip="raise the limit of this process (`ulimit -v`, or that of its container), or use a larger machine",
            )
        if getattr(cause, "errno", None) in (errno.EMFILE, errno.ENFILE) or any(words in said for words in _NO_HANDLES):
            return LimitReached(
                f"too many files are open ({_place(error)}){_limit(resource.RLIMIT_NOFILE, 'files')}",
                tip="raise the limit: `ulimit -n 4096`",
            )
        if any(words in said for words in _NO_ANSWER):
            return PlaceRefused(
                f"a store on the network did not answer ({_place(error)})",
                tip="`tidemill doctor` tries the store; then repeat the command",
            )
    if isinstance(error, OSError) and error.strerror:
        place = f" {error.filename}" if error.filename else " a file"
        return PlaceRefused(
            f"cannot read or write{place}: {error.strerror}",
            tip="fix this (`tidemill doctor` shows the free space) and repeat the command",
        )
    library = _library(error)
    if library:
        how = "panicked" if is_panic(error) else f"failed with {type(error).__name__}"
        limit = _limit(resource.RLIMIT_AS, "address space")
        return LibraryFailed(f"{library} {how} ({_place(error)}){limit}", tip=_TRACE)
    return TidemillError(f"{type(error).__name__} in {_place(error)}, which is unexpected", tip=_TRACE)


def refuse_limit(error: BaseException) -> None:
    """Raise `LimitReached` if that is why something cannot be loaded: it is then not missing."""
    found = as_tidemill_error(error)
    if isinstance(found, LimitReached):
        raise found from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _place(error: BaseException) -> str:
    """The file and the line of tidemill from which the failing call was made, or else the last one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/tidemill/" in frame.filename]
    return next((f"{frame.filename}:{frame.lineno}" for frame in reversed(own or frames)), "no place")


def _library(error: BaseException) -> str:
    """The installed package in which an error was raised; empty if it was raised by tidemill, a project or Python."""
    named = type(error).__module__.partition(".")[0].lstrip("_")
    if named in _PACKAGES:
        return named
    frames = traceback.extract_tb(error.__traceback__)
    for frame in frames[-1:]:
        package = frame.filename.partition("/site-packages/")[2].partition("/")[0]
        if package and package != "tidemill":
            return package
    return "a library" if is_panic(error) else ""


def _limit(kind: int, of: str) -> str:
    soft, _ = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY:
        return ""
    return (
        f"; the limit is {soft >> 20:,} MiB of {of}" if kind == resource.RLIMIT_AS else f"; the limit is {soft:,} {of}"
    )
