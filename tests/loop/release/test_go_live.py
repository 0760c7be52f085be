"""Going live: each way to it passes one gate, and leaves the same kind of ledger entry."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from conftest_loop import FIRST, Project, daily, new_project
from tabular_projects import change, churn_project

import tidemill
from tidemill.cli.main import cli
from tidemill.core.clock import SystemClock
from tidemill.core.errors import BundleCorrupt
from tidemill.core.identity.account import Account
from tidemill.core.record_format import decode_record
from tidemill.core.records.gate import CheckResult, GateCheck, GateVerdict
from tidemill.core.settings import load
from tidemill.loop.auto.auto_from_file import auto_from_file
from tidemill.loop.auto.auto_project import AutoRequest
from tidemill.loop.auto.infer_schema import infer_schema
from tidemill.loop.demo.demo import Demo
from tidemill.loop.demo.demo_worlds import SimulatedShop
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.release.go_live import go_live, roll_back
from tidemill.loop.training.train import train
from tidemill.release import read_deployment
from tidemill.serving import flush_spool, switch

DAY = timedelta(days=1)
LAST = FIRST + 9 * DAY
USER = f"user-{os.getuid()}"
#: The checks of every release, and those of a family.
COMMON = {"bundle", "model card", "evaluation", "baseline", "evaluation warnings", "champion", "mill.py"}
RECOMMENDER, TABULAR = COMMON | {"index recall"}, COMMON | {"signature", "golden rows", "feature code"}


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """Ten days in, and two releases of one bundle, none of them live."""
    project = new_project(tmp_path)
    change(project.path, "learn=tm.cooccurrence()", 'learn=tm.cooccurrence(factors=0),\n    refresh="1 day"')
    project.write("reviews-1.csv", daily(10))
    project.run(LAST)
    train(*project.open(), "for_you")
    change(project.path, "tm.trending(days=7)", "tm.trending(days=14)")
    train(*project.open(), "for_you", rules_only=True)
    return project


def stores_of(project: Project) -> Stores:
    """The stores alone, of a mill.py whose graph may be broken."""
    return open_stores(project.path, load(project.path, environ={}), project.clock)


def commanded(project: Project, *words: str) -> str:
    done = CliRunner().invoke(cli, [*words, "--project", str(project.path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def by_promote(shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    commanded(shop, "promote", "for_you@2")
    return shop.open()[0]


def by_rollback(shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    for words in (("promote", "for_you@1"), ("promote", "for_you@2"), ("rollback", "for_you")):
        commanded(shop, *words)
    return shop.open()[0]


def by_refresh(shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    commanded(shop, "promote", "for_you@2")
    shop.write("reviews-2.csv", [(user, item, stars, LAST + DAY) for user, item, stars, _ in daily(1)])
    commanded(shop, "run", "--until", str(LAST + DAY))
    return shop.open()[0]


def by_auto(shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    pytest.importorskip("lightgbm")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    draw = random.Random(1)
    rows = [
        f"{amount:.3f},{'yes' if draw.random() < amount else 'no'}" for amount in (draw.random() for _ in range(300))
    ]
    (tmp_path / "m.csv").write_text("\n".join(["amount,left", *rows, ""]))
    request = AutoRequest(
        name="m", file=infer_schema(tmp_path / "m.csv"), target="left", minutes=0.3, helps="All.", could_harm="No."
    )
    keys = {"keys": str(tmp_path / "auto-keys")}
    return auto_from_file(tmp_path / "made", request, clock=SystemClock(), overrides=keys).stores


def by_demo(shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """The demo's promotions and its rollback, without its server."""
    server = SimpleNamespace(wait_ready=lambda: None, url="")
    monkeypatch.setattr("tidemill.loop.demo.demo.start", lambda plan: server)
    monkeypatch.setattr("tidemill.loop.demo.demo.wait_live", lambda *_: None)
    world = SimulatedShop(history_days=20, lived=2)
    sources = "".join(f'{name} = "{url}"\n' for name, url in world.sources.items())
    settings = f'[laptop]\nkeys = "{tmp_path / "demo-keys"}"\nsearch = "exact"\n[laptop.sources]\n{sources}'
    project = new_project(tmp_path / "demo").path
    (project / "tidemill.toml").write_text(settings)
    (project / "data" / "items.jsonl").unlink()
    demo = Demo(project, world, lambda _: None, console=None, ports=(0, 0))
    demo._open_shop()
    demo._live_through([], lambda *_: None)
    demo._serve(demo._learn(lambda *_: None))
    change(project, "tm.trending(days=7)", "tm.trending(days=14)")
    demo.graph = Project(project, shop.clock).open()[1]
    demo._replace_and_roll_back(lambda *_: None)
    return demo.stores


Way = Callable[[Project, Path, pytest.MonkeyPatch], Stores]
WAYS: list[tuple[Way, str, str, str, set[str]]] = [
    (by_promote, "", "promote", "for_you@2", RECOMMENDER),
    (by_rollback, "", "rollback", "for_you@1", RECOMMENDER),
    (by_refresh, "refresh", "promote", "for_you@3", RECOMMENDER),
    (by_auto, "auto", "promote", "m@1", TABULAR),
    (by_demo, "demo", "promote", "for_you@2", RECOMMENDER),
]


@pytest.mark.parametrize(("way", "activity", "why", "release", "names"), WAYS, ids=[way.__name__ for way, *_ in WAYS])
def test_each_way_leaves_the_same_kind_of_entry(
    shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    way: Way, activity: str, why: str, release: str, names: set[str],
) -> None:  # fmt: skip
    stores, model = way(shop, tmp_path, monkeypatch), release.partition("@")[0]
    lines = stores.ledger.find("promote", about=f"model:{model}")
    for line in lines:
        assert set(line.details) == {"from", "why", "deployment", "verdict"}
        verdict = decode_record(line.details["verdict"], GateVerdict)
        assert {check.name for check in verdict.checks} == names and verdict.approvals == ()
        assert all(check.reason for check in verdict.checks) and not verdict.of("failed")
        assert line.account.name == USER
    line = lines[-1]
    assert line.account == Account(name=USER, activity=activity)
    assert (line.details["why"], line.refs_out) == (why, (f"release:{release}",))
    live = read_deployment(stores.serving_root, model, stores.keys.public)
    assert live is not None and [arm.release.name for arm in live.arms] == [release]
    assert (live.id, live.entry) == (line.details["deployment"], line.seq)
    last = stores.releases.last_promotion(model)
    assert last is not None and (last.release, last.entry, last.account) == (release, line.seq, line.account)
    assert stores.ledger.verify() == []


def test_nothing_else_changes_what_is_live() -> None:
    """The gate, the ledger entry and the deployment's file have one place each."""
    package = Path(tidemill.__file__).parent
    found: dict[str, list[str]] = {
        r"releases\.(?:promote|rollback)\(": [],
        r"\bwrite_deployment\(": [],
        r"\bdeploy\(": [],
    }
    for file in sorted(package.rglob("*.py")):
        for pattern, places in found.items():
            if re.search(pattern, file.read_text("utf-8")):
                places.append(file.relative_to(package).as_posix())
    assert list(found.values()) == [
        ["loop/release/go_live.py"],
        ["release/live_deployment.py", "release/release_store.py"],
        ["core/records/deployment.py", "release/release_store.py"],
    ]


# ---- a gate that refuses, and one that warns


def check_of(stores: Stores, model: str, name: str) -> GateCheck:
    last = stores.releases.last_promotion(model)
    assert last is not None and last.verdict is not None
    (check,) = [check for check in last.verdict.checks if check.name == name]
    return check


@pytest.mark.parametrize("way", ["promote", "roll back"])
def test_a_gate_that_refuses_leaves_the_old_deployment_live(shop: Project, way: str) -> None:
    stores, graph = shop.open()
    go_live(stores, graph, "for_you@1")
    if way == "roll back":
        go_live(stores, graph, "for_you@2")
    path = stores.serving_root / "for_you" / "live.json"
    before, head = path.read_bytes(), stores.ledger.head()
    (stores.releases.bundle(stores.releases.get("for_you@1").bundle) / "popularity.npy").write_bytes(b"")
    with pytest.raises(BundleCorrupt, match=r"popularity\.npy has 0 bytes"):
        roll_back(stores, "for_you") if way == "roll back" else go_live(stores, graph, "for_you@2")
    assert (path.read_bytes(), stores.ledger.head()) == (before, head)
    with stores.leases.take("live:for_you"):
        pass  # the refusal has released it


def test_a_release_that_mill_py_no_longer_declares_goes_live_with_a_warning(shop: Project) -> None:
    commanded(shop, "promote", "for_you@2")
    assert check_of(shop.open()[0], "for_you", "mill.py").result == "passed"
    said = commanded(shop, "promote", "for_you@1")
    check = check_of(shop.open()[0], "for_you", "mill.py")
    assert (check.result, check.reason) == ("warning", "the rules of for_you@1 differ from mill.py")
    assert f"Warning, mill.py: {check.reason}." in said and f"Promoted by {USER}; " in said
    assert check.reason in commanded(shop, "status")


def test_a_project_file_that_is_broken_does_not_keep_a_release_from_going_live(shop: Project) -> None:
    change(shop.path, "n_ratings=nw.len()", "n_ratings=nw.nothing()")
    assert "mill.py is not checked: " in commanded(shop, "promote", "for_you@2")
    last = stores_of(shop).releases.last_promotion("for_you")
    assert last is not None and last.verdict is not None and last.release == "for_you@2"
    assert last.verdict.checks[-1] == GateCheck(name="mill.py", reason="mill.py was not loaded")


TENURE = '''
@mill.features(entity="customerID", window="400 days", every="1 day")
def seen(customers):
    """How often a customer was seen."""
    return customers.group_by("customerID").agg(n_seen=nw.len())


churn = mill.model('''


def test_features_whose_code_has_changed_are_told_to_who_promotes(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    project = churn_project(tmp_path, 120)
    change(project.path, "churn = mill.model(", TENURE)
    change(project.path, "import numpy as np", "import narwhals as nw\nimport numpy as np")
    change(project.path, "features=[billing]", "features=[billing, seen]")
    project.run(FIRST.replace(year=2026, month=10, day=31), backfill=True)
    stores, graph = project.open()
    first = train(stores, graph, "churn").release.name
    change(project.path, "n_seen=nw.len()", "n_seen=nw.len() * 2")
    stores, graph = project.open()
    go_live(stores, graph, first)
    check = check_of(stores, "churn", "feature code")
    assert (check.result, check.reason[:24]) == ("warning", "the code of seen has cha")
    results: dict[str, CheckResult] = {name: check_of(stores, "churn", name).result for name in TABULAR}
    assert {name: results[name] for name in ("signature", "golden rows", "mill.py")} == {
        "signature": "passed", "golden rows": "passed", "mill.py": "passed",
    }  # fmt: skip


# ---- other acts of an account


def test_the_switch_names_its_account_also_if_a_process_writes_the_entry(shop: Project) -> None:
    stores, graph = shop.open()
    go_live(stores, graph, "for_you@2")
    off, root = Account(name="local").doing("test"), stores.serving_root
    switch(root, "for_you", off=True, account=off, why="", clock=stores.clock, keys=stores.keys, ledger=None)
    stores.ledger.account = Account(name="server", kind="process")
    assert flush_spool(root, stores.ledger) == 1
    line = stores.ledger.last("off")
    assert line is not None and line.account == off
