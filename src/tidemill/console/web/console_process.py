"""Console process, started by the server's supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill import loop
from tidemill.console.state.background_verify import BackgroundVerify
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.web.serve import show
from tidemill.core.clock import SystemClock
from tidemill.core.identity.account import Account
from tidemill.core.processes.start_process import ProcessStart
from tidemill.core.settings import Settings, load
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.project.stores import open_stores


def console_start(settings: Settings, overrides: Mapping[str, Any], models: list[str]) -> ProcessStart:
    """The command by which the supervisor starts a project's console; `models` are those declared in mill.py."""
    given = {key: value for key, value in overrides.items() if value is not None}
    arguments = {
        "project": str(settings.project.resolve()),
        "profile": settings.profile,
        "overrides": given,
        "models": models,
    }
    return ProcessStart("tidemill.console.web.console_process:run", arguments)


def run(project: str, profile: str, overrides: Mapping[str, Any], models: list[str]) -> None:
    """Serve the console of a project until SIGTERM."""
    settings = load(Path(project), profile=profile, overrides=overrides)
    account = Account(name="console", kind="process")
    stores = open_stores(settings.project, settings, SystemClock(), account=account)
    house = ConsoleStores(
        mill_name=stores.identity.name,
        ledger=stores.ledger,
        releases=stores.releases,
        serving_root=stores.serving_root,
        clock=stores.clock,
        models=models,
        table=stores.lake.log,
        check_vault=stores.vault.check,
        runs=stores.runs,
        latest=stores.latest,
        compare=lambda names: loop.compare_runs(stores, names),  # lazily imported on first use
        problems=BackgroundVerify(lambda: verify_project(settings, stores.clock).problems, stores.clock).problems,
    )
    show(house, host=settings.serve.host, port=settings.serve.console_port)
