"""Loading of a pickled scikit-learn model in a child process that returns only ONNX.

Loading a pickle runs code. The process may not open connections or start other processes, which prevents accidents but
does not stop an attacker: load only pickles from authors that you trust.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.core.errors import ImportRefused, NotPublishable, ParityFailed
from tidemill.core.record_format import Record
from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_bundle import open_tabular, write_tabular
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.publish_estimator import published
from tidemill.training.tabular.publish.sklearn_estimator import as_it_is

#: Python audit events that the process may not cause (PEP 578).
_FORBIDDEN = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"}
_FORBIDDEN |= {"os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "ftplib.connect", "smtplib.connect"}
_DEADLINE_S = 600
_ROWS, _ABOUT, _MODEL, _PROBLEM = "rows.arrow", "about.json", "model", "problem.json"


class _PickleRequest(Record, frozen=True):
    fields: tuple[InputField, ...]
    task: Task
    classes: tuple[str, ...]


class _Problem(Record, frozen=True):
    code: str
    message: str
    tip: str | None


def model_of_pickle(file: Path, examples: Examples) -> TabularModel:
    """The published model of a pickled estimator, after a parity check on the rows of `examples`.

    Raises `NotPublishable`, `ParityFailed`, or `ImportRefused` if the process failed for another reason.
    """
    with tempfile.TemporaryDirectory(prefix="tidemill-pickle-") as place:
        folder = Path(place)
        about = _PickleRequest(fields=examples.fields, task=examples.task, classes=examples.classes)
        (folder / _ABOUT).write_bytes(msgspec.json.encode(about))
        with pa.OSFile(str(folder / _ROWS), "wb") as sink, pa.ipc.new_file(sink, examples.inputs.schema) as writer:
            writer.write_table(examples.inputs)
        words = [sys.executable, "-m", __name__, str(file.resolve()), str(folder)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
        except subprocess.TimeoutExpired as problem:
            raise ImportRefused(f"reading {file.name} took more than {_DEADLINE_S} s and was stopped") from problem
        if (folder / _PROBLEM).is_file():
            raise _error(msgspec.json.decode((folder / _PROBLEM).read_bytes(), type=_Problem))
        if done.returncode:
            last = (done.stderr.strip().split("\n") or [""])[-1][:300]
            raise ImportRefused(f"{file.name} could not be read: {last}")
        return open_tabular(folder / _MODEL)


def _error(problem: _Problem) -> Exception:
    kind = {ParityFailed.code: ParityFailed, NotPublishable.code: NotPublishable}.get(problem.code, ImportRefused)
    return kind(problem.message, tip=problem.tip)


def _refuse(event: str, _: object) -> None:
    if event in _FORBIDDEN:
        raise PermissionError(f"a pickle may not do this: {event}")


def _child(file: Path, folder: Path) -> None:
    about = msgspec.json.decode((folder / _ABOUT).read_bytes(), type=_PickleRequest)
    with pa.ipc.open_file(str(folder / _ROWS)) as reader:
        rows = reader.read_all()
    examples = Examples(about.fields, rows, np.zeros(len(rows)), about.task, about.classes)
    fitted = _unpickled(file)
    try:
        model = published(as_it_is(fitted, examples), examples, type(fitted).__name__)
    except (NotPublishable, ParityFailed, ImportRefused) as problem:
        reported = _Problem(code=problem.code, message=problem.message, tip=problem.tip)
        (folder / _PROBLEM).write_bytes(msgspec.json.encode(reported))
        return
    write_tabular(model, folder / _MODEL)


def _unpickled(file: Path) -> object:
    import sklearn  # noqa: F401, PLC0415 - an optional library, loaded before the process is restricted

    sys.addaudithook(_refuse)
    if file.suffix == ".skops":
        raise ImportRefused(
            "skops files are not supported", tip="log the model with serialization_format='cloudpickle'"
        )
    import pickle  # noqa: PLC0415 - used nowhere else

    with file.open("rb") as raw:
        return pickle.load(raw)


if __name__ == "__main__":
    _child(Path(sys.argv[1]), Path(sys.argv[2]))
