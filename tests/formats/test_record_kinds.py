"""Every kind of kept record: what format 1 left is read, wider records too, newer ones are refused, and what is written
holds all that an older reader looks for.
"""

from __future__ import annotations

import importlib
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidemill.core.errors import FormatTooNew
from tidemill.core.record_format import VersionedRecord, decode_record, format_of, record_kinds

for _module in (
    "backends.lmdb.mapped_rows",
    "backends.s3.blob_cache",
    "core.ledger.checkpoint",
    "core.records.dataset",
    "core.records.gate",
    "core.records.ingest",
    "core.records.quality",
    "core.records.prediction",
    "core.records.runs",
    "core.records.release",
    "core.records.signature",
    "core.storage.segment_list",
    "lake.commit_intent",
    "lake.manifest",
    "loop.project.stores",
    "loop.refresh.count_store",
    "loop.provenance.environment_lock",
    "loop.online.feature_metadata_files",
    "release.bundle",
    "serving.live.server_clock",
    "serving.process.worker_site",
    "serving.events.streams",
    "serving.process.hot_swap",
    "serving.process.server_state",
    "training.runs.per_unit_metrics",
):
    importlib.import_module(f"tidemill.{_module}")

RECORDS = Path(__file__).parent / "1" / "records"
UPGRADING = Path(__file__).parent.parent.parent / "docs" / "upgrading.md"
#: Kind -> its file of format 1.
KEPT = {
    "blob manifest": "blob-manifest",
    "bundle manifest": "bundle-manifest",
    "checkpoint": "checkpoint",
    "count store": "counts",
    "dataset": "dataset",
    "environment": "environment",
    "feature declaration": "declared-features",
    "feature significance": "significance",
    "feature skew report": "skew",
    "increment": "increment",
    "list of streams": "served-streams",
    "mill identity": "identity",
    "model card": "card",
    "publication": "publication",
    "publication in progress": "intent",
    "release": "release",
    "run": "run",
    "server clock": "replay",
    "server state": "server",
    "signature": "signature",
    "snapshot of rows": "mapped-rows",
    "swap state": "swap-state",
    "table manifest": "table-manifest",
    "trial": "trial",
    "verdict": "verdict",
}
kept = pytest.mark.parametrize(
    ("kind", "text"),
    [pytest.param(kind, (RECORDS / f"{file}.json").read_bytes(), id=kind) for kind, file in KEPT.items()],
)


def holds(new: Any, old: Any) -> bool:
    """Whether `new` has every value of `old` at its place: what an older reader looks for, and passes over the rest."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and holds(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)


@kept
def test_what_format_1_left_is_read_and_written_for_older_readers_too(kind: str, text: bytes) -> None:
    known = record_kinds()[kind]
    record = decode_record(text, known)
    assert record.format == format_of(known)
    written = msgspec.json.encode(record)
    assert decode_record(written, known) == record
    if format_of(known) == 1:  # fields were only added
        assert holds(json.loads(written), json.loads(text))


@kept
def test_a_field_of_the_future_is_passed_over(kind: str, text: bytes) -> None:
    known = record_kinds()[kind]
    wider = json.dumps(json.loads(text) | {"of_the_future": {"a": [1]}})
    assert decode_record(wider, known) == decode_record(text, known)


@kept
def test_a_newer_format_is_refused_by_name(kind: str, text: bytes) -> None:
    known = record_kinds()[kind]
    newer = json.dumps(json.loads(text) | {"format": format_of(known) + 1})
    with pytest.raises(FormatTooNew, match=kind):
        decode_record(newer, known, "a file")


@pytest.mark.parametrize("kind", sorted(record_kinds()))
def test_every_field_has_a_default(kind: str) -> None:
    known = record_kinds()[kind]
    known()
    assert [f"{part.__name__}.{field.name}" for part in parts(known) for field in bare(part)] == []


@pytest.mark.parametrize("kind", sorted(record_kinds()))
def test_an_empty_text_is_a_record_only_where_every_field_may_be_missing(kind: str) -> None:
    known = record_kinds()[kind]
    if known.REQUIRED:
        with pytest.raises(msgspec.ValidationError, match="required field"):
            decode_record("{}", known)
    assert {*known.REQUIRED} <= {*known.__struct_fields__}


def test_the_documentation_names_every_kind_with_its_number() -> None:
    rows = [line.split("|")[1:3] for line in UPGRADING.read_text().splitlines() if line.startswith("| ")]
    named = {name.strip(): number.strip() for name, number in rows}
    assert {kind: str(format_of(known)) for kind, known in record_kinds().items()}.items() <= named.items()


def parts(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """A record and the records of this package that its fields are made of."""
    todo, seen = [kind], {kind}
    while todo:
        part = todo.pop()
        yield part
        for hint in typing.get_type_hints(part).values():
            found = {one for one in structs(hint) if one not in seen}
            seen |= found
            todo += found


def structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint is not VersionedRecord:
        yield hint
    for inner in typing.get_args(hint):
        yield from structs(inner)


def bare(part: type[msgspec.Struct]) -> list[msgspec.structs.FieldInfo]:
    return [field for field in msgspec.structs.fields(part) if field.required]
