"""Preparation of a server start: its files as mill.py and the ledger have them, as far as both can be read."""

from __future__ import annotations

from collections.abc import Callable

from tidemill.core.errors import LedgerError
from tidemill.loop.online.materialise_online import write_serving_metadata
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.project.stores import Stores


def prepare_server(open_project: Callable[[], tuple[Stores, ProjectGraph]]) -> list[str]:
    """Write the streams, the declared features, and each pointer and kill switch that differs from the ledger; returns
    sentences about the corrections.

    What is live is served without the ledger: then only a sentence says that nothing was compared with it.
    """
    try:
        stores, graph = open_project()
        write_serving_metadata(stores, graph)
        return recover_live_files(stores)
    except LedgerError as error:
        return [f"what is live was not compared with the ledger: {error.message}"]
