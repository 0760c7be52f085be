from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.backends.file_leases import FileLeases
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.canonical import canonical
from tidemill.core.clock import FixedClock, to_micros
from tidemill.core.errors import (
    FormatTooNew,
    KeyMissing,
    LeaseLost,
    LedgerCorrupt,
    LedgerForked,
    LedgerMoved,
    SubjectNamed,
)
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.surrogates import Surrogates
from tidemill.core.ledger.head_file import HeadFile
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerHead, chain_hash, decode_entry
from tidemill.core.ports import StoredEntry


def fill(ledger: Ledger, count: int = 5) -> None:
    for number in range(1, count + 1):
        ledger.append("publish", about="stream:reviews", refs_out=[f"table:reviews@{number}"], details={"n": number})


def test_a_line_says_who_did_what_when(ledger: Ledger, clock: FixedClock) -> None:
    line = ledger.append(
        "promote",
        about="model:for_you",
        refs_in=["release:for_you@3"],
        fingerprint="f1",
        details={"from": None, "n": [1]},
    )
    assert (line.seq, line.prev, line.actor, line.act, line.about) == (1, "", "ann", "promote", "model:for_you")
    assert (line.at, line.format) == (to_micros(clock.now()), 1)
    assert (line.refs_in, line.refs_out, line.fingerprint) == (("release:for_you@3",), (), "f1")
    assert line.details == {"from": None, "n": [1]}
    assert ledger.find() == [line]


def test_a_line_names_the_account_that_acted(ledger: Ledger, lines: SqliteLedger) -> None:
    asked = Account(name="local").doing("refresh")
    own, other = ledger.append("open"), ledger.append("promote", account=asked)
    assert (own.account, own.actor) == (Account(name="ann"), "ann")
    assert (other.account, other.actor) == (asked, "local")
    assert [line.account for line in ledger.find()] == [own.account, asked]
    assert [line.act for line in lines.lines(where={"actor": "local"})] == ["promote"]
    assert ledger.verify() == []


@pytest.mark.parametrize(
    ("actor", "kind"), [("local", "user"), ("user-1000", "user"), ("server", "process"), ("console", "process")]
)
def test_a_line_of_an_older_version_has_the_account_of_its_actor(ledger: Ledger, actor: str, kind: str) -> None:
    ledger.append("promote", account=Account(name=actor))
    stored = next(ledger._lines.lines())
    body = msgspec.json.decode(stored.body)
    del body["account"]
    raw = canonical(body)
    line = decode_entry(msgspec.structs.replace(stored, body=raw, hash=chain_hash("", raw)))
    assert (line.account, line.actor) == (Account(name=actor, kind=kind), actor)  # type: ignore[arg-type]


def test_an_account_that_differs_from_the_indexed_name_is_found(ledger: Ledger) -> None:
    ledger.append("promote")
    stored = next(ledger._lines.lines())
    raw = canonical(msgspec.json.decode(stored.body) | {"account": {"name": "eve"}})
    with pytest.raises(LedgerCorrupt, match="its account and its actor differ"):
        decode_entry(msgspec.structs.replace(stored, body=raw, hash=chain_hash("", raw)))


def test_each_line_names_the_hash_of_the_one_before(ledger: Ledger, lines: SqliteLedger) -> None:
    fill(ledger)
    found = ledger.find()
    assert [line.prev for line in found] == ["", *(line.hash for line in found[:-1])]
    for stored in lines.lines():
        prev = bytes.fromhex(msgspec.json.decode(stored.body)["prev"])
        assert stored.hash == hashlib.sha256(prev + stored.body).hexdigest()
        assert stored.body == canonical(msgspec.json.decode(stored.body))  # no second spelling of the same line


def test_lines_are_found_by_act_subject_and_fingerprint(ledger: Ledger) -> None:
    fill(ledger, 2)
    other = ledger.append("hold", about="stream:reviews", fingerprint="f")
    newest = ledger.append("publish", about="stream:items")
    assert [line.seq for line in ledger.find("publish")] == [1, 2, 4]
    assert [line.seq for line in ledger.find("publish", after=1)] == [2, 4]
    assert [line.seq for line in ledger.find(about="stream:reviews")] == [1, 2, 3]
    assert ledger.find(fingerprint="f") == [other]
    assert ledger.last("publish", "stream:items") == newest
    assert ledger.last("publish", "stream:reviews").seq == 2
    assert ledger.last("publish").seq == 4
    assert ledger.last() == newest
    assert ledger.last("erase") is None


def test_the_number_is_the_order_when_the_clock_goes_backwards(ledger: Ledger, clock: FixedClock) -> None:
    fill(ledger, 1)
    clock.set(clock.now() - timedelta(hours=1))
    assert ledger.append("publish").seq == 2
    assert ledger.last("publish").seq == 2
    assert ledger.verify() == []


@pytest.mark.parametrize("value", [1.5, {"a": [0.1]}, b"bytes", {1: "x"}, datetime(2018, 1, 1, tzinfo=UTC)])
def test_details_that_have_no_canonical_bytes_are_refused(ledger: Ledger, value: object) -> None:
    with pytest.raises(TypeError, match="details"):
        ledger.append("act", details={"value": value})
    assert ledger.find() == []


def test_no_line_names_a_subject(ledger: Ledger) -> None:
    made = Surrogates(bytes(32))
    person = made("user_id", "A2VNYWOPJ13AFP")
    for given_ in (
        {"about": f"subject:{person}"},
        {"refs_in": [person]},
        {"details": {"a": [{"b": f"x {person}."}]}},
        {"details": {person: 1}},
    ):
        with pytest.raises(SubjectNamed):
            ledger.append("erase", **given_)
    assert ledger.find() == []
    # What is no surrogate passes: hashes, long names, numbers.
    ledger.append("learn", details={"sha": "a2" * 32, "name": "recommendationsforeveryone", "id": "2" * 26 + "b"})
    caught = sum(_refused(ledger, surrogate) for surrogate in made.many("user_id", [f"A{n}" for n in range(2_000)]))
    assert caught >= 2_000 * 0.99


def _refused(ledger: Ledger, text: str) -> bool:
    from tidemill.core.ledger.ledger import _refuse_subjects

    try:
        _refuse_subjects("act", canonical({"details": text}))
    except SubjectNamed:
        return True
    return False


def test_a_line_needs_the_newest_lease(ledger: Ledger, lines: SqliteLedger, tmp_path: Path) -> None:
    leases = FileLeases(tmp_path, lines)
    with leases.take("run") as lease:
        ledger.append("publish", lease=lease)
    with leases.take("run") as newer, pytest.raises(LeaseLost):
        ledger.append("publish", lease=lease)
    assert ledger.append("publish", lease=newer).seq == 2


def test_an_empty_ledger_has_a_head_and_verifies(ledger: Ledger) -> None:
    assert ledger.head() == LedgerHead(0, "")
    assert ledger.verify([LedgerHead(0, "")]) == []


# What an attacker with the file does; each must be named with its line.


def attack(path: Path, *statements: str) -> None:
    """The statements without the triggers, which are there again afterwards."""
    connection = sqlite3.connect(path)
    triggers = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    connection.executescript("DROP TRIGGER no_update; DROP TRIGGER no_delete;")
    for statement in [*statements, *(sql for (sql,) in triggers)]:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DROP TRIGGER no_delete", "trigger `no_delete` on `lines` is missing"),
        ("DROP INDEX by_act", "index `by_act` on `lines` is missing"),
        ("CREATE TABLE more (a)", "table `more` on `more` is not part of it"),
        ("CREATE VIEW seen AS SELECT * FROM lines", "view `seen` on `seen` is not part of it"),
        (
            "CREATE TRIGGER again AFTER INSERT ON lines BEGIN SELECT 1; END",
            "trigger `again` on `lines` is not part of it",
        ),
    ],
)
def test_a_changed_schema_is_named(ledger: Ledger, tmp_path: Path, statement: str, says: str) -> None:
    fill(ledger)
    assert ledger.verify() == []
    attack(tmp_path / "ledger.sqlite")
    assert ledger.verify() == []
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.execute(statement)
    connection.close()
    assert ledger.verify() == [f"ledger.sqlite: {says}"]


def test_a_trigger_of_another_body_is_named(ledger: Ledger, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.executescript(
        "DROP TRIGGER no_delete; CREATE TRIGGER no_delete BEFORE DELETE ON lines BEGIN SELECT 1; END"
    )
    connection.close()
    assert ledger.verify() == ["ledger.sqlite: trigger `no_delete` on `lines` was changed"]


@pytest.mark.parametrize(
    "act",
    [
        "DELETE FROM lines WHERE seq = NEW.seq",
        "UPDATE lines SET at = 0 WHERE seq = NEW.seq",
        "INSERT INTO lines SELECT seq + 1, body, hash, head, at, actor, act, about, fingerprint FROM lines "
        "WHERE seq = NEW.seq",
    ],
)
def test_an_append_that_does_not_stay_is_no_success(ledger: Ledger, tmp_path: Path, act: str) -> None:
    fill(ledger, 2)
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.executescript(
        f"DROP TRIGGER no_delete; DROP TRIGGER no_update;CREATE TRIGGER eat AFTER INSERT ON lines BEGIN {act}; END"
    )
    connection.close()
    with pytest.raises(LedgerCorrupt, match="does not keep what is written to it"):
        ledger.append("promote")
    assert [line.seq for line in ledger.find()] == [1, 2]


# ---- heads outside


def witnessed(lines: SqliteLedger, keys: Keys, clock: FixedClock, file: Path) -> Ledger:
    head_file = HeadFile(file, keys.public)

    def known() -> list[LedgerHead]:
        found = head_file.read()
        return [found] if found else []

    return Ledger(lines, keys, clock, Account(name="ann"), head_file=head_file, known=known)


def test_every_append_leaves_its_head_in_the_file(
    lines: SqliteLedger, keys: Keys, clock: FixedClock, tmp_path: Path
) -> None:
    ledger = witnessed(lines, keys, clock, tmp_path / "ledger.head")
    for _ in range(12):
        ledger.append("publish")
        assert HeadFile(tmp_path / "ledger.head", keys.public).read() == ledger.head()
    assert (tmp_path / "ledger.head").stat().st_size == 256


def test_an_older_head_replaces_no_newer_one(
    lines: SqliteLedger, keys: Keys, clock: FixedClock, tmp_path: Path
) -> None:
    ledger = witnessed(lines, keys, clock, tmp_path / "ledger.head")
    ledger.append("publish")
    first, file = ledger.head(), HeadFile(tmp_path / "ledger.head", keys.public)
    ledger.append("publish")
    file.keep(first)
    assert file.read() == ledger.head()
    (tmp_path / "ledger.head").write_text(f"99:{'ab' * 32}:{'cd' * 64}")  # forged: it holds up nothing
    with pytest.raises(LedgerCorrupt, match="signature is not valid"):
        file.read()
    file.keep(ledger.head())
    assert file.read() == ledger.head()


@pytest.mark.parametrize("content", [b"", b"\0" * 256, b"\xff\xfe", b"7", b"7:", b"x:y:z"])
def test_a_damaged_head_file_is_named_and_written_again(
    lines: SqliteLedger, keys: Keys, clock: FixedClock, tmp_path: Path, content: bytes
) -> None:
    file = HeadFile(tmp_path / "ledger.head", keys.public)
    (tmp_path / "ledger.head").write_bytes(content)
    with pytest.raises(LedgerCorrupt, match=r"ledger\.head"):
        file.read()
    ledger = Ledger(lines, keys, clock, Account(name="ann"), head_file=file)
    ledger.append("publish")
    assert file.read() == ledger.head()


def test_nothing_is_appended_to_a_ledger_that_was_cut_or_is_an_older_copy(
    lines: SqliteLedger, keys: Keys, clock: FixedClock, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.head"
    fill(witnessed(lines, keys, clock, file), 5)
    attack(tmp_path / "ledger.sqlite", "DELETE FROM lines WHERE seq > 3")
    cut = witnessed(lines, keys, clock, file)
    with pytest.raises(LedgerForked, match="ends at entry 3 and lacks entry 5"):
        cut.append("publish")
    with pytest.raises(LedgerForked):
        cut.refuse_fork()
    assert len(cut.find()) == 3
    fork = Ledger(lines, keys, clock, Account(name="eve"))
    fill(fork, 4)  # longer than the history that is known
    with pytest.raises(LedgerForked, match="lacks entry 5"):
        witnessed(lines, keys, clock, file).append("publish")
    attack(tmp_path / "ledger.sqlite", "DELETE FROM lines")
    with pytest.raises(LedgerForked, match="ends at entry 0"):
        witnessed(lines, keys, clock, file).append("publish")


def test_a_head_that_others_have_written_meanwhile_is_no_fork(
    lines: SqliteLedger, keys: Keys, clock: FixedClock, tmp_path: Path
) -> None:
    one, other = (witnessed(lines, keys, clock, tmp_path / "ledger.head") for _ in range(2))
    one.append("publish")
    other.append("publish")
    one.append("publish")
    assert len(one.find()) == 3 and one.verify() == []


def test_an_edited_line_is_named(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    attack(
        tmp_path / "ledger.sqlite",
        "UPDATE lines SET body = CAST(replace(body, '\"n\":3', '\"n\":9') AS BLOB) WHERE seq = 3",
    )
    assert ledger.verify() == ["entry 3: its body or its hash was changed: they do not match"]
    with pytest.raises(LedgerCorrupt, match="entry 3"):
        ledger.find("publish")
    assert ledger.last("publish").seq == 5


def test_an_edited_line_with_its_hash_made_anew_breaks_chain_and_signature(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    body = SqliteLedger(tmp_path / "ledger.sqlite")._file.rows("SELECT body FROM lines WHERE seq = 3")[0][0]
    changed = body.replace(b'"n":3', b'"n":9')
    forged = chain_hash(msgspec.json.decode(changed)["prev"], changed)
    attack(
        tmp_path / "ledger.sqlite",
        f"UPDATE lines SET body = x'{changed.hex()}', hash = '{forged}' WHERE seq = 3",
    )
    assert ledger.verify() == [
        "entry 3: its head is not signed with this mill's key",
        "entry 4: does not contain the hash of the previous entry: the chain is broken here",
    ]


@pytest.mark.parametrize("column", ["at", "actor", "act", "about", "fingerprint"])
def test_an_edited_index_column_is_named(ledger: Ledger, tmp_path: Path, column: str) -> None:
    fill(ledger)
    attack(tmp_path / "ledger.sqlite", f"UPDATE lines SET {column} = 7 WHERE seq = 2")
    assert ledger.verify() == [f"entry 2: its index column `{column}` differs from its body"]


def test_a_line_taken_out_is_named(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    attack(tmp_path / "ledger.sqlite", "DELETE FROM lines WHERE seq = 3")
    problems = ledger.verify()
    assert problems[0] == "entry 4: follows entry 2: the entries between them are missing"
    assert any("chain is broken" in says for says in problems)


def test_lines_that_change_places_are_named(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    attack(
        tmp_path / "ledger.sqlite",
        "UPDATE lines SET seq = 99 WHERE seq = 2",
        "UPDATE lines SET seq = 2 WHERE seq = 3",
        "UPDATE lines SET seq = 3 WHERE seq = 99",
    )
    problems = ledger.verify()
    assert any(says.startswith("entry 2:") and "`seq`" in says for says in problems)
    assert any(says.startswith("entry 3:") and "chain is broken" in says for says in problems)


def test_a_dropped_tail_shows_only_by_heads_kept_elsewhere(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, 12)
    kept = ledger.head()
    attack(tmp_path / "ledger.sqlite", "DELETE FROM lines WHERE seq > 2")
    assert ledger.verify() == []  # the chain alone cannot know: this is why heads are kept elsewhere
    assert ledger.verify([kept]) == [
        "entry 12: an external copy of the head has it, but the ledger ends at entry 2: "
        "it was truncated, or an older copy was restored"
    ]


def test_an_older_copy_that_was_written_on_is_named(
    ledger: Ledger, keys: Keys, clock: FixedClock, tmp_path: Path
) -> None:
    lines = SqliteLedger(tmp_path / "a" / "ledger.sqlite")
    first = Ledger(lines, keys, clock, Account(name="ann"))
    fill(first, 2)
    lines.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = Ledger(SqliteLedger(tmp_path / "a" / "ledger.sqlite"), keys, clock, Account(name="ann"))
    fill(first, 3)
    older = Ledger(SqliteLedger(tmp_path / "b" / "ledger.sqlite"), keys, clock, Account(name="eve"))
    fill(older, 6)
    assert older.verify() == []
    assert older.verify([first.head()]) == [
        "entry 5: its hash differs from an external copy of the head: history was rewritten"
    ]


def test_a_forged_head_is_no_evidence(ledger: Ledger) -> None:
    fill(ledger)
    head = ledger.head()
    forged = LedgerHead(9, head.hash, head.signature)
    assert (
        ledger.verify([forged, LedgerHead(9, "00", "no hex")])
        == ["entry 9: an external copy of the head is not signed with this mill's key"] * 2
    )
    assert ledger.verify([LedgerHead(head.seq, head.hash)]) == []  # without a signature, the hash still has to fit
    assert len(ledger.verify([LedgerHead(head.seq, "00")])) == 1


def test_another_key_neither_appends_nor_verifies(
    ledger: Ledger, lines: SqliteLedger, clock: FixedClock, tmp_path: Path
) -> None:
    fill(ledger, 2)
    stranger = Ledger(lines, Keys.open(tmp_path / "others", create=True), clock, Account(name="eve"))
    with pytest.raises(KeyMissing, match="entry 2"):
        stranger.append("publish")
    assert len(ledger.find()) == 2
    assert [says.partition(":")[0] for says in stranger.verify()] == ["entry 1", "entry 2"]


def test_a_newer_format_is_refused(ledger: Ledger, lines: SqliteLedger) -> None:
    fill(ledger, 1)

    def newer(last: StoredEntry) -> StoredEntry:
        body = canonical({"format": 2, "prev": last.hash, "something": "new"})
        fields = {name: getattr(last, name) for name in last.__struct_fields__}
        return StoredEntry(**fields | {"seq": 2, "body": body, "hash": chain_hash(last.hash, body)})

    lines.append(newer)
    for look in (ledger.verify, ledger.find, ledger.last):
        with pytest.raises(FormatTooNew, match="format 2"):
            look()


def test_a_changed_format_number_is_damage_and_not_a_newer_version(ledger: Ledger, lines: SqliteLedger) -> None:
    fill(ledger, 3)
    first, *rest = lines.lines()
    fields = {name: getattr(first, name) for name in first.__struct_fields__}
    changed = StoredEntry(**fields | {"body": first.body.replace(b'"format":1', b'"format":3')})
    problems = Ledger(_Given([changed, *rest]), ledger.keys, ledger._clock, Account(name="ann")).verify()  # type: ignore[arg-type]
    assert "entry 1: its body or its hash was changed: they do not match" in problems


@settings(max_examples=60)
@given(data=st.data())
def test_no_byte_of_a_line_can_change_unseen(ledger: Ledger, lines: SqliteLedger, data: st.DataObject) -> None:
    """Every byte of every stored field counts; a variant of `verify` that trusts the stored hash misses some."""
    if ledger.head().seq == 0:
        fill(ledger, 3)
    stored = list(lines.lines())
    at = data.draw(st.integers(0, len(stored) - 1))
    field = data.draw(st.sampled_from(["body", "head", "hash", "act", "about", "actor"]))
    value = getattr(stored[at], field)
    raw = bytearray(value if isinstance(value, bytes) else value.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 127))
    changed = bytes(raw) if isinstance(value, bytes) else raw.decode("latin-1")
    fields = {name: getattr(stored[at], name) for name in stored[at].__struct_fields__}
    tampered = [*stored[:at], StoredEntry(**fields | {field: changed}), *stored[at + 1 :]]
    problems = Ledger(_Given(tampered), ledger.keys, ledger._clock, Account(name="ann")).verify()  # type: ignore[arg-type]
    assert any(says.startswith(f"entry {at + 1}:") for says in problems)
    if field == "body":
        assert _trusting(tampered) == []


def _trusting(lines: list[StoredEntry]) -> list[str]:
    """Wrong: compares the stored hashes with each other and never hashes the bytes."""
    return [] if all(len(line.hash) == 64 for line in lines) else ["broken"]


class _Given:
    def __init__(self, lines: list[StoredEntry]) -> None:
        self._lines = lines

    def lines(self, after: int = 0, **_: object) -> list[StoredEntry]:
        return self._lines[after:]

    def damage(self) -> list[str]:
        return []


def test_a_flipped_byte_of_the_file_is_found(
    ledger: Ledger, lines: SqliteLedger, keys: Keys, clock: FixedClock, tmp_path: Path
) -> None:
    fill(ledger, 40)
    lines.close()
    path = tmp_path / "ledger.sqlite"
    clean = path.read_bytes()
    position = clean.index(b'"n":23') + 4
    path.write_bytes(clean[:position] + b"9" + clean[position + 1 :])
    problems = Ledger(SqliteLedger(path), keys, clock, Account(name="ann")).verify()
    assert [says for says in problems if says.startswith("entry 23:")]
    column = clean.index(b"stream:reviews", clean.rindex(b'"seq":23'))  # the index column after the body
    path.write_bytes(clean[:column] + b"\xff" + clean[column + 1 :])  # no longer UTF-8
    problems = Ledger(SqliteLedger(path), keys, clock, Account(name="ann")).verify()
    assert "entry 23: its index column `about` differs from its body" in problems
    page = clean.index(b'"n":33') // 4096 * 4096
    path.write_bytes(clean[:page] + b"\xff" * 4096 + clean[page + 4096 :])  # a page of rubbish
    problems = Ledger(SqliteLedger(path), keys, clock, Account(name="ann")).verify()
    first = min(int(found) for found in re.findall(rb'"n":(\d+)', clean[page : page + 4096]))
    assert any(says.startswith(f"entry {first}: ") and "cannot be read" in says for says in problems)
    assert any(says.startswith("ledger.sqlite: ") for says in problems)


def test_a_line_may_be_for_one_place_only(ledger: Ledger, lines: SqliteLedger) -> None:
    assert ledger.append("open", after=0).seq == 1
    for wrong in (0, 2):
        with pytest.raises(LedgerMoved, match=f"entry {wrong}"):
            ledger.append("late", after=wrong)
    assert ledger.append("next", after=1).seq == 2
    assert [line.act for line in ledger.find()] == ["open", "next"]
