from __future__ import annotations

import base64
import hashlib
import hmac
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.backends.sqlite_vault import SqliteVault
from tidemill.core.errors import NoSuchSubject, SealBroken
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.surrogates import KEPT_S, Surrogates, Vault

KEY = bytes(range(32))


def reference(kind: str, identifier: str) -> str:
    """The definition, spelled out with the standard library."""
    digest = hmac.new(KEY, kind.encode() + b"\0" + identifier.encode(), hashlib.sha256).digest()[:16]
    return base64.b32encode(digest).decode().rstrip("=").lower()


@given(st.text(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_surrogate_is_the_hmac_in_base32(identifier: str, kind: str) -> None:
    try:
        identifier.encode()
    except UnicodeEncodeError:
        return
    made = Surrogates(KEY)(kind, identifier)
    assert made == reference(kind, identifier)
    assert re.fullmatch("[a-z2-7]{26}", made)


def test_many_are_in_order_and_as_one_by_one() -> None:
    surrogates = Surrogates(KEY)
    people = [f"A{number}" for number in range(200)]
    assert surrogates.many("user_id", people) == [surrogates("user_id", person) for person in people]
    assert len(set(surrogates.many("user_id", people))) == 200
    assert surrogates.many("user_id", []) == []


def test_kind_and_key_make_another_surrogate() -> None:
    made = Surrogates(KEY)("user_id", "A1")
    assert made != Surrogates(KEY)("reviewer_id", "A1")
    assert made != Surrogates(bytes(32))("user_id", "A1")
    # Wrong variant: joined without a separator, two kinds would share surrogates.
    glued = [
        hmac.digest(KEY, kind + identifier, "sha256") for kind, identifier in ((b"user", b"_idA"), (b"user_id", b"A"))
    ]
    assert glued[0] == glued[1]
    assert Surrogates(KEY)("user", "_idA") != Surrogates(KEY)("user_id", "A")


def test_the_key_does_not_show_when_printed() -> None:
    assert repr(Surrogates(KEY)) == "Surrogates()"


@pytest.fixture
def vault(tmp_path: Path, keys: Keys) -> Vault:
    return Vault(SqliteVault(tmp_path / "vault.sqlite"), keys)


def test_the_vault_knows_whom_it_was_told(vault: Vault, keys: Keys) -> None:
    people = ["A2VNYWOPJ13AFP", "Zoë", ""]
    made = Surrogates(keys.subject).many("user_id", people)
    assert vault.remember("user_id", made, people) == 3
    assert [vault.identity(surrogate) for surrogate in made] == [("user_id", person) for person in people]


def test_remembering_again_adds_nothing(vault: Vault) -> None:
    assert vault.remember("user_id", ["s1", "s2", "s1"], ["A1", "A2", "A1"]) == 2
    assert vault.remember("user_id", ["s1", "s3"], ["A1", "A3"]) == 1
    assert vault.remember("user_id", ["s1"], ["A1"]) == 0


def test_a_list_that_does_not_fit_is_refused(vault: Vault) -> None:
    with pytest.raises(ValueError, match="shorter"):
        vault.remember("user_id", ["s1", "s2"], ["A1"])


def test_an_unknown_surrogate_is_an_error(vault: Vault) -> None:
    with pytest.raises(NoSuchSubject):
        vault.identity("s1")
    with pytest.raises(LookupError):
        vault.identity("s1")


def test_nothing_in_the_file_names_a_person(vault: Vault, tmp_path: Path) -> None:
    vault.remember("user_id", ["s1"], ["A2VNYWOPJ13AFP"])
    files = [path for path in tmp_path.iterdir() if path.name.startswith("vault.sqlite")]
    assert files
    assert all(b"A2VNYWOPJ13AFP" not in path.read_bytes() for path in files)


def test_each_entry_has_its_own_key(tmp_path: Path, keys: Keys) -> None:
    store = SqliteVault(tmp_path / "vault.sqlite")
    vault = Vault(store, keys)
    vault.remember("user_id", ["s1", "s2"], ["same", "same"])
    _, sealed1, wrapped1 = store.get("s1")
    _, sealed2, wrapped2 = store.get("s2")
    assert len({sealed1, sealed2, wrapped1, wrapped2}) == 4
    # Entries that change places, or a destroyed key, open nothing.
    store.put([("s3", "user_id", sealed1, wrapped1), ("s4", "user_id", sealed1, wrapped2)])
    for swapped in ("s3", "s4"):
        with pytest.raises(SealBroken):
            vault.identity(swapped)


@given(st.binary(max_size=200), st.data())
def test_a_sealed_value_opens_only_unchanged(value: bytes, data: st.DataObject) -> None:
    vault = Vault(store=None, keys=_Keys())  # type: ignore[arg-type]
    sealed = vault.seal(value)
    assert vault.unseal(sealed) == value
    assert len(sealed) == len(value) + 29
    assert vault.seal(value) != sealed
    position = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        vault.unseal(bytes(changed))
    with pytest.raises(SealBroken):
        vault.unseal(sealed[:position])


def test_a_key_of_an_entry_is_no_sealed_value(tmp_path: Path, keys: Keys) -> None:
    """What is sealed for one purpose must not open as another, though the key is the same."""
    store = SqliteVault(tmp_path / "vault.sqlite")
    vault = Vault(store, keys)
    vault.remember("user_id", ["s1"], ["A1"])
    with pytest.raises(SealBroken):
        vault.unseal(store.get("s1")[2])


def test_another_mills_vault_stays_sealed(vault: Vault, tmp_path: Path) -> None:
    others = Vault(SqliteVault(tmp_path / "other.sqlite"), Keys.open(tmp_path / "others", create=True))
    with pytest.raises(SealBroken, match="this mill's vault key"):
        others.unseal(vault.seal(b"value"))


def test_a_value_is_sealed_under_the_keys_of_the_people_that_it_names(tmp_path: Path, keys: Keys) -> None:
    store = SqliteVault(tmp_path / "vault.sqlite")
    vault, other = (Vault(store, keys) for _ in range(2))
    vault.remember("user_id", ["s1", "s2", "s3"], ["A1", "A2", "A3"])
    sealed = {
        "of one": vault.seal(b"of one", ["s1"]),
        "of both": vault.seal(b"of both", ["s2", "s1"]),
        "of another": vault.seal(b"of another", ["s2"]),
        "of nobody": vault.seal(b"of nobody"),
        "of a stranger": vault.seal(b"of a stranger", ["stranger"]),
    }
    for name, value in sealed.items():
        assert vault.unseal(value) == other.unseal(value) == name.encode()
        assert name.encode() not in value
    assert vault.forget(["s1"]) == 1
    for opened in (vault, Vault(store, keys)):
        for name in ("of one", "of both"):
            with pytest.raises(NoSuchSubject, match="s1"):
                opened.unseal(sealed[name])
        for name in ("of another", "of nobody", "of a stranger"):
            assert opened.unseal(sealed[name]) == name.encode()
    # Somebody of the same name later has another key.
    vault.remember("user_id", ["s1"], ["A1"])
    with pytest.raises(SealBroken):
        vault.unseal(sealed["of one"])


@given(st.binary(max_size=100), st.integers(1, 3), st.data())
def test_a_value_of_people_opens_only_unchanged(value: bytes, n: int, data: st.DataObject) -> None:
    store = _InMemory()
    vault = Vault(store, _Keys())  # type: ignore[arg-type]
    people = [f"s{number}" for number in range(n)]
    vault.remember("user_id", people, people)
    sealed = vault.seal(value, people)
    assert vault.unseal(sealed) == value
    position = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(changed), sealed[:position]):
        with pytest.raises((SealBroken, NoSuchSubject)):
            vault.unseal(wrong)


def test_keys_of_people_are_kept_for_a_while_and_no_longer(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteVault(tmp_path / "vault.sqlite")
    vault = Vault(store, keys)
    found = vault.found_or_made({"s1": ("user_id", "A1"), "s2": ("user_id", "A2")})
    assert vault.identity("s1") == ("user_id", "A1")
    assert Vault(store, keys).found_or_made({"s1": ("user_id", "A1")})["s1"].key == found["s1"].key
    store.forget(["s1"])  # another process
    assert set(vault.keys_of(["s1", "s2"])) == {"s1", "s2"}
    monkeypatch.setattr(vault, "_keys_since", vault._keys_since - KEPT_S)
    assert set(vault.keys_of(["s1", "s2"])) == {"s2"}


class _InMemory:
    """Entries in a dict, for laws that are tried hundreds of times."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[str, bytes, bytes]] = {}

    def known(self, surrogates):
        return self.entries.keys() & set(surrogates)

    def get_many(self, surrogates):
        return {one: self.entries[one] for one in surrogates if one in self.entries}

    def put(self, entries):
        entries = list(entries)
        for surrogate, *rest in entries:
            self.entries.setdefault(surrogate, tuple(rest))
        return len(entries)


class _Keys:
    vault = KEY
