"""Console process, started by the server's supervisor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from tidemill.loop.online.mend_online import online_damage
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.project.stores import Stores, open_stores


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
    show(console_stores(stores, models), host=settings.serve.host, port=settings.serve.console_port)


def console_stores(stores: Stores, models: Sequence[str]) -> ConsoleStores:
    """What the console reads of a project; `models` are those declared in mill.py."""
    clock, latest = stores.clock, stores.latest
    return ConsoleStores(
        mill_name=stores.identity.name,
        ledger=stores.ledger,
        releases=stores.releases,
        serving_root=stores.serving_root,
        clock=clock,
        models=models,
        table=stores.lake.log,
        snapshot=lambda publication: stores.lake.view(publication=publication),
        check_vault=stores.vault.check,
        runs=stores.runs,
        latest=latest,
        compare=lambda names: loop.compare_runs(stores, names),  # lazily imported on first use
        problems=BackgroundVerify(lambda: verify_project(stores.settings, clock).problems, str, clock).problems,
        online_damage=BackgroundVerify(
            lambda: list(online_damage(latest).items()), lambda why: ("", why), clock, every_s=60
        ).problems,
    )
