"""Build of a virtual environment with the recorded libraries, from the package index, and the files of this tidemill.

Downloads are checked against the hashes of the project's lock file. `uv` builds it if installed, else `venv` and
`pip`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import tidemill
from tidemill.core.errors import EnvironmentUnmade
from tidemill.loop.provenance.environment_lock import EnvironmentLock, LockFile
from tidemill.loop.provenance.installed_libraries import plain_name

#: Timeout of the package index in seconds.
LIMIT_S = 1_200.0
_LONGEST = 400
#: The metadata of tidemill by which its back-ends are found. The rest describes how it was installed.
_METADATA = ("METADATA", "entry_points.txt", "WHEEL")


def make_environment(lock: EnvironmentLock, folder: Path, *, limit_s: float = LIMIT_S) -> Path:
    """Build it in `folder`, which must not exist, and return the path of its interpreter.

    Only needed libraries are installed. Raises `EnvironmentUnmade` if the index lacks a recorded library.
    """
    uv = _uv()
    wanted = folder.with_suffix(".txt")
    wanted.write_text("\n".join(requirements(lock, hashes=uv is not None)) + "\n")
    if uv:
        _execute([uv, "venv", "--quiet", "--no-project", *_python(lock, uv), str(folder)], limit_s)
        interpreter = folder / "bin" / "python"
        _execute(
            [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(interpreter), "-r", str(wanted)], limit_s
        )
    else:
        _execute([sys.executable, "-m", "venv", str(folder)], limit_s)
        interpreter = folder / "bin" / "python"
        _execute([str(interpreter), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(wanted)], limit_s)
    _copy_tidemill(_site_packages(interpreter))
    return interpreter


def requirements(lock: EnvironmentLock, *, hashes: bool = True) -> list[str]:
    """The requirement lines of every needed library, with the hashes of the project's lock file."""
    known = hashes_of(lock.locks) if hashes else {}
    return [
        " ".join([f"{name}=={one.version}", *(f"--hash={each}" for each in known.get((name, one.version), ()))])
        for name, one in lock.installed.items()
        if one.needed
    ]


def hashes_of(locks: Mapping[str, LockFile]) -> dict[tuple[str, str], tuple[str, ...]]:
    """(name, version) -> `sha256:…` of each of its files, from the lock files; none if they cannot be read.

    >>> text = "numpy==2.4.6 --hash=sha256:ab12"
    >>> hashes_of({"requirements.txt": LockFile(sha256="", text=text)})
    {('numpy', '2.4.6'): ('sha256:ab12',)}
    """
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, lock in locks.items():
        found |= _of_toml(lock.text) if name.endswith((".toml", "uv.lock")) else _of_requirements(lock.text)
    return found


def _of_requirements(text: str) -> dict[tuple[str, str], tuple[str, ...]]:
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        match = re.match(r"\s*([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;]+)", line)
        hashes = tuple(re.findall(r"--hash[= ](sha256:[0-9a-f]+)", line))
        if match and hashes:
            found[plain_name(match[1]), match[2]] = hashes
    return found


def _of_toml(text: str) -> dict[tuple[str, str], tuple[str, ...]]:
    try:
        packages = tomllib.loads(text).get("package", [])
    except tomllib.TOMLDecodeError:
        return {}
    found = {}
    for one in packages if isinstance(packages, list) else []:
        files = [*one.get("wheels", []), *one.get("files", []), *([one["sdist"]] if "sdist" in one else [])]
        hashes = tuple(str(file["hash"]) for file in files if isinstance(file, dict) and file.get("hash"))
        if hashes and "version" in one:
            found[plain_name(one["name"]), one["version"]] = hashes
    return found


def _uv() -> str | None:
    sibling = Path(sys.executable).with_name("uv")
    return str(sibling) if sibling.is_file() else shutil.which("uv")


def _python(lock: EnvironmentLock, uv: str) -> Sequence[str]:
    """The recorded interpreter if it is on this machine, else this one, whose difference is reported."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if lock.python != here:
        done = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", "--no-project", lock.python], capture_output=True, text=True
        )
        if done.returncode == 0:
            return ["--python", done.stdout.strip()]
    return ["--python", sys.executable]


def _site_packages(python: Path) -> Path:
    """The folder of an interpreter's libraries."""
    code = "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"
    done = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout))


def _copy_tidemill(place: Path) -> None:
    """Copy the files of this tidemill, because an editable install has no archive."""
    source = Path(tidemill.__file__).parent
    shutil.copytree(source, place / "tidemill", ignore=shutil.ignore_patterns("__pycache__"))
    here = metadata.distribution("tidemill")
    about = place / f"tidemill-{here.version}.dist-info"
    about.mkdir()
    for name in _METADATA:
        text = here.read_text(name)
        if text is not None:
            (about / name).write_text(text)


def _execute(words: Sequence[str], limit_s: float) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentUnmade(f"building the recorded environment took longer than {limit_s:g} seconds") from error
    if done.returncode:
        output = " ".join((done.stderr or done.stdout).split())
        raise EnvironmentUnmade(
            f"the recorded environment cannot be built: {output[:_LONGEST]}",
            tip="--here uses this environment and lists the differences",
        )
