"""Going live: promotion and rollback of a release, for commands, refreshes, `tidemill auto` and the demo alike.

Each takes the model's lease, runs the gate, and leaves one ledger entry with the verdict and the account that acted.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from tidemill.core.errors import BackendMissing, TidemillError
from tidemill.core.identity.account import Account
from tidemill.core.identity.refs import parse_ref
from tidemill.core.lease import live_lease, wait_for_lease
from tidemill.core.ports import Lease
from tidemill.core.records.gate import GateCheck
from tidemill.core.records.release import Release
from tidemill.loop.families.model_family import ModelFamily, family_named
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.release import Promotion
from tidemill.release.gate import FurtherChecks
from tidemill.serving.live.kill_switch import heal_switch


def go_live(
    stores: Stores, graph: ProjectGraph | None, ref: str, *, lease: Lease | None = None, account: Account | None = None
) -> Promotion:
    """Make the release `ref` champion and return its promotion; that of before, if it is already the champion.

    Without a `graph` nothing is checked against mill.py. `lease` is that of the model, if the caller holds it;
    `account` acts, by default the one that opened the stores. Raises `NoSuchRelease`, `LeaseTaken`, and the error of
    the check that refuses the release; then the old champion stays live.
    """
    model = parse_ref(ref, "release").name
    with nullcontext(lease) if lease else wait_for_lease(stores.leases, live_lease(model)) as held:
        release = stores.releases.get(ref)
        stores.releases.promote(release.name, held, account=account, further=_family_checks(stores, graph))
        return _live(stores, model)


def roll_back(stores: Stores, model: str) -> Promotion:
    """Make the previous champion of `model` live again. It does not wait for mill.py, which may be broken.

    Raises `NoSuchRelease` without a previous champion, `LeaseTaken`, and the error of the check that refuses it.
    """
    with wait_for_lease(stores.leases, live_lease(model)) as lease:
        stores.releases.rollback(model, lease, further=_family_checks(stores, None))
        return _live(stores, model)


def _live(stores: Stores, model: str) -> Promotion:
    heal_switch(stores.serving_root, model, stores.ledger)  # a first promotion creates it
    found = stores.releases.last_promotion(model)
    assert found is not None
    return found


def _family_checks(stores: Stores, graph: ProjectGraph | None) -> FurtherChecks:
    """The checks of a release's model family: whether it can be opened, and is what mill.py declares."""

    def checks(release: Release, bundle: Path) -> tuple[GateCheck, ...]:
        try:
            family = family_named(release.family)
            return (*family.check_bundle(release, bundle), *_code_checks(family, stores, graph, release))
        except BackendMissing as missing:
            return (GateCheck(name="model family", result="warning", reason=missing.message),)

    return checks


def _code_checks(
    family: ModelFamily, stores: Stores, graph: ProjectGraph | None, release: Release
) -> tuple[GateCheck, ...]:
    if graph is None:
        return (GateCheck(name="mill.py", reason="mill.py was not loaded"),)
    declared = graph.mill.models.get(release.model)
    if declared is None:
        return (GateCheck(name="mill.py", reason="mill.py does not declare the model"),)
    if declared.family != release.family:
        reason = f"it is of the family {release.family}, and mill.py declares one of {declared.family}"
        return (GateCheck(name="mill.py", result="warning", reason=reason),)
    try:
        return family.check_code(stores, graph, release)
    except TidemillError as error:
        return (GateCheck(name="mill.py", reason=error.message),)
