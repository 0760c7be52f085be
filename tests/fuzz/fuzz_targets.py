"""Fuzz targets: for each kind of bytes that tidemill reads, valid samples and what reads any bytes in their place.

A target may raise a `TidemillError`, which has a code, and nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import small_graphs
import tabular_worlds as worlds
from known_worlds import DAY, NOW, checkerboard
from xgboost_files import stump, ubjson

from tidemill import models
from tidemill.backends.faiss_search import FaissSearch
from tidemill.backends.segment_events import SegmentEvents
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.backends.sqlite_vault import SqliteVault
from tidemill.core.clock import FixedClock, from_micros
from tidemill.core.contract.contract import Event, event_time, item, subject
from tidemill.core.errors import TidemillError
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.signed_record import _message
from tidemill.core.identity.surrogates import Surrogates, Vault
from tidemill.core.ledger import checkpoint
from tidemill.core.ledger.head_file import HeadFile
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.record_format import SignedRecord
from tidemill.core.records.deployment import Arm, Deployment
from tidemill.core.records.posted_event import CheckedEvent, NamedPerson, encode_event, sealed_event
from tidemill.core.records.prediction import Outcome, Prediction, ScoredItem
from tidemill.core.records.signature import InputField, Signature, outputs_of
from tidemill.core.settings import Serve
from tidemill.core.source_read import ReadRequest
from tidemill.core.storage.segments import SegmentWriter, read_frames
from tidemill.feedback import LogWriter
from tidemill.loop.online.feature_metadata_files import METADATA_FILES
from tidemill.models import open_recommender, write_recommender
from tidemill.models.tabular import TabularModel, open_tabular, write_tabular
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_bundle import parity, write_golden
from tidemill.release.bundle import _parse_manifest
from tidemill.serving import ServedStream
from tidemill.serving.events.event_validation import EventValidator
from tidemill.serving.events.streams import Streams
from tidemill.serving.http import requests
from tidemill.serving.infer.oip_request import InferRequestReader
from tidemill.serving.live.kill_switch import SwitchState
from tidemill.serving.live.state_files import read_state, state_problem
from tidemill.serving.process.verify_state import _RECORDS
from tidemill.sources.posted_events import EventSource
from tidemill.training.tabular.foreign.foreign_model import ImportDescription, ImportSource, import_tabular
from tidemill.training.tabular.foreign.mlflow_model import mlflow_folder
from tidemill.training.tabular.publish.imported_trees import xgboost_model


class FuzzTarget(NamedTuple):
    """Valid samples, and what reads bytes like them."""

    samples: list[bytes]
    read: Callable[[bytes], object]


Make = Callable[[Path], FuzzTarget]
_PEOPLE = ("ann", "bob")
_AT = from_micros(NOW)
_VECTORS = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)


def replaced(file: Path, content: bytes) -> None:
    """Write a new file in the place of one that may be mapped."""
    file.unlink(missing_ok=True)
    file.write_bytes(content)


def _keys(folder: Path) -> Keys:
    return Keys.open(folder / "keys", create=True)


# ---- bundles


def _tabular(folder: Path) -> Path:
    even, arrays = worlds.oblivious(trees=3)
    trees, text = worlds.boosted(trees=2)
    graph, raw = worlds.summed()
    made = TabularModel(worlds.recipe((worlds.additive(), even, trees, graph)), {**arrays, **text, **raw})
    write_tabular(made, folder)
    rows = worlds.table(worlds.rows(4))
    write_golden(worlds.FIELDS, folder, (rows, made.answer(rows)))
    return folder


def _ask_tabular(folder: Path) -> None:
    model = open_tabular(folder)
    rows = worlds.rows(4)
    model.answer(worlds.table(rows))
    model.predict_row(rows[0])
    parity(model, folder)


def _recommender(folder: Path) -> Path:
    learned = models.learn(models.spectral(factors=4), checkerboard(), NOW)
    lists = models.learn(models.cooccurrence(factors=2), checkerboard(), NOW)
    write_recommender(learned, folder / "vectors", FaissSearch())
    write_recommender(lists, folder / "lists", FaissSearch())
    return folder


def _ask_recommender(folder: Path) -> None:
    for name in ("vectors", "lists"):
        opened = open_recommender(folder / name, FaissSearch())
        for history in ([], [0], [0, 2, 5]):
            opened.nearest(history, [n * DAY for n in range(len(history))], 5)


def _index(folder: Path) -> Path:
    FaissSearch(flat_below=1).build(_VECTORS, str(folder))
    return folder


def _ask_index(folder: Path) -> None:
    found = FaissSearch().open(str(folder)).query(_VECTORS[0], 5)
    assert found is not None


def _in_folder(make: Callable[[Path], Path], ask: Callable[[Path], None], name: str) -> Make:
    """The file `name` of a folder replaced by other bytes."""

    def made(folder: Path) -> FuzzTarget:
        place = make(folder / "bundle") / name
        sample = place.read_bytes()

        def read(content: bytes) -> None:
            replaced(place, content)
            ask(folder / "bundle")

        ask(folder / "bundle")
        return FuzzTarget([sample], read)

    return made


def _manifest(folder: Path) -> FuzzTarget:
    files = {"tabular.json": {"sha256": "0" * 64, "size": 7}, "parts/a.npy": {"sha256": "1" * 64, "size": 8}}
    return FuzzTarget(
        [json.dumps({"format": 1, "files": files}).encode()], lambda content: _parse_manifest(folder, content)
    )


# ---- models that are imported


def _examples(n: int = 3) -> Examples:
    fields = (InputField(name="x", kind="float"),)
    return Examples(fields, pa.table({"x": np.arange(float(n))}), np.zeros(n), "number", ())


def _xgboost(folder: Path) -> FuzzTarget:
    content = stump(folder).read_bytes()
    binary = ubjson(json.loads(content))
    file, examples = folder / "model.ubj", _examples()

    def read(content: bytes) -> None:
        replaced(file, content)
        xgboost_model(file, examples).answer(examples.inputs)

    return FuzzTarget([content, binary], read)


def _import(kind: str, name: str, sample: Callable[[], bytes]) -> Make:
    def made(folder: Path) -> FuzzTarget:
        file = folder / name
        rows = pa.table({"a": [1.0, 2.0], "b": [0.5, 1.5], "y": [0.0, 1.0]}) if kind == "onnx" else None
        about = ImportDescription(task="number", target="y")

        def read(content: bytes) -> None:
            replaced(file, content)
            import_tabular(ImportSource(file, kind), about, rows, trust_pickle=False)

        return FuzzTarget([sample()], read)

    return made


def _mlmodel(folder: Path) -> FuzzTarget:
    (folder / "model.onnx").write_bytes(small_graphs.linear())

    def read(content: bytes) -> None:
        replaced(folder / "MLmodel", content)
        mlflow_folder(str(folder))

    flavors = (
        b"flavors:\n  onnx:\n    data: model.onnx\n  python_function:\n    loader_module: mlflow.onnx\nrun_id: x\n"
    )
    return FuzzTarget([flavors], read)


# ---- segments


class _Tables:
    """The log tables of a lake, without one."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, int, dict[str, str]]] = {}

    def record(self, table: str, rows: pa.Table, number: int, note: dict[str, str], lease: Any, /) -> int:
        rows.validate(full=True)
        self.last[table] = number, number, note
        return number

    def recorded(self, table: str, /) -> tuple[int, int, dict[str, str]] | None:
        return self.last.get(table)


def _segment(folder: Path, payloads: list[bytes]) -> bytes:
    writer = SegmentWriter(folder / "sample", FixedClock(_AT))
    writer.append(*payloads)
    path = writer.path
    assert path is not None
    writer.close()
    return path.read_bytes()


def _log(table: str, records: list[Any]) -> Make:
    def made(folder: Path) -> FuzzTarget:
        sample = _segment(folder, [msgspec.msgpack.encode(record) for record in records])

        def read(content: bytes) -> None:
            shutil.rmtree(folder / "log", ignore_errors=True)
            place = folder / "log" / table / "00000000000000001-1-000001-000000000000.seg"
            place.parent.mkdir(parents=True)
            place.write_bytes(content)
            seen, at = [], 0
            with suppress(TidemillError):
                for frame in read_frames(place, skip=lambda start, stop: seen.append((start, stop))):
                    assert at <= frame.start < frame.end <= len(content)
                    at = frame.end
            assert all(0 <= start < stop <= len(content) for start, stop in seen)
            LogWriter(folder / "log", _Tables(), None, batch=2).write()  # type: ignore[arg-type]

        return FuzzTarget([sample, sample[:-5]], read)

    return made


class _Review(Event):
    user_id: str = subject()
    item_id: str = item()
    rating: float = 0.0
    at: datetime = event_time(zone="UTC")


def _events(folder: Path) -> FuzzTarget:
    keys = _keys(folder)
    vault, surrogates = Vault(SqliteVault(folder / "vault.sqlite"), keys), Surrogates(keys.subject)
    payloads = []
    for name in _PEOPLE:
        person = NamedPerson(surrogates("user_id", name), name)
        vault.remember("user_id", [person.surrogate], [name])
        row: dict[str, Any] = {"item_id": "i", "rating": 1.5, "at": NOW}
        event = CheckedEvent(received_at=NOW, row=row, people={"user_id": person})
        payloads += [
            encode_event(sealed_event(event, vault.seal)),
            encode_event(sealed_event(event, lambda v, _: vault.seal(v))),
        ]
    sample = _segment(folder, payloads)

    def read(content: bytes) -> None:
        shutil.rmtree(folder / "events", ignore_errors=True)
        place = folder / "events" / "reviews" / "00000000000000001-1-000001-000000000000.seg"
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        source = EventSource(SegmentEvents(folder / "events"), "reviews", _Review.contract, unseal=vault.unseal)
        found = source.read(ReadRequest(state=None, zone="UTC", until=None, after=None))
        found.good.validate(full=True)
        source.read(ReadRequest(state=found.state, zone="UTC", until=None, after=None))

    return FuzzTarget([sample], read)


# ---- the ledger


def _ledger(folder: Path) -> FuzzTarget:
    keys, file = _keys(folder), folder / "ledger.sqlite"
    with closing(SqliteLedger(file)) as lines:
        ledger = Ledger(lines, keys, FixedClock(_AT), Account(name="ann"))
        for n in range(5):
            ledger.append("open", about=f"mill:{n}", details={"mill": "m", "n": n})

    def read(content: bytes) -> None:
        for path in folder.glob("ledger.sqlite*"):
            path.unlink()
        file.write_bytes(content)
        with closing(SqliteLedger(file)) as lines:
            opened = Ledger(lines, keys, FixedClock(_AT), Account(name="ann"))
            for look in (opened.verify, opened.find, opened.head, lambda: opened.append("open", about="mill:x")):
                with suppress(TidemillError):
                    look()

    return FuzzTarget([file.read_bytes()], read)


def _head(folder: Path) -> FuzzTarget:
    keys, file = _keys(folder), folder / "ledger.head"
    with closing(SqliteLedger(folder / "ledger.sqlite")) as lines:
        ledger = Ledger(lines, keys, FixedClock(_AT), Account(name="ann"), head_file=HeadFile(file, keys.public))
        ledger.append("open", about="mill:m")
        head = ledger.head()

    def read(content: bytes) -> None:
        replaced(file, content)
        HeadFile(file, keys.public).keep(head)
        replaced(file, content)
        HeadFile(file, keys.public).read()

    return FuzzTarget([file.read_bytes()], read)


def _checkpoint(folder: Path) -> FuzzTarget:
    keys = _keys(folder)
    with closing(SqliteLedger(folder / "ledger.sqlite")) as lines:
        ledger = Ledger(lines, keys, FixedClock(_AT), Account(name="ann"))
        ledger.append("open", about="mill:m")
        file = checkpoint.write(folder / "checkpoints", ledger.head(), keys.public)

    def read(content: bytes) -> None:
        replaced(file, content)
        checkpoint.read(folder / "checkpoints")

    return FuzzTarget([file.read_bytes()], read)


# ---- requests


def _signature() -> Signature:
    fields = (
        InputField(name="customer", kind="str", role="subject"),
        InputField(name="amount", kind="float", optional=False),
        InputField(name="n", kind="int"),
        InputField(name="new", kind="bool"),
        InputField(name="at", kind="time"),
    )
    return Signature(task="number", target="y", request=fields, inputs=fields[1:], outputs=outputs_of("number"))


def _infer(folder: Path) -> FuzzTarget:
    """The first line is the header with the length of the JSON; empty without binary tensors."""
    reader = InferRequestReader(_signature(), Surrogates(_keys(folder).subject), 1_000)
    numbers = (InputField(name="a", kind="float"), InputField(name="b", kind="int"))
    matrix = InferRequestReader(
        Signature(task="number", target="y", request=numbers, inputs=numbers, outputs=outputs_of("number")),
        Surrogates(_keys(folder).subject), 1_000,
    )  # fmt: skip
    plain = {"inputs": [
        {"name": "customer", "shape": [2], "datatype": "BYTES", "data": ["ann", "bob"]},
        {"name": "amount", "shape": [2, 1], "datatype": "FP64", "data": [[1.5], [2]]},
        {"name": "n", "shape": [2], "datatype": "INT64", "data": [1, -2]},
        {"name": "new", "shape": [2], "datatype": "BOOL", "data": [True, False]},
        {"name": "at", "shape": [2], "datatype": "BYTES", "data": ["2026-06-01T00:00:00Z", "2026-06-01"]},
    ], "outputs": [{"name": "prediction", "parameters": {"binary_data": True}}], "id": "a"}  # fmt: skip
    head = json.dumps({"inputs": [
        {"name": "amount", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}},
        {"name": "customer", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}},
    ]}).encode()  # fmt: skip
    binary = b"%d\n" % len(head) + head + np.float32(1.5).tobytes() + b"\3\0\0\0ann"
    whole = {"inputs": [{"name": "inputs", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]}

    def read(content: bytes) -> None:
        length, _, body = content.partition(b"\n")
        for one in (reader, matrix):
            with suppress(TidemillError):
                asked = one.read(body, length.decode("latin-1") or None)
                assert all(len(column) == asked.n for column in asked.columns)

    return FuzzTarget([b"\n" + json.dumps(plain).encode(), binary, b"\n" + json.dumps(whole).encode()], read)


def _bodies(folder: Path) -> FuzzTarget:
    """The bodies of recommendations, events and outcomes."""
    validator = EventValidator(_Review.contract, Surrogates(_keys(folder).subject))

    def read(content: bytes) -> None:
        for parse in (requests.recommend, requests.outcomes):
            with suppress(TidemillError):
                parse(content, Serve())
        validator.validate(requests.rows(content, Serve()), NOW)

    rows = [{"user_id": "a", "item_id": "b", "rating": 4, "at": "1970-03-01T00:00:00+01:00"}]
    asked = {"user": "ann", "n": 3, "context": {"page": "x", "k": 1}, "exclude": ["a"], "candidates": ["b"]}
    came = [{"prediction_id": "0" * 32, "item": "a", "what": "click", "value": 1.0, "served_day": "2026-06-01"}]
    return FuzzTarget([json.dumps(one).encode() for one in (rows, asked, came)], read)


# ---- state files


def _state(folder: Path) -> FuzzTarget:
    """Every state file of the server, as it is and, if it is signed, signed again with the changed content."""
    keys = _keys(folder)
    kinds = {*_RECORDS.values(), *METADATA_FILES.values()}
    samples = [msgspec.json.encode(kind()) for kind in kinds - {Deployment, Streams, SwitchState}]
    samples += [
        msgspec.json.encode(Deployment(model="m", arms=(Arm(),))),
        msgspec.json.encode(Streams(streams={"reviews": ServedStream(contract=_Review.contract, feeds=("m",))})),
        msgspec.json.encode(SwitchState()),
    ]
    place = folder / "m" / "state.json"
    place.parent.mkdir()

    def read(content: bytes) -> None:
        for kind in kinds:
            replaced(place, content)
            state_problem(place, kind, keys.public)
            read_state(place, kind, keys.public)
            if issubclass(kind, SignedRecord):
                with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    fields = msgspec.json.decode(content, type=dict[str, Any])
                    fields["signature"] = keys.sign(_message(kind, fields, "m")).hex()
                    replaced(place, msgspec.json.encode(fields))
                    state_problem(place, kind, keys.public)
                    read_state(place, kind, keys.public)

    return FuzzTarget(samples, read)


def _prediction(n: int) -> Prediction:
    return Prediction(
        prediction_id=f"{n:032}", model="m", release="m@1", served_at=NOW, items=(ScoredItem(item="a", score=0.5),)
    )


def _outcome(n: int) -> Outcome:
    return Outcome(prediction_id=f"{n:032}", item="a", what="click")


def _files(make: Callable[[Path], Path], ask: Callable[[Path], None], names: str) -> Iterator[tuple[str, Make]]:
    for name in names.split():
        yield name, _in_folder(make, ask, name)


TARGETS: dict[str, Make] = {
    **{f"tabular/{name}": make for name, make in _files(
        _tabular, _ask_tabular,
        "tabular.json boosted.txt graph.onnx even.splits.npy even.borders.npy even.leaves.npy golden.arrow",
    )},
    **{f"recommender/{name}": make for name, make in _files(
        _recommender, _ask_recommender,
        "vectors/recommender.json vectors/items.arrow vectors/popularity.npy vectors/index/spectral/index.faiss "
        "vectors/parts/spectral/items.npy vectors/parts/spectral/encoder.npy lists/recommender.json "
        "lists/parts/cooccurrence/items.npy lists/parts/cooccurrence/starts.npy lists/parts/cooccurrence/weights.npy",
    )},
    "index.faiss": _in_folder(_index, _ask_index, "index.faiss"),
    "index.json": _in_folder(_index, _ask_index, "index.json"),
    "manifest.json": _manifest,
    "import/xgboost": _xgboost,
    "import/onnx": _import("onnx", "model.onnx", small_graphs.linear),
    "import/lightgbm": _import("lightgbm", "model.txt", lambda: worlds.boosted(trees=2)[1]["boosted.txt"]),
    "import/MLmodel": _mlmodel,
    "segments/predictions": _log("predictions", [_prediction(n) for n in range(3)]),
    "segments/outcomes": _log("outcomes", [_outcome(n) for n in range(3)]),
    "segments/events": _events,
    "ledger.sqlite": _ledger,
    "ledger.head": _head,
    "checkpoint": _checkpoint,
    "infer": _infer,
    "bodies": _bodies,
    "state files": _state,
}  # fmt: skip
