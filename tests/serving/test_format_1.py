"""A server of the project that the release of format 1 left: its pointer, its switch, its log."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

from served_client import Client
from served_shop import MODEL

import tidemill.core.settings as settings_module
from tidemill.core.clock import SystemClock
from tidemill.core.identity.account import Account
from tidemill.core.record_format import decode_record
from tidemill.feedback import PREDICTIONS, current_predictions
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.project.stores import open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.release import read_deployment
from tidemill.serving import start, switch, switch_state, write_streams
from tidemill.serving.events.streams import Streams

OLD = Path(__file__).parent.parent / "formats" / "1" / "log" / "project.tar.gz"


def test_it_answers_as_it_did_goes_on_logging_and_is_switched_on(tmp_path: Path) -> None:
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    project = tmp_path / "project"
    overrides = {
        "keys": str(tmp_path / "project-keys"), "search": "exact", "serve.port": 0, "serve.workers": 1,
        "serve.drain_s": 0.05,
    }  # fmt: skip
    stores = open_stores(project, settings_module.load(project, overrides=overrides, environ={}), SystemClock())
    root = stores.serving_root
    assert switch_state(root, MODEL, stores.keys.public).off and (root / MODEL / "policy.json").exists()
    assert len(recover_live_files(stores)) == 2  # as `tidemill serve` does: pointer and switch are signed now
    assert switch_state(root, MODEL, stores.keys.public).off
    write_streams(root, decode_record((root / "streams.json").read_bytes(), Streams).streams, stores.keys)
    with start(serve_plan(stores.settings, overrides=overrides)) as server:
        server.wait_ready(60)
        client = Client(server.port)
        first = client.recommend("user1@example.org", n=5)
        assert (first["release"], first["switch"], len(first["items"])) == (f"{MODEL}@1", "off", 5)
        switch(
            root,
            MODEL,
            off=False,
            account=Account(name="ada"),
            why="fine",
            clock=SystemClock(),
            keys=stores.keys,
            ledger=None,
        )
        until = time.monotonic() + 60
        while client.recommend("user1@example.org", n=5)["switch"] == "off":
            assert time.monotonic() < until
            time.sleep(0.02)
        client.connection.close()
    live = read_deployment(root, MODEL, stores.keys.public)
    rows = stores.lake.log(PREDICTIONS)
    assert live is not None and rows is not None
    found = {row["prediction_id"]: row for row in current_predictions(rows).to_pylist()}
    assert [found[f"{i:032x}"]["switch"] for i in range(7)] == ["on", "on", "on", "off", "on", "on", "off"]
    record = found[first["prediction_id"]]
    assert (record["switch"], record["policy"], record["deployment"]) == ("off", "single", live.id)
    assert stores.lake.verify() == []
