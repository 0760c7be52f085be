"""Loading of a pickle or a CatBoost file in a confined child process that returns only a tabular bundle.

Loading a pickle runs code, and CatBoost's reader can end its process. So the process has no network, cannot start
programs, and writes to one temporary folder only, as far as the kernel allows. That prevents accidents and limits an
attacker, who can still make up a model: load only pickles from authors that you trust.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from tidemill.core.errors import ImportRefused, ProcessFailed, TidemillError
from tidemill.core.processes.subprocess_job import run_job
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_bundle import open_tabular, write_tabular
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.imported_trees import catboost_model
from tidemill.training.tabular.publish.publish_estimator import published
from tidemill.training.tabular.publish.sklearn_estimator import as_it_is
from tidemill.training.tabular.rows.examples_file import read_examples, write_examples

#: Python audit events that the process may not cause (PEP 578).
_FORBIDDEN = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"}
_FORBIDDEN |= {"os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "ftplib.connect", "smtplib.connect"}
_DEADLINE_S = 600.0
_ROWS, _MODEL = "rows.arrow", "model"


class ConversionJob(msgspec.Struct, frozen=True):
    """The file to load, and the folder of the examples and of the model made of them."""

    file: str
    folder: str
    is_pickle: bool


def converted_model(file: Path, examples: Examples, *, is_pickle: bool) -> TabularModel:
    """The published model of a pickled estimator, after a parity check on the rows of `examples`, or a CatBoost file's.

    Raises `NotPublishable`, `ParityFailed`, or `ImportRefused` if the process failed for another reason.
    """
    with tempfile.TemporaryDirectory(prefix="tidemill-import-") as folder:
        write_examples(examples, Path(folder) / _ROWS)
        job, place = ConversionJob(str(file.resolve()), folder, is_pickle), Path(folder)
        try:
            run_job(convert, job, timeout_s=_DEADLINE_S, confined=place, readable=[file.resolve()])
        except ProcessFailed as problem:
            raise ImportRefused(f"{file.name} could not be read: {problem.message}", tip=problem.tip) from problem
        return open_tabular(Path(folder) / _MODEL)


def _refuse(event: str, _: object) -> None:
    if event in _FORBIDDEN:
        raise PermissionError(f"a pickle may not do this: {event}")


def convert(job: ConversionJob) -> None:
    """Load the file and write its model, in this process."""
    file, folder = Path(job.file), Path(job.folder)
    examples = read_examples(folder / _ROWS)
    try:
        if job.is_pickle:
            fitted = _unpickled(file)
            model = published(as_it_is(fitted, examples), examples, type(fitted).__name__)
        else:
            model = catboost_model(file, examples)
    except TidemillError:
        raise
    except Exception as problem:
        raise ImportRefused(f"{file.name} could not be read: {type(problem).__name__}: {problem}") from problem
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
