"""Going live: promotion and rollback of a release, for commands, refreshes, `tidemill auto` and the demo alike.

Each takes the model's lease, runs the gate, and leaves one ledger entry with the verdict and the account that acted.
"""

from __future__ import annotations

from contextlib import nullcontext

from tidemill.core.errors import TidemillError
from tidemill.core.identity.account import Account
from tidemill.core.identity.refs import parse_ref
from tidemill.core.lease import live_lease, wait_for_lease
from tidemill.core.ports import Lease
from tidemill.core.records.gate import GateCheck
from tidemill.core.records.release import Release
from tidemill.loop.examples.datasets import changed_code
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.loop.project.stores import Stores
from tidemill.loop.release.settings_match import declaration_difference, trained_release
from tidemill.release import Promotion

_NOT_LOADED = (GateCheck(name="mill.py", reason="mill.py was not loaded"),)


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
        code = _code_checks(stores, graph, release)
        stores.releases.promote(release.name, held, account=account, code=code)
        return _live(stores, model)


def roll_back(stores: Stores, model: str) -> Promotion:
    """Make the previous champion of `model` live again. It does not wait for mill.py, which may be broken.

    Raises `NoSuchRelease` without a previous champion, `LeaseTaken`, and the error of the check that refuses it.
    """
    with wait_for_lease(stores.leases, live_lease(model)) as lease:
        stores.releases.rollback(model, lease, code=_NOT_LOADED)
        return _live(stores, model)


def _live(stores: Stores, model: str) -> Promotion:
    found = stores.releases.last_promotion(model)
    assert found is not None
    return found


def _code_checks(stores: Stores, graph: ProjectGraph | None, release: Release) -> tuple[GateCheck, ...]:
    """Whether the release is what mill.py declares, and its features are computed by the code of its training."""
    if graph is None:
        return _NOT_LOADED
    name = "mill.py"
    try:
        if release.model in graph.mill.recommenders:
            model = graph.mill.recommenders[release.model]
            found = declaration_difference(graph, model, release, trained_release(stores, release))
            return (_check(name, found[0] if found else "", "settings and rules are those that it declares"),)
        asking = graph.askings.get(release.model)
        if asking is None:
            return (GateCheck(name=name, reason="mill.py does not declare the model"),)
        return (
            _check(name, _other_inputs(asking, release), "inputs and target are those that it declares"),
            _feature_code(stores, graph, release),
        )
    except TidemillError as error:
        return (GateCheck(name=name, reason=error.message),)


def _feature_code(stores: Stores, graph: ProjectGraph, release: Release) -> GateCheck:
    changed = changed_code(stores, graph, release)
    says = f"the code of {', '.join(changed)} has changed since it was trained, and is already served"
    return _check("feature code", says if changed else "", "no view's code has changed since it was trained")


def _other_inputs(asking: SignatureSpec, release: Release) -> str:
    """In which inputs a release differs from mill.py, empty if in none."""
    assert release.signature is not None
    if release.signature.target != asking.model.target:
        return f"its target is {release.signature.target}, and mill.py declares {asking.model.target}"
    has = {(field.name, field.kind) for field in release.signature.inputs}
    declared = {(field.name, field.kind) for field in asking.inputs}
    names = sorted({name for name, _ in has ^ declared})
    return f"mill.py declares other inputs: {', '.join(names)}" if names else ""


def _check(name: str, warning: str, passed: str) -> GateCheck:
    return GateCheck(name=name, result="warning" if warning else "passed", reason=warning or passed)
