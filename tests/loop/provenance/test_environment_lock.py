"""What the environment of a training was, and in which points another one differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidemill.backends.folder_blobs import FolderBlobs
from tidemill.core.errors import BundleCorrupt
from tidemill.loop.provenance import installed_libraries as libraries
from tidemill.loop.provenance.environment_lock import (
    EnvironmentLock,
    environment_lock,
    keep_environment,
    read_environment,
)
from tidemill.loop.provenance.installed_libraries import InstalledLibrary, installed_libraries
from tidemill.loop.reproduce.build_environment import hashes_of, requirements


@pytest.fixture(scope="module")
def lock() -> EnvironmentLock:
    return environment_lock(Path(__file__).parent.parent)


def changed(lock: EnvironmentLock, **more: Any) -> EnvironmentLock:
    return msgspec.structs.replace(lock, **more)


def test_no_library_is_read_twice(lock: EnvironmentLock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_is_own", lambda line: pytest.fail(f"{line} was read again"))
    assert lock.differences(environment_lock(Path(__file__).parent.parent)) == ()


def test_libraries_that_are_loaded_or_asked_for_are_needed(lock: EnvironmentLock) -> None:
    assert lock.installed["numpy"].needed
    assert lock.installed["cffi"].needed  # by way of cryptography
    assert lock.installed["numpy"].files
    assert not lock.installed["mypy"].needed
    assert "tidemill" not in lock.installed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"python": "3.9.1"}, "python: recorded 3.9.1, here "),
        ({"cpu": "Z80"}, "cpu: recorded Z80, here "),
        ({"cores": 999}, "cores: recorded 999, here "),
        ({"flags": ("mmx",)}, "processor flags: "),
        ({"threads": {"OMP_NUM_THREADS": "77"}}, "threads: recorded OMP_NUM_THREADS=77, here OMP_NUM_THREADS="),
        ({"sources": "0" * 64}, "tidemill 0.1.0: its files ("),
        ({"tidemill": "0.0.1"}, "tidemill: recorded 0.0.1, here "),
    ],
)
def test_each_point_is_named(lock: EnvironmentLock, change: dict[str, Any], says: str) -> None:
    found = changed(lock, **change).differences(lock)
    assert [one for one in found if one.startswith(says)], found


def test_libraries_are_told_by_version_and_by_content(lock: EnvironmentLock) -> None:
    numpy = lock.installed["numpy"]

    def recorded(**more: InstalledLibrary) -> tuple[str, ...]:
        return changed(lock, installed={**lock.installed, **more}).differences(lock)

    older = recorded(numpy=InstalledLibrary(version="1.0", files="", needed=True))
    assert older == (f"numpy: recorded 1.0, here {numpy.version}",)
    touched = recorded(numpy=msgspec.structs.replace(numpy, files="0" * 64))
    assert touched == (f"numpy {numpy.version}: its files differ from those recorded",)
    assert recorded(gone=InstalledLibrary(version="1.0", files="", needed=True)) == (
        "gone: recorded 1.0, not installed here",
    )
    assert recorded(gone=InstalledLibrary(version="1.0", files="")) == ()  # it was there, and nobody needed it


def test_a_library_whose_files_changed_has_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "tiny-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")

    def hashed(*lines: str) -> str:
        (about / "RECORD").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(tmp_path))
        return installed_libraries()["tiny"].files

    own = "tiny.py,sha256=abc,12"
    first = hashed(own, "../../../bin/tiny,sha256=one,5", "tiny-1.0.dist-info/RECORD,,")
    assert hashed("../../../bin/tiny,sha256=two,5", own, "tiny-1.0.dist-info/INSTALLER,sha256=x,2") == first
    assert hashed("tiny.py,sha256=abd,12") != first


def test_it_is_kept_once_and_comes_back(lock: EnvironmentLock, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    first = keep_environment(blobs, lock)
    assert keep_environment(blobs, lock) == first
    assert read_environment(blobs, first) == lock
    (Path(blobs.folder(f"environment:{first}")) / "environment.json").write_text("{}")
    with pytest.raises(BundleCorrupt):
        read_environment(blobs, first)


def test_lock_files_are_kept_without_passwords(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("-i https://ann:secret@host/simple\nnumpy==2.4.6\n")
    found = environment_lock(tmp_path).locks["requirements.lock"]
    assert "secret" not in found.text
    assert "numpy==2.4.6" in found.text


UV = """
[[package]]
name = "Zope.Interface"
version = "7.0"
sdist = { url = "u", hash = "sha256:aa" }
wheels = [{ url = "u", hash = "sha256:bb" }]
[[package]]
name = "own"
version = "0.1"
source = { editable = "." }
"""
PIP = "numpy[x]==2.4.6 \\\n    --hash=sha256:11 \\\n    --hash=sha256:22\nscipy==1.0 ; python_version > '3'\n"


def test_hashes_of_lock_files_pin_what_is_installed(lock: EnvironmentLock, tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(UV)
    (tmp_path / "requirements.txt").write_text(PIP)
    locks = environment_lock(tmp_path).locks
    assert hashes_of(locks) == {
        ("zope-interface", "7.0"): ("sha256:bb", "sha256:aa"),
        ("numpy", "2.4.6"): ("sha256:11", "sha256:22"),
    }
    wanted = {
        "numpy": InstalledLibrary(version="2.4.6", files="", needed=True),
        "idle": InstalledLibrary(version="1", files=""),
    }
    pinned = requirements(changed(lock, installed=wanted, locks=locks))
    assert pinned == ["numpy==2.4.6 --hash=sha256:11 --hash=sha256:22"]
