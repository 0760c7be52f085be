"""Subprocess job: one function call in a new interpreter, with JSON on stdin and JSON as result.

The function takes one record and returns a value; their types are its annotations. A `TidemillError` is raised again in
the parent. What libraries print goes to stderr; its last line is the tip of the error if there is no result.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar, get_type_hints

import msgspec

from tidemill.core.errors import ProcessFailed, TidemillError
from tidemill.core.library_errors import require_error
from tidemill.core.processes.confinement import confine
from tidemill.core.processes.failure_message import failure_message
from tidemill.core.processes.start_process import function_of
from tidemill.core.record_format import decode_json

_Job = TypeVar("_Job")
_Value = TypeVar("_Value")


class _JobError(msgspec.Struct, frozen=True):
    code: str
    message: str
    tip: str | None = None


class _JobResult(msgspec.Struct, frozen=True):
    value: msgspec.Raw = msgspec.Raw(b"null")
    error: _JobError | None = None
    #: What the kernel did not allow of the confinement.
    unconfined: tuple[str, ...] = ()


#: Environment variables that a confined process keeps.
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS")


def run_job(
    function: Callable[[_Job], _Value],
    job: _Job,
    *,
    timeout_s: float | None = None,
    python: str | None = None,
    isolated: bool = False,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    confined: Path | None = None,
    readable: Sequence[Path] = (),
) -> _Value:
    """The value of `function(job)` in a process that ends with this one.

    With `confined` it has no network, no environment, and no other file to write than those below that folder, and it
    reads `readable` besides libraries; what the kernel does not allow of this is logged as a warning.

    `python` is another interpreter; `isolated` keeps environment variables and the user's packages from it. Raises the
    function's `TidemillError`, and `ProcessFailed` if the process cannot start, takes too long or has no result.
    """
    target = f"{function.__module__}:{function.__qualname__}"
    words = [python or sys.executable, "-I" if isolated else "-P", "-m", __name__, target]
    if confined is not None:
        words += [str(confined), *map(str, readable)]
        env = {name: value for name, value in os.environ.items() if name in _KEPT} | {
            "HOME": str(confined), "TMPDIR": str(confined),
        }  # fmt: skip
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=errors, cwd=cwd, env=env)
        except OSError as problem:
            raise ProcessFailed(f"its process cannot start: {problem.strerror or type(problem).__name__}") from problem
        status = _ended(child, msgspec.json.encode(job) + b"\n", timeout_s)
        output.seek(0)
        try:
            result = decode_json(output.read(), _JobResult)
        except msgspec.DecodeError:
            raise ProcessFailed(
                f"its process exited with status {status} and no result", tip=_last_line(errors)
            ) from None
    for sentence in result.unconfined:
        logging.getLogger(__name__).warning("%s could do more than it should: %s", function.__name__, sentence)
    if result.error is not None:
        tip = result.error.tip
        raise _kind(result.error.code)(_printable(result.error.message), tip=tip and _printable(tip))
    value: _Value = msgspec.json.decode(result.value, type=get_type_hints(function)["return"])
    return value


def _ended(child: subprocess.Popen[bytes], line: bytes, timeout_s: float | None) -> int:
    """Send the job and wait. The pipe stays open until the end, because the process exits when it is closed."""
    pipe = child.stdin
    assert pipe is not None
    try:
        with suppress(BrokenPipeError):  # it has ended, as its status says
            pipe.write(line)
            pipe.flush()
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired as problem:
        raise ProcessFailed(f"it took longer than {timeout_s:g} seconds") from problem
    finally:
        child.kill()
        child.wait()
        with suppress(BrokenPipeError):
            pipe.close()


def _last_line(errors: IO[bytes]) -> str | None:
    """The last line, as a tip and not in the message, because it may quote data."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f"the last line of its error output: {_printable(lines[-1].strip()[:300])}" if lines else None


def _printable(text: str) -> str:
    """The text without control characters, which a terminal would follow."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _kind(code: str) -> type[TidemillError]:
    """The class of an error, by its code."""
    kinds = [TidemillError]
    for kind in kinds:
        if kind.code == code:
            return kind
        kinds += kind.__subclasses__()
    return TidemillError


def main(target: str, *confined: str) -> None:
    """Read the job from stdin and write the result to stdout; `confined` are its folder, and what it may read."""
    unconfined = confine(Path(confined[0]), map(Path, confined[1:])) if confined else ()
    result = os.dup(1)
    os.dup2(2, 1)
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    function = function_of(target)
    kind = next(iter(get_type_hints(function).values()))
    try:
        answer = _JobResult(msgspec.Raw(msgspec.json.encode(function(msgspec.json.decode(line, type=kind)))))
    except TidemillError as error:
        answer = _JobResult(error=_JobError(error.code, error.message, error.tip))
    except BaseException as problem:
        require_error(problem)
        answer = _JobResult(error=_JobError(ProcessFailed.code, failure_message(problem)))
    with os.fdopen(result, "wb") as pipe:
        pipe.write(msgspec.json.encode(msgspec.structs.replace(answer, unconfined=unconfined)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of libraries have no more work


def _exit_with_parent() -> None:
    os.read(0, 1)  # by number: a lock of `sys.stdin` would stop the interpreter's exit
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
