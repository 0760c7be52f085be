"""Live deployment: one file per model, `<model>/live.json`, that a server reads without the ledger.

The file contains a `Deployment`. A promotion replaces it by an atomic rename, so a reader sees either the complete old
or the complete new deployment. Bundles are named by hash; a `Pointer` is an arm with its folders in a blob store.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tidemill.core.errors import BundleCorrupt, NoSuchBlob, NoSuchRelease
from tidemill.core.ports import Blobs
from tidemill.core.record_format import Record, decode_record
from tidemill.core.records.deployment import Arm, Assignment, Deployment
from tidemill.core.records.release import Release
from tidemill.core.storage.durable_files import write_durably

LIVE = "live.json"
_NAME = re.compile(r"\w[\w.-]*\Z")


class Pointer(Record, frozen=True):
    """A release with its files on this machine, and the arm's assignment, which predictions record."""

    release: Release
    #: Folder of the bundle.
    bundle: str
    #: Folder of the release's custom rule modules; `None` where all rules are built in.
    modules: str | None = None
    assignment: Assignment = Assignment()


def model_folder(serving_root: Path, model: str) -> Path:
    """The folder of a model's deployment and kill switch; a name that would leave the root is refused."""
    if not _NAME.match(model) or ".." in model:
        raise NoSuchRelease(f"{model!r} is not a valid model name")
    return serving_root / model


def read_deployment(serving_root: Path, model: str) -> Deployment | None:
    """The live deployment of `model`, `None` before its first promotion.

    Raises `BundleCorrupt` for a damaged file, and `FormatTooNew`.
    """
    path = model_folder(serving_root, model) / LIVE
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return decode_record(body, Deployment, str(path))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleCorrupt(
            f"{path} is not a valid deployment: {error}", tip="run `tidemill run`: it rebuilds it from the ledger"
        ) from error


def write_deployment(serving_root: Path, deployment: Deployment) -> None:
    """Make `deployment` live for its model, durably and atomically."""
    folder = model_folder(serving_root, deployment.model)
    write_durably(folder / LIVE, msgspec.json.encode(deployment))


def open_arm(deployment: Deployment, arm: Arm, blobs: Blobs) -> Pointer:
    """The arm's release with its folders in the blob store; `BundleCorrupt` where a blob is missing."""
    bundle = _folder(arm.bundle, arm.bundle_folder, blobs)
    modules = _folder(arm.modules, arm.modules_folder, blobs) if arm.modules else None
    return Pointer(release=arm.release, bundle=bundle, modules=modules, assignment=deployment.assignment(arm))


def _folder(key: str, fallback: str, blobs: Blobs) -> str:
    try:
        return blobs.folder(key)
    except NoSuchBlob as error:
        if fallback and Path(fallback).is_dir():
            return fallback
        raise BundleCorrupt(f"{key[:19]}… is missing from the blobs", tip="restore the blobs from a backup") from error


def module_sources(pointer: Pointer) -> dict[str, bytes]:
    """The source of the release's custom rules by path, for `models.load_functions`; empty where it has none."""
    if pointer.modules is None:
        return {}
    return {name: (Path(pointer.modules) / name).read_bytes() for name in pointer.release.rule_modules}
