"""Live deployment: one file per model, `<model>/live.json`, that a server reads without the ledger.

The file contains a signed `Deployment`, which is followed only if its signature fits. A promotion replaces it by an
atomic rename, so a reader sees either the complete old or the complete new deployment. Bundles are named by hash; a
`Pointer` is an arm with its folders in a blob store.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tidemill.core.errors import BundleCorrupt, NoSuchBlob, NoSuchRelease
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.signed_record import decode_signed, sign_record
from tidemill.core.ports import Blobs
from tidemill.core.record_format import Record
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


def promoted_models(serving_root: Path) -> list[str]:
    """The models that have a deployment here, sorted."""
    return sorted(path.parent.name for path in serving_root.glob(f"*/{LIVE}"))


def read_deployment(serving_root: Path, model: str, public: str) -> Deployment | None:
    """The live deployment of `model`, `None` before its first promotion. `public` is the ledger's public key in hex.

    Raises `BundleCorrupt` for a damaged file, `SignatureInvalid` and `FormatTooNew`.
    """
    path = model_folder(serving_root, model) / LIVE
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return decode_signed(body, Deployment, public, model, str(path))
    except msgspec.DecodeError as error:
        raise BundleCorrupt(
            f"{path} is not a valid deployment: {error}", tip="run `tidemill run`: it rebuilds it from the ledger"
        ) from error


def write_deployment(serving_root: Path, deployment: Deployment, keys: Keys) -> None:
    """Sign `deployment` and make it live for its model, durably and atomically."""
    folder = model_folder(serving_root, deployment.model)
    write_durably(folder / LIVE, msgspec.json.encode(sign_record(deployment, keys, deployment.model)))


def open_arm(deployment: Deployment, arm: Arm, blobs: Blobs) -> Pointer:
    """The arm's release with its folders in the blob store; `BundleCorrupt` where a blob is missing."""
    bundle = blob_folder(blobs, arm.bundle)
    modules = blob_folder(blobs, arm.modules) if arm.modules else None
    return Pointer(release=arm.release, bundle=bundle, modules=modules, assignment=deployment.assignment(arm))


def blob_folder(blobs: Blobs, key: str) -> str:
    """The folder of a blob; `BundleCorrupt` where it is missing."""
    try:
        return blobs.folder(key)
    except NoSuchBlob as error:
        raise BundleCorrupt(f"{key[:19]}… is missing from the blobs", tip="restore the blobs from a backup") from error


def module_sources(release: Release, folder: Path | str | None) -> dict[str, bytes]:
    """The source of the release's modules (custom rules, on-demand functions) by path, from their folder.

    Empty where it has none.
    """
    return {name: (Path(folder) / name).read_bytes() for name in release.rule_modules} if folder is not None else {}
