from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.backends.file_leases import FileLeases
from tidemill.core.clock import to_micros
from tidemill.core.errors import (
    BundleCorrupt,
    BundleRefused,
    CardIncomplete,
    FormatTooNew,
    LeaseLost,
    NoSuchRelease,
    SignatureInvalid,
    UsageError,
)
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.signed_record import _message, decode_signed
from tidemill.core.record_format import decode_record
from tidemill.core.records.deployment import Arm, Deployment, deploy
from tidemill.core.records.gate import GateVerdict
from tidemill.core.records.release import RuleSet
from tidemill.release import Promotion, model_folder, module_sources, open_arm, read_deployment
from tidemill.release.release_history import champion_stack


def test_a_release_pins_what_it_is_made_of(shelf: Any) -> None:
    made = shelf.create(1, facts={"facts": ("in_stock",)}, code="c" * 64, commit="abc", environment="e" * 64
    )  # fmt: skip
    assert (made.name, made.number, made.created_at) == ("for_you@1", 1, to_micros(shelf.clock.now()))
    assert made.data == {"ratings": 17, "items": 4}
    assert shelf.releases.get("for_you@1") == shelf.releases.get("release:for_you@1") == made
    line = shelf.ledger.last("release", "model:for_you")
    assert line is not None
    assert line.refs_in == (f"bundle:for_you@{made.bundle}", "table:items@4", "table:ratings@17")
    assert line.refs_out == ("release:for_you@1",)
    assert (shelf.releases.bundle(made.bundle) / "manifest.json").is_file()
    assert shelf.live() is None


@pytest.mark.parametrize(
    ("helps", "could_harm", "says"),
    [("", "x", "who is served"), ("x", "  ", "who could be harmed"), ("", "", "who is served or who could be harmed")],
)
def test_no_release_without_an_answer_to_who_is_served_and_harmed(
    shelf: Any, helps: str, could_harm: str, says: str
) -> None:
    with pytest.raises(CardIncomplete, match=says):
        shelf.create(1, card=shelf.card(helps, could_harm))
    assert shelf.ledger.find("release") == []
    assert (shelf.root / "made-1" / "vectors.npy").is_file()  # nothing was moved away


def test_new_rules_on_the_same_bundle_are_a_new_release(shelf: Any) -> None:
    first = shelf.create(1)
    second = shelf.create(first.bundle, shelf.MORE_RULES)
    assert (second.number, second.bundle) == (2, first.bundle)
    assert second.rules != first.rules


def test_asking_again_for_the_same_gives_the_same_release(shelf: Any) -> None:
    first = shelf.create(1)
    shelf.create(first.bundle, shelf.MORE_RULES)
    assert shelf.reopened().create("for_you", first.bundle, shelf.RULES, shelf.card()) == first
    assert len(shelf.ledger.find("release")) == 2


def test_models_are_numbered_apart(shelf: Any) -> None:
    first = shelf.create(1)
    other = shelf.create(first.bundle, card=shelf.card(model="similar"))
    assert other.name == "similar@1"
    assert shelf.releases.models() == ["for_you", "similar"]
    assert [release.name for release in shelf.releases.all("similar")] == ["similar@1"]


def test_a_bundle_that_is_not_kept_or_corrupt_makes_no_release(shelf: Any) -> None:
    first = shelf.create(1)
    with pytest.raises(BundleCorrupt):
        shelf.create("0" * 64)
    shelf.damage(first.bundle)
    with pytest.raises(BundleCorrupt, match=r"vectors\.npy"):
        shelf.create(first.bundle, shelf.MORE_RULES)
    assert len(shelf.releases.all("for_you")) == 1


def test_the_users_own_rules_are_sealed_with_the_release(shelf: Any) -> None:
    source = b"def cheap(candidates):\n    return candidates['price'] < 9\n"
    made = shelf.create(1, modules={"rules/cheap.py": source})
    shelf.releases.promote(made.name)
    live = read_deployment(shelf.serving, "for_you", shelf.ledger.keys.public)
    assert live is not None
    pointer = open_arm(live, live.champion, shelf.blobs)
    assert module_sources(pointer.release, pointer.modules) == {"rules/cheap.py": source}
    changed = shelf.create(made.bundle, modules={"rules/cheap.py": source + b"# now\n"})
    assert (changed.number, changed.bundle) == (2, made.bundle)
    assert changed.rule_modules != made.rule_modules
    folder = shelf.releases.modules(made)
    assert folder is not None
    (folder / "rules" / "cheap.py").write_bytes(b"import os\n" + source)
    with pytest.raises(BundleCorrupt, match=r"rules/cheap\.py"):
        shelf.releases.verify(made)
    shelf.releases.verify(changed)


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "rules/mine.json", "manifest.json", "rules\\x.py"])
def test_rule_modules_stay_in_their_folder(shelf: Any, name: str) -> None:
    with pytest.raises(BundleRefused):
        shelf.create(1, modules={name: b"x = 1\n"})
    assert shelf.ledger.find("release") == []


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("for_you@9", r"did you mean `for_you@\d`"),
        ("for_yuo@1", "did you mean `for_you`"),
        ("for_you", "no release"),
        ("for_you@champion", "no release of for_you has been promoted"),
        ("for_you@../x", "not a ref"),
        ("table:for_you@1", "is required"),
    ],
)
def test_a_release_that_does_not_exist_is_named_with_the_nearest(
    shelf: Any, three: Callable[[], list[str]], ref: str, says: str
) -> None:
    three()
    with pytest.raises((NoSuchRelease, UsageError), match=says):
        shelf.releases.get(ref)


def test_promotion_is_one_ledger_line_and_the_pointer_follows(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    shelf.releases.promote("for_you@1")
    shelf.releases.promote("for_you@3")
    lines = shelf.ledger.find("promote", about="model:for_you")
    ids = [deploy(Arm(release=shelf.releases.get(name))).id for name in ("for_you@1", "for_you@3")]
    verdicts = [decode_record(line.details.pop("verdict"), GateVerdict) for line in lines]
    assert [(line.refs_out, line.details) for line in lines] == [
        (("release:for_you@1",), {"from": "", "why": "promote", "deployment": ids[0]}),
        (("release:for_you@3",), {"from": "for_you@1", "why": "promote", "deployment": ids[1]}),
    ]
    assert [change.verdict for change in shelf.releases.history("for_you")] == verdicts
    assert shelf.live() == "for_you@3"
    assert (
        shelf.releases.champion("for_you") == shelf.releases.get("for_you@champion") == shelf.releases.get("for_you@3")
    )
    live = read_deployment(shelf.serving, "for_you", shelf.ledger.keys.public)
    assert live is not None and live.entry == lines[-1].seq
    assert Path(open_arm(live, live.champion, shelf.blobs).bundle, "vectors.npy").is_file()


def test_promoting_the_champion_again_writes_nothing(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    shelf.releases.promote("for_you@2")
    before = (shelf.ledger.head(), (shelf.serving / "for_you" / "live.json").stat().st_ino)
    shelf.releases.promote("for_you@2")
    assert (shelf.ledger.head(), (shelf.serving / "for_you" / "live.json").stat().st_ino) == before


def test_rollback_goes_back_one_by_one_and_promotion_forward_again(shelf: Any, three: Callable[[], list[str]]) -> None:
    for name in three():
        shelf.releases.promote(name)
    assert shelf.releases.rollback("for_you").name == "for_you@2"
    assert shelf.releases.rollback("for_you").name == "for_you@1"
    with pytest.raises(NoSuchRelease, match="no previous champion: for_you@1 is the first one"):
        shelf.releases.rollback("for_you")
    assert shelf.releases.promote("for_you@3").name == "for_you@3"
    assert shelf.releases.rollback("for_you").name == "for_you@1"
    assert shelf.live() == "for_you@1"
    assert [change.why for change in shelf.releases.history("for_you")] == ["promote"] * 3 + ["rollback"] * 2 + [
        "promote",
        "rollback",
    ]


def test_nothing_to_roll_back(shelf: Any) -> None:
    with pytest.raises(NoSuchRelease, match="no champion to roll back"):
        shelf.releases.rollback("for_you")


steps = st.lists(st.one_of(st.integers(1, 3), st.just("rollback")), max_size=12)


@settings(max_examples=25)
@given(steps=steps)
def test_pointer_ledger_and_a_plain_stack_agree_after_any_steps(
    tmp_path_factory: pytest.TempPathFactory, shelf: Any, steps: list[int | str]
) -> None:
    shelf = type(shelf)(tmp_path_factory.mktemp("shelf"))
    for i in (1, 2, 3):
        shelf.create(i)
    model: list[str] = []
    for step in steps:
        if step == "rollback":
            if len(model) < 2:
                with pytest.raises(NoSuchRelease):
                    shelf.releases.rollback("for_you")
                continue
            model.pop()
            shelf.releases.rollback("for_you")
        else:
            if not model or model[-1] != f"for_you@{step}":
                model.append(f"for_you@{step}")
            shelf.releases.promote(f"for_you@{step}")
        champion = shelf.releases.champion("for_you")
        assert champion is not None
        assert champion.name == shelf.live() == model[-1]
    assert champion_stack(shelf.releases.history("for_you")) == model
    assert shelf.ledger.verify() == []


def test_the_stack_law_catches_a_rollback_that_toggles() -> None:
    """The wrong variant: roll back to whatever was live before the last change; twice, and one is where one began."""
    history = [
        Promotion(release=f"m@{to}", before=f"m@{before}" if before else "", why=why, at=0, account=Account(name="a"))  # type: ignore[arg-type]
        for to, before, why in [(1, 0, "promote"), (2, 1, "promote"), (3, 2, "promote"), (2, 3, "rollback")]
    ]
    toggled = history[-1].before
    assert toggled == "m@3"
    assert champion_stack(history)[-2] == "m@1"


def test_a_corrupt_bundle_is_not_promoted_and_the_last_good_one_stays(
    shelf: Any, three: Callable[[], list[str]]
) -> None:
    three()
    shelf.releases.promote("for_you@1")
    shelf.damage(shelf.releases.get("for_you@2").bundle)
    head = shelf.ledger.head()
    with pytest.raises(BundleCorrupt, match=r"vectors\.npy"):
        shelf.releases.promote("for_you@2")
    assert (shelf.live(), shelf.ledger.head()) == ("for_you@1", head)


def test_a_stale_lease_promotes_nothing(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    leases = FileLeases(shelf.root, shelf.ledger._lines)
    with leases.take("run") as old:
        pass
    with leases.take("run") as lease:
        with pytest.raises(LeaseLost):
            shelf.releases.promote("for_you@1", lease=old)
        assert shelf.live() is None
        shelf.releases.promote("for_you@1", lease=lease)
    assert shelf.live() == "for_you@1"


def test_a_training_and_a_refresh_never_share_a_number(shelf: Any) -> None:
    def make(first: int) -> None:
        other = shelf.reopened()
        for seed in range(first, first + 6):
            other.create("for_you", shelf.folder(seed), RuleSet(retrieve=()), shelf.card())

    threads = [threading.Thread(target=make, args=(first,)) for first in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [release.number for release in shelf.releases.all("for_you")] == list(range(1, 19))


CHILD = """
import sys
import threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Shelf
from tidemill.core.storage.failpoint import arm
shelf = Shelf(Path(sys.argv[2]))
arm(sys.argv[3])
made = shelf.create(2, shelf.MORE_RULES)
shelf.releases.promote(made.name)
"""


@pytest.mark.parametrize(
    ("point", "releases", "champion"),
    [
        ("bundle.written", 1, 1),
        ("release.written", 1, 1),
        ("release.ledger", 2, 1),
        ("promote.ledger", 2, 2),
        ("promote.pointer", 2, 2),
    ],
)
def test_a_kill_between_any_two_steps_leaves_whole_things_and_a_rerun_completes(
    shelf: Any, point: str, releases: int, champion: int
) -> None:
    first = shelf.create(1)
    shelf.releases.promote(first.name)
    root = Path(__file__).resolve().parent
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(root), str(shelf.root), point], capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -9, killed.stderr.decode()
    after = shelf.reopened()
    found = after.champion("for_you")
    assert (len(after.all("for_you")), found and found.number) == (releases, champion)
    after.recover()
    assert shelf.live() == f"for_you@{champion}"
    live, last = read_deployment(shelf.serving, "for_you", shelf.ledger.keys.public), after.last_promotion("for_you")
    assert live is not None and last is not None and last.verdict is not None and live.entry == last.entry
    assert after.recover() == []
    source = shelf.folder(2)  # the killed run had moved its own away
    made = after.create("for_you", source, shelf.MORE_RULES, shelf.card())
    after.promote(made.name)
    assert (made.number, shelf.live(), len(after.all("for_you"))) == (2, "for_you@2", 2)
    assert len(after.history("for_you")) == 2
    assert shelf.ledger.verify() == []


DROPPER = """
import sys
import threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Shelf
from tidemill.core.storage.failpoint import arm
shelf = Shelf(Path(sys.argv[2]))
arm("drop.ledger")
shelf.releases.drop("for_you", [shelf.releases.get("for_you@1").bundle], "old")
"""


def test_bundles_are_dropped_under_one_line_whenever_the_process_dies(shelf: Any) -> None:
    first, second = shelf.create(1), shelf.create(2)
    root = Path(__file__).resolve().parent
    killed = subprocess.run(
        [sys.executable, "-c", DROPPER, str(root), str(shelf.root)], capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -9, killed.stderr.decode()
    after = shelf.reopened()
    for _ in range(2):
        after.drop("for_you", [first.bundle], "old")
    (line,) = shelf.ledger.find("drop")
    assert list(line.refs_in) == [f"bundle:for_you@{first.bundle}"]
    with pytest.raises(BundleCorrupt, match="is missing from the blobs"):
        after.promote(first.name)
    assert after.promote(second.name).number == 2
    assert [release.number for release in after.all("for_you")] == [1, 2]
    assert shelf.ledger.verify() == []


def test_releases_made_by_another_process_are_seen(shelf: Any) -> None:
    other = shelf.reopened()
    shelf.create(1)
    assert [release.number for release in other.all("for_you")] == [1]
    shelf.create(2)
    assert [release.number for release in other.all("for_you")] == [1, 2]
    assert other.get("for_you@2") == shelf.releases.get("for_you@2")


def test_recovery_mends_a_lost_a_damaged_and_a_foreign_pointer(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    shelf.releases.promote("for_you@2")
    path = shelf.serving / "for_you" / "live.json"
    good = path.read_bytes()
    for bad in (None, b"{", good.replace(b'"number":2', b'"number":1'), b""):
        if bad is None:
            path.unlink()
        else:
            path.write_bytes(bad)
        assert shelf.releases.recover() == ["for_you: the pointer was set to for_you@2, the champion in the ledger"]
        assert path.read_bytes() == good
    assert shelf.releases.recover() == []


def test_recovery_leaves_a_champion_whose_bundle_is_cut_short_and_says_so(
    shelf: Any, three: Callable[[], list[str]]
) -> None:
    three()
    shelf.releases.promote("for_you@1")
    pointer = (shelf.serving / "for_you" / "live.json").read_bytes()
    shelf.releases.promote("for_you@2")
    (shelf.serving / "for_you" / "live.json").write_bytes(pointer)
    os.truncate(shelf.releases.bundle(shelf.releases.get("for_you@2").bundle) / "vectors.npy", 9)
    (said,) = shelf.releases.recover()
    assert "for_you@2" in said
    assert "vectors.npy has 9 bytes" in said
    assert shelf.live() == "for_you@1"


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden", "a\0b", "/etc", "a..b"])
def test_a_models_name_never_leaves_the_serving_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoSuchRelease):
        model_folder(tmp_path, name)


def test_a_newer_pointer_is_refused(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    shelf.releases.promote("for_you@1")
    path = shelf.serving / "for_you" / "live.json"
    path.write_bytes(path.read_bytes().replace(b'"format":2', b'"format":99'))
    with pytest.raises(FormatTooNew):
        read_deployment(shelf.serving, "for_you", shelf.ledger.keys.public)


def test_recovery_names_a_champion_whose_bundle_is_gone(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    made = shelf.releases.promote("for_you@1")
    shutil.rmtree(shelf.releases.bundle(made.bundle))
    (said,) = shelf.releases.recover()
    assert "for_you@1 was left unchanged; bundle:" in said and "is missing from the blobs" in said
    with pytest.raises(BundleCorrupt, match=r"bundle:.* is missing from the blobs"):
        shelf.releases.verify(made)


def test_a_pointer_of_format_1_is_written_again(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    shelf.releases.promote("for_you@2")
    path = shelf.serving / "for_you" / "live.json"
    now, public = path.read_bytes(), shelf.ledger.keys.public
    old = {"release": shelf.releases.champion("for_you"), "bundle": "/where/the/project/was", "format": 1}
    path.write_bytes(msgspec.json.encode(old))
    with pytest.raises(SignatureInvalid):
        read_deployment(shelf.serving, "for_you", public)
    assert shelf.releases.recover() == ["for_you: the pointer was set to for_you@2, the champion in the ledger"]
    assert path.read_bytes() == now
    live = read_deployment(shelf.serving, "for_you", public)
    assert live is not None
    assert open_arm(live, live.champion, shelf.blobs).bundle == str(shelf.releases.bundle(live.champion.release.bundle))
    shelf.blobs.remove(live.champion.bundle)
    with pytest.raises(BundleCorrupt, match="is missing from the blobs"):
        open_arm(live, live.champion, shelf.blobs)


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    fields = msgspec.json.decode(path.read_bytes())
    change(fields)
    path.write_bytes(msgspec.json.encode(fields))


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["arms"][0]["release"]["card"].update(helps="Everybody, proven."),
        lambda fields: fields["arms"][0]["release"].update(bundle="0" * 64),
        lambda fields: fields["arms"][0].update(share=0.5),
        lambda fields: fields.update(entry=1),
        lambda fields: fields.update(more="a field of a newer version"),
        lambda fields: fields.pop("salt"),
        lambda fields: fields.update(signature=""),
        lambda fields: fields.update(signature=7),
        lambda fields: fields.update(signature=fields["signature"][::-1]),
    ],
)  # fmt: skip
def test_an_edited_pointer_is_not_followed_and_written_again(
    shelf: Any, three: Callable[[], list[str]], change: Callable[[dict[str, Any]], None]
) -> None:
    three()
    shelf.releases.promote("for_you@2")
    path = shelf.serving / "for_you" / "live.json"
    before = path.read_bytes()
    edited(path, change)
    with pytest.raises((SignatureInvalid, BundleCorrupt)):
        read_deployment(shelf.serving, "for_you", shelf.ledger.keys.public)
    (problem,) = shelf.releases.pointer_problems()
    assert "the pointer is not that of for_you@2" in problem
    assert shelf.releases.recover() != [] and path.read_bytes() == before


def test_a_pointer_of_another_model_or_project_is_not_followed(
    shelf: Any, three: Callable[[], list[str]], tmp_path: Path
) -> None:
    three()
    shelf.releases.promote("for_you@2")
    here, there = shelf.serving / "for_you" / "live.json", shelf.serving / "churn" / "live.json"
    there.parent.mkdir()
    there.write_bytes(here.read_bytes())
    with pytest.raises(SignatureInvalid):
        read_deployment(shelf.serving, "churn", shelf.ledger.keys.public)
    assert shelf.releases.pointer_problems() == ["churn: there is a pointer, but the ledger has no promotion"]
    stranger = Keys.open(tmp_path / "other", create=True)
    with pytest.raises(SignatureInvalid):
        read_deployment(shelf.serving, "for_you", stranger.public)


def test_a_field_of_a_newer_version_is_signed_too(shelf: Any, three: Callable[[], list[str]]) -> None:
    three()
    shelf.releases.promote("for_you@2")
    live = read_deployment(shelf.serving, "for_you", shelf.ledger.keys.public)
    assert live is not None
    fields = {**msgspec.to_builtins(live), "later": [1.5, {"b": 1, "a": 2}]}
    del fields["signature"]
    made = {**fields, "signature": shelf.ledger.keys.sign(_message(Deployment, fields, "for_you")).hex()}
    body = msgspec.json.encode(made)
    assert decode_signed(body, Deployment, shelf.ledger.keys.public, "for_you").entry == live.entry
    with pytest.raises(SignatureInvalid):
        decode_signed(body.replace(b"1.5", b"1.6"), Deployment, shelf.ledger.keys.public, "for_you")
