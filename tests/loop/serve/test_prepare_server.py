"""A server starts while the ledger is away: what is live is on disk."""

from __future__ import annotations

from datetime import timedelta

from conftest_loop import FIRST, Project, daily

from tidemill.loop.serve.prepare_server import prepare_server
from tidemill.loop.training.train import train


def test_a_server_starts_without_the_ledger_and_says_so(project: Project) -> None:
    project.write("reviews.csv", daily(10))
    project.run(FIRST + timedelta(days=9))
    stores, graph = project.open()
    stores.releases.promote(train(stores, graph, "for_you").release.name)
    (stores.state / "serving" / "streams.json").unlink()
    assert prepare_server(project.open) == [] and (stores.state / "serving" / "streams.json").exists()
    (stores.state / "ledger.sqlite").unlink()
    (note,) = prepare_server(project.open)
    assert "was not compared with the ledger" in note and "is missing" in note
