"""Environment lock of a training: interpreter, libraries by version and content, threads, BLAS and processor.

Enough to rebuild the same environment, and to list how another one differs. It contains no paths, user names or
secrets.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import ClassVar

import msgspec
from threadpoolctl import threadpool_info

from tidemill.core.ports import Blobs
from tidemill.core.record_format import Record, VersionedRecord, decode_record
from tidemill.core.redaction import redact
from tidemill.core.storage.durable_files import sha256_of
from tidemill.loop.provenance.installed_libraries import InstalledLibrary, installed_libraries, library_differences
from tidemill.release import seal_bundle, verify_bundle

KIND = "environment"
_FILE = "environment.json"
#: Lock files of common tools.
LOCKS = ("uv.lock", "requirements.lock", "requirements.txt", "pdm.lock", "poetry.lock", "pylock.toml")
_MOST_LOCK_BYTES = 4 * 1024 * 1024
#: Settings of numeric libraries that may change the last bit of a sum.
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS",
    "OPENBLAS_CORETYPE", "MKL_CBWR", "PYTHONHASHSEED",
)  # fmt: skip
_CPU = Path("/proc/cpuinfo")


class LockFile(Record, frozen=True):
    """A lock file of the project: sha256 of its bytes, and its text without passwords."""

    sha256: str = ""
    text: str = ""


class EnvironmentLock(VersionedRecord, frozen=True):
    """Everything besides the code that may change a prediction."""

    KIND: ClassVar[str] = "environment"
    REQUIRED: ClassVar[tuple[str, ...]] = ("installed",)

    #: `3.11.7`, `cpython`, and `Linux-x86_64-glibc2.36`.
    python: str = ""
    implementation: str = ""
    platform: str = ""
    installed: dict[str, InstalledLibrary] = msgspec.field(default_factory=dict)
    locks: dict[str, LockFile] = msgspec.field(default_factory=dict)
    #: Thread settings that were set; missing ones were not set.
    threads: dict[str, str] = msgspec.field(default_factory=dict)
    #: One sentence per loaded numeric library.
    blas: tuple[str, ...] = ()
    cpu: str = ""
    flags: tuple[str, ...] = ()
    cores: int = 0
    #: tidemill's version, and a sha256 over its package's files.
    tidemill: str = ""
    sources: str = ""

    def differences(self, here: EnvironmentLock) -> tuple[str, ...]:
        """A sentence for each difference of `here` from the recorded environment; libraries first."""
        return (*library_differences(self.installed, here.installed), *self._of_tidemill(here), *self._of_machine(here))

    def _of_tidemill(self, here: EnvironmentLock) -> Iterable[str]:
        if self.tidemill != here.tidemill:
            yield f"tidemill: recorded {self.tidemill}, here {here.tidemill}"
        elif self.sources != here.sources:
            yield f"tidemill {self.tidemill}: its files ({here.sources[:12]}…) differ from those recorded"

    def _of_machine(self, here: EnvironmentLock) -> Iterable[str]:
        for name in ("implementation", "python", "platform", "cpu", "cores"):
            before, now = getattr(self, name), getattr(here, name)
            if before != now:
                yield f"{name}: recorded {before}, here {now}"
        flags = sorted(set(self.flags) ^ set(here.flags))
        if flags:
            yield f"processor flags: {', '.join(flags[:8])} on one machine only"
        # A process may have loaded more than a training needs, so only additional ones are reported; an empty list
        # means unknown.
        if self.blas and set(here.blas) - set(self.blas):
            yield f"numeric libraries: recorded {_or_none(self.blas)}, here {_or_none(here.blas)}"
        for name in sorted({*self.threads, *here.threads}):
            before, now = self.threads.get(name, "unset"), here.threads.get(name, "unset")
            if before != now:
                yield f"threads: recorded {name}={before}, here {name}={now}"


def environment_lock(project: Path) -> EnvironmentLock:
    """The environment of this process, for the project in this folder."""
    cpu, flags = _processor()
    return EnvironmentLock(
        python=platform.python_version(),
        implementation=platform.python_implementation().lower(),
        platform=f"{platform.system()}-{platform.machine()}-{''.join(platform.libc_ver())}",
        installed=installed_libraries(),
        locks=_lock_files(project),
        threads={name: os.environ[name] for name in _THREADS if name in os.environ},
        blas=_blas(),
        cpu=cpu,
        flags=flags,
        cores=len(os.sched_getaffinity(0)),
        tidemill=metadata.version("tidemill"),
        sources=package_sources(),
    )


@cache
def package_sources() -> str:
    """sha256 over the path and content of every file of the tidemill package that this process runs.

    Computed once, because the loaded code does not change when files do.
    """
    root = Path(__file__).resolve().parent.parent
    files = sorted(file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    lines = [f"{file.relative_to(root).as_posix()} {sha256_of(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def keep_environment(blobs: Blobs, lock: EnvironmentLock) -> str:
    """Store it as a blob (equal ones once), and return its name: 64 hex digits."""
    with tempfile.TemporaryDirectory(prefix="tidemill-environment-") as place:
        folder = Path(place) / KIND
        folder.mkdir()
        (folder / _FILE).write_bytes(msgspec.json.encode(lock, order="sorted"))
        sha256 = seal_bundle(folder)
        blobs.put_folder(f"{KIND}:{sha256}", str(folder))
    return sha256


def read_environment(blobs: Blobs, sha256: str) -> EnvironmentLock:
    """The stored environment with this name; raises `NoSuchBlob` or `BundleCorrupt` if it is missing or changed."""
    folder = Path(blobs.folder(f"{KIND}:{sha256}"))
    verify_bundle(folder, sha256)
    return decode_record((folder / _FILE).read_bytes(), EnvironmentLock, f"{KIND}:{sha256[:12]}")


def _lock_files(project: Path) -> dict[str, LockFile]:
    found = {}
    for name in LOCKS:
        file = project / name
        if file.is_file() and file.stat().st_size <= _MOST_LOCK_BYTES:
            content = file.read_bytes()
            text = redact(content.decode("utf-8", "replace"))
            found[name] = LockFile(sha256=hashlib.sha256(content).hexdigest(), text=text)
    return found


def _blas() -> tuple[str, ...]:
    """The loaded BLAS libraries and their threads; learners use one."""
    import_module("scipy.linalg")  # it loads its own BLAS, which learners use
    libraries = {
        " ".join(
            str(one[key])
            for key in ("internal_api", "version", "threading_layer", "architecture", "num_threads")
            if one.get(key) is not None
        )
        for one in threadpool_info()
        if one["user_api"] == "blas"
    }
    return tuple(sorted(f"{one} threads" for one in libraries))


def _processor() -> tuple[str, tuple[str, ...]]:
    try:
        text = _CPU.read_text(errors="replace")
    except OSError:
        return "", ()
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else "", tuple(sorted(set(flags[1].split()))) if flags else ()


def _or_none(names: tuple[str, ...]) -> str:
    return " and ".join(names) if names else "none"
