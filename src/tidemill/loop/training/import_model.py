"""Import of an externally trained model as a candidate release: same bundle, same gates, origin on its card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import to_micros
from tidemill.core.errors import CardIncomplete, ImportRefused, OriginMissing, UsageError
from tidemill.core.lease import train_lease
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Lease
from tidemill.core.record_format import decode_json, decode_record
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import Signature
from tidemill.core.storage.failpoint import failpoint
from tidemill.loop.families.model_family import ModelFamily, family_named
from tidemill.loop.project.stores import Stores
from tidemill.loop.training.train import bundle_folder, remove_left_folders
from tidemill.sources.files.table_file import read_table
from tidemill.training.tabular.foreign.foreign_model import (
    ImportDescription,
    ImportedModel,
    ImportSource,
    find_source,
)
from tidemill.training.tabular.rows.given_rows import MOST


class ImportCard(ImportDescription, frozen=True):
    """The card file of a model: fields of its `Card`, and its origin."""

    helps: str = ""
    could_harm: str = ""
    source: str = ""
    licence: str = ""
    revision: str = ""
    #: If given, the model's file must have this hash.
    sha256: str = ""
    card: str = ""


#: A model's name is also a folder name.
_LONGEST = 100


@dataclass(frozen=True)
class ImportResult:
    """The result of an import."""

    release: Release
    #: Whether it is new; importing the same files again returns the existing release.
    anew: bool
    notes: tuple[str, ...] = ()


def import_model(
    stores: Stores,
    name: str,
    source: str,
    *,
    card: Path | None = None,
    golden: Path | None = None,
    trust_pickle: bool = False,
) -> ImportResult:
    """Create a release of `name` from the model at `source`: an ONNX file or folder, LightGBM's text, an MLflow model.

    `card` is a JSON file, by default `card.json` in the source's folder; `golden` are rows to predict, stored in
    the bundle with the predictions. Raises `CardIncomplete`, `OriginMissing`, `ImportRefused` or `NotPublishable`;
    on an error nothing is stored.
    """
    if not name.isidentifier() or len(name) > _LONGEST:
        raise UsageError(f"{name[:40]!r} is not a valid model name", tip="use letters, digits and _, such as churn")
    family = _family(stores, name)
    if ":/" not in source and not Path(source).exists():
        raise ImportRefused(
            f"there is no file or folder {source}",
            tip="name an ONNX file, a folder with model.onnx, LightGBM's text, or an MLflow folder or URI",
        )
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    described = _read_card(card or folder / "card.json")
    found = find_source(source)
    sha256 = found.sha256
    if described.sha256 and described.sha256.lower() != sha256:
        raise OriginMissing(f"the card pins the sha256 {described.sha256[:12]}…, but {found.file.name} has {sha256}")
    mark = fingerprint(
        {
            "import": [name, found.kind, sha256],
            "card": msgspec.json.encode(described).decode(),
            "golden": hashlib.sha256(golden.read_bytes()).hexdigest() if golden else "",
            "tidemill": metadata.version("tidemill"),
        }
    )
    with stores.leases.take(train_lease(name)) as lease:
        remove_left_folders(stores, name)
        earlier = stores.ledger.find("import", about=f"model:{name}", fingerprint=mark)
        if earlier:
            return ImportResult(_release(stores, family, name, earlier[-1], lease), anew=False)
        rows = read_table(golden).slice(0, MOST) if golden else None
        with bundle_folder(stores, name) as place:
            model = family.imported(found, described, rows, place, trust_pickle=trust_pickle)
            bundle = stores.releases.keep(place)
        line = _line(stores, name, bundle, found, described, model, mark, lease)
        return ImportResult(_release(stores, family, name, line, lease), anew=True, notes=model.notes)


def _read_card(file: Path) -> ImportCard:
    try:
        card = decode_json(file.read_bytes(), ImportCard)
    except OSError as problem:
        raise OriginMissing(
            f"there is no card {file}: {problem.strerror}",
            tip="write helps, could_harm, source, licence and revision into a JSON file: --card card.json",
        ) from problem
    except msgspec.DecodeError as problem:
        raise OriginMissing(
            f"the card {file} cannot be read: {problem}", tip="it is a JSON object of texts"
        ) from problem
    silent = [name for name in ("helps", "could_harm") if not getattr(card, name).strip()]
    if silent:
        raise CardIncomplete(f"{file} does not say {' and '.join(silent)}", tip="add a sentence for each")
    silent = [name for name in ("source", "licence", "revision") if not getattr(card, name).strip()]
    if silent:
        raise OriginMissing(f"{file} does not say {', '.join(silent)}", tip="add the origin of the model")
    return card


def _family(stores: Stores, name: str) -> ModelFamily:
    """The family of the model's releases; a new model is tabular."""
    releases = stores.releases.all(name)
    return family_named(releases[-1].family if releases else "tabular")


def _line(
    stores: Stores,
    name: str,
    bundle: str,
    source: ImportSource,
    described: ImportCard,
    imported: ImportedModel,
    mark: str,
    lease: Lease,
) -> LedgerEntry:
    """The ledger entry of a stored bundle, with card and signature."""
    line = stores.ledger.append(
        "import",
        about=f"model:{name}",
        refs_out=[f"bundle:{name}@{bundle}"],
        fingerprint=mark,
        details={
            "bundle": bundle,
            "card": _card(stores, name, source, described, imported).json(),
            "signature": imported.signature.json(),
        },
        lease=lease,
    )
    failpoint("bundle.ledger")
    return line


def _card(stores: Stores, name: str, source: ImportSource, described: ImportCard, imported: ImportedModel) -> Card:
    now = to_micros(stores.clock.now())
    origin = {
        "source": described.source,
        "licence": described.licence,
        "revision": described.revision,
        "sha256": source.sha256,
    }
    return Card(
        model=name,
        helps=described.helps,
        could_harm=described.could_harm,
        learner=f"imported {source.kind}",
        parameters={"file": source.file.name, "rows": imported.n_rows},
        evaluation=None,
        data={},
        n_rows=0,
        n_users=0,
        n_items=0,
        learned_at=now,
        as_of=now,
        assessment=imported.assessment,
        origin=origin | ({"card": described.card} if described.card else {}),
    )


def _release(stores: Stores, family: ModelFamily, name: str, line: LedgerEntry, lease: Lease) -> Release:
    """The release of an import's ledger entry, which does not depend on local code or libraries."""
    return stores.releases.create(
        name,
        line.details["bundle"],
        RuleSet(retrieve=()),
        decode_record(line.details["card"], Card),
        code=line.fingerprint or "",
        signature=decode_record(line.details["signature"], Signature),
        family=family.name,
        lease=lease,
    )
