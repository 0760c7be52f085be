"""The doctor: health checks of the machine and the project, each with a remedy."""

from __future__ import annotations

import io
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec
import narwhals as nw
import pyarrow as pa
from pyarrow import parquet

from tidemill.core.errors import ExternalRefused, TidemillError, message_of
from tidemill.core.formatting import count
from tidemill.core.ports import ExternalTable, StagedFile
from tidemill.core.records.ingest import FileEntry
from tidemill.core.redaction import redact
from tidemill.core.settings import Settings
from tidemill.loop.project.existing_vault import ExistingVault
from tidemill.loop.project.open_port import PortOpener, open_port

#: With less free space, a run may not be able to store an old and a new version of a table.
_LEAST_FREE_BYTES = 2 * 1024**3
#: Seconds in which an engine has to answer.
_ENGINE_S = 180
#: What some optional packages are for; without the package it is not available.
_OPTIONAL = {
    "catboost": "a candidate of tm.auto()",
    "duckdb": "tables in SQL",
    "faiss-cpu": "approximate nearest neighbours; without it the exact scan is used",
    "lightgbm": "candidates of tm.auto(), blends of learners",
    "onnxruntime": "models as ONNX graphs",
    "optuna": "a sampler of searches",
    "obstore": "a lake on S3",
    "pyiceberg": "external tables of Iceberg",
    "pyspark": "the Spark engine",
    "scikit-learn": "estimators and pipelines",
    "skl2onnx": "publishing scikit-learn's estimators",
    "mlflow": "the mirror of runs, and models stored there",
    "torch": "estimators of PyTorch",
}
_NAME, _EXTRA = re.compile(r"[\w.-]+"), re.compile(r"extra\s*==\s*[\"'](\w+)[\"']")


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one health check of the machine or the project."""

    what: str
    state: Literal["well", "note", "wrong"]
    says: str


def doctor(project: Path | None, settings: Settings | None, keys: Path | None) -> list[DoctorFinding]:
    """All findings; `wrong` prevents some command, `note` is optional or informative. `keys` is `None` before the first
    run.
    """
    found = [_python(), _disk(project or Path.cwd()), *_extras(), _java()]
    if settings is not None and PortOpener(settings).place("lake") is None:
        found.append(_store(settings))
    if settings is not None and settings.engine != "polars":
        found.append(_engine(settings))
    if settings is not None:
        found += [_source(name, url, project or Path.cwd()) for name, url in settings.sources.items()]
        found += [_external(name, url, settings) for name, url in settings.external.items()]
    if keys is not None:
        found.append(_keys(keys))
    if keys is not None and settings is not None:
        found.append(_vault(settings))
    return found


def _python() -> DoctorFinding:
    version = ".".join(map(str, sys.version_info[:3]))
    return DoctorFinding(what="Python", state="well", says=f"{version}, tidemill {metadata.version('tidemill')}")


def _disk(folder: Path) -> DoctorFinding:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free at {folder}"
    return DoctorFinding(what="disk", state="well" if free > _LEAST_FREE_BYTES else "wrong", says=text)


def _extras() -> list[DoctorFinding]:
    """Each optional package, by the extra that installs it, as the package's own metadata lists them."""
    found = []
    for requirement in metadata.requires("tidemill") or ():
        match = _EXTRA.search(requirement)
        if match is None or match[1] == "dev":
            continue
        name, extra = _NAME.match(requirement)[0], match[1]  # type: ignore[index]  # a requirement starts with a name
        why = f"{_OPTIONAL[name]}; {extra}" if name in _OPTIONAL else extra
        try:
            says, state = f"{metadata.version(name)} is installed ({why})", "well"
        except metadata.PackageNotFoundError:
            says, state = f"not installed ({why}): pip install 'tidemill[{extra}]'", "note"
        found.append(DoctorFinding(what=name, state=state, says=says))  # type: ignore[arg-type]
    return found


def _java() -> DoctorFinding:
    if shutil.which("java"):
        return DoctorFinding(what="java", state="well", says="installed: a JVM for Spark")
    return DoctorFinding(what="java", state="note", says="not installed: only the Spark engine needs it")


def _store(settings: Settings) -> DoctorFinding:
    """Tries the store of the lake: an object is created, not overwritten, read, listed and deleted."""
    opener, began, name = PortOpener(settings), time.monotonic(), f"doctor/{secrets.token_hex(8)}"
    lake = redact(settings.lake, whole=True)
    try:
        objects = opener.objects()
        kept = [objects.put(name, body) for body in (b"first", b"second")], objects.get(name), objects.list(name)
        objects.delete(name)
    except Exception as problem:  # a back-end may raise anything
        says = f"{lake} does not work: {message_of(problem)}"
        tip = problem.tip if isinstance(problem, TidemillError) else None
        return DoctorFinding(what="store", state="wrong", says=redact(f"{says}; {tip}" if tip else says))
    if kept != ([True, False], b"first", [name]):
        return DoctorFinding(what="store", state="wrong", says=f"{lake} overwrites or loses objects")
    took = f"{time.monotonic() - began:.1f} s"
    return DoctorFinding(what="store", state="well", says=f"{lake} creates, reads, lists and deletes ({took})")


def _engine(settings: Settings) -> DoctorFinding:
    """Tries the engine: rows in memory, a file next to the tables, which its workers must find, and their tidemill."""
    found: list[DoctorFinding] = []
    trial = threading.Thread(target=lambda: found.append(_engine_trial(settings)), daemon=True)
    trial.start()
    trial.join(_ENGINE_S)
    name = redact(settings.engine, whole=True)
    says = f"no answer of {name} in {_ENGINE_S} s: has it workers with free cores and memory?"
    return found[0] if found else DoctorFinding(what="engine", state="wrong", says=says)


def _engine_trial(settings: Settings) -> DoctorFinding:
    opener, began = PortOpener(settings), time.monotonic()
    rows, lake = pa.table({"n": pa.array(range(1_000), pa.int64())}), opener.place("lake")
    try:
        engine = opener.engine()
        tried = {"rows in memory": engine.frame(rows)}
        with ExitStack() as stack:
            place = lake if lake and lake.is_dir() else None
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".doctor-", dir=place))
            if lake and lake.is_dir():
                parquet.write_table(rows, Path(folder) / "rows.parquet")
                tried[f"a file in {lake}"] = engine.scan([f"{folder}/rows.parquet"], rows.schema)
            elif lake is None:
                file = stack.enter_context(_file_in_store(opener, rows))
                tried[f"a file in {redact(settings.lake, whole=True)}"] = engine.scan([file], rows.schema)
            found = {what: engine.collect(frame.filter(nw.col("n") % 2 == 0)) for what, frame in tried.items()}
        versions = {file.entry.path for file in engine.stage(engine.frame(rows), VersionTrial())}
    except Exception as problem:  # an engine may raise anything; the rows are none of the project's
        first = next(iter(str(problem).strip().splitlines()), "")
        says = problem.message if isinstance(problem, TidemillError) else f"{type(problem).__name__}: {first[:300]}"
        if "No module named 'tidemill'" in str(problem):
            says = "the Python of its workers has no tidemill: install it there, and set PYSPARK_PYTHON to that Python"
        says = f"{settings.engine} does not work: {says}"
        return DoctorFinding(what="engine", state="wrong", says=redact(says))
    wrong = [what for what, got in found.items() if sorted(got["n"].to_pylist()) != list(range(0, 1_000, 2))]
    if wrong:
        return DoctorFinding(what="engine", state="wrong", says=f"it returns other rows of {' and '.join(wrong)}")
    own = metadata.version("tidemill")
    if versions != {own}:
        says = f"its workers have tidemill {', '.join(sorted(versions))}, and this process {own}"
        return DoctorFinding(what="engine", state="wrong", says=says)
    took = f"{time.monotonic() - began:.1f} s, its start included"
    return DoctorFinding(what="engine", state="well", says=f"{engine.name} reads {' and '.join(found)} ({took})")


@contextmanager
def _file_in_store(opener: PortOpener, rows: pa.Table) -> Iterator[str]:
    """The location of a file with rows that lies where the tables do; objects and tables have one place on a server."""
    objects, name, content = opener.objects(), f"{secrets.token_hex(8)}.parquet", io.BytesIO()
    parquet.write_table(rows, content)
    objects.put(f"doctor/{name}", content.getvalue())
    try:
        yield opener.tables().locate("doctor", name)
    finally:
        objects.delete(f"doctor/{name}")


class VersionTrial:
    """A stager that writes nothing, and gives the version of tidemill that the engine's workers have as the path."""

    def stage(self, rows: pa.Table) -> list[StagedFile]:
        """One entry for the rows."""
        return [StagedFile(entry=FileEntry(path=metadata.version("tidemill"), rows=rows.num_rows))]


def _source(name: str, url: str, project: Path) -> DoctorFinding:
    path = url.removeprefix("file:").partition("?")[0]
    if not url.startswith("file:"):
        return DoctorFinding(what=f"source {name}", state="well", says=redact(url, whole=True))
    if (
        list(project.glob(path))
        if not Path(path).is_absolute()
        else Path(path).exists() or list(Path("/").glob(path[1:]))
    ):
        return DoctorFinding(what=f"source {name}", state="well", says=f"{path} exists")
    return DoctorFinding(what=f"source {name}", state="wrong", says=f"no file matches {path} in {project}")


def _external(name: str, url: str, settings: Settings) -> DoctorFinding:
    """Looks at an external table as a run does; which of its columns are read is said in mill.py."""
    what = f"external table {name}"
    try:
        table: ExternalTable = open_port("external", url, settings.project)
        pin = table.pin(PortOpener(settings).engine())
    except ExternalRefused as error:
        return DoctorFinding(what=what, state="note", says=error.message)
    except (TidemillError, OSError) as error:
        return DoctorFinding(what=what, state="wrong", says=message_of(error))
    return DoctorFinding(what=what, state="well", says=f"{pin.says}, {count(len(pin.columns), 'column')}")


def _vault(settings: Settings) -> DoctorFinding:
    try:
        ExistingVault.from_settings(settings).known(["-"])
    except (TidemillError, OSError) as error:
        return DoctorFinding(
            what="vault", state="wrong", says=error.message if isinstance(error, TidemillError) else str(error)
        )
    return DoctorFinding(what="vault", state="well", says="it can be read")


def _keys(folder: Path) -> DoctorFinding:
    if not folder.is_dir():
        return DoctorFinding(what="keys", state="wrong", says=f"{folder} does not exist; restore it from a backup")
    loose = [file.name for file in folder.iterdir() if file.is_file() and file.stat().st_mode & 0o077]
    if loose:
        return DoctorFinding(
            what="keys", state="wrong", says=f"readable by other users: {', '.join(loose)}; chmod 600 {folder}/*"
        )
    return DoctorFinding(
        what="keys",
        state="note",
        says=f"in {folder}; keep a backup elsewhere: without it no identity can be restored and surrogates change",
    )
