"""Errors of libraries: each with a code, a place and a next step; limits are told from missing packages."""

from __future__ import annotations

import errno

import click
import lmdb
import polars as pl
import pyarrow as pa
import pytest

from tidemill.cli.main import _Lazy, main
from tidemill.core.errors import BackendMissing, LibraryFailed, LimitReached, PlaceRefused, TidemillError
from tidemill.core.library_errors import as_tidemill_error, is_panic, refuse_limit

SECRET = "person@example.org"
MEMORY, HANDLES = "not enough memory", "too many files are open"


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as found:
        return found


def panic() -> BaseException:
    """A real panic of Polars."""
    try:
        str(pl.Series([2**31 - 1]).cast(pl.Date).max())
    except BaseException as found:
        return found
    raise AssertionError


def of_arrow() -> BaseException:
    try:
        pa.array([SECRET]).cast(pa.int64())
    except pa.ArrowException as found:
        return found
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (raised(MemoryError()), LimitReached, MEMORY),
        (raised(pa.ArrowMemoryError("malloc of size 1 failed")), LimitReached, MEMORY),
        (raised(lmdb.MemoryError("fresh: Cannot allocate memory")), LimitReached, MEMORY),
        (
            raised(ImportError("_internal.so: failed to map segment from shared object")),
            LimitReached,
            MEMORY,
        ),
        (raised(NameError("PySeries"), ImportError("x.so: cannot allocate memory")), LimitReached, MEMORY),
        (raised(OSError(errno.EMFILE, "Too many open files", SECRET)), LimitReached, HANDLES),
        (
            raised(RuntimeError('Os { code: 24, message: "Too many open files" }')),
            LimitReached,
            HANDLES,
        ),
        (raised(lmdb.Error(f"{SECRET}: no such thing")), LibraryFailed, "lmdb failed with Error"),
        (raised(PermissionError(errno.EACCES, "Permission denied", "/x")), PlaceRefused, "/x: Permission denied"),
        (raised(KeyError(SECRET)), TidemillError, "KeyError in "),
    ],
)
def test_each_error_has_a_code_a_place_and_a_next_step(error: BaseException, kind: type, says: str) -> None:
    found = as_tidemill_error(error)
    assert type(found) is kind
    assert says in found.message
    assert SECRET not in str(found)
    assert found.tip


def test_a_panic_is_caught_though_it_is_no_exception() -> None:
    error = panic()
    assert is_panic(error) and not isinstance(error, Exception)
    assert as_tidemill_error(error).message.startswith("polars panicked (")
    assert not is_panic(KeyboardInterrupt())


def test_a_library_is_named_by_its_exception_and_its_message_is_not_shown() -> None:
    found = as_tidemill_error(of_arrow())
    assert found.message.startswith("pyarrow failed with ArrowInvalid (") and SECRET not in str(found)


def test_an_error_of_tidemill_is_itself() -> None:
    known = BackendMissing("none")
    assert as_tidemill_error(known) is known


def test_what_cannot_be_loaded_for_a_limit_is_not_called_missing() -> None:
    refuse_limit(ModuleNotFoundError("no module"))
    with pytest.raises(LimitReached):
        refuse_limit(ImportError("a.so: failed to map segment from shared object"))


def test_the_command_line_tells_a_panic_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise panic()

    monkeypatch.setattr(_Lazy, "get_command", lambda *_: click.Command("plan", callback=fails))
    with pytest.raises(SystemExit) as ended:
        main(["plan"])
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "polars panicked" in told and "[TM008]" in told and "Traceback" not in told
