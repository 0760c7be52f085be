"""Keys of people in posted events: one transaction for many requests, and none to wait for where the vault is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tidemill.backends.sqlite_vault import SqliteVault
from tidemill.core.errors import LedgerMissing
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.surrogates import PersonKey, Vault
from tidemill.loop.project.existing_vault import ExistingVault
from tidemill.serving.events.person_keys import PersonKeys
from tidemill.serving.http.metrics import Counters, totals


class _Counting(SqliteVault):
    """Counts its transactions."""

    puts = 0

    def put(self, entries):
        self.puts += 1
        return super().put(entries)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.open(tmp_path / "keys", create=True)


def people(*names: str) -> dict[str, tuple[str, str]]:
    return {f"s{name}": ("user_id", name) for name in names}


def test_many_requests_share_a_transaction_and_new_people_get_entries(tmp_path: Path, keys: Keys) -> None:
    store = _Counting(tmp_path / "vault.sqlite")
    vault, counters = Vault(store, keys), Counters(tmp_path, 0)
    opened = PersonKeys(vault, counters)

    async def ask() -> list[dict[str, PersonKey]]:
        return await asyncio.gather(*[opened.keys_for(people(str(n), str(n + 1))) for n in range(100)])  # type: ignore[return-value]

    found = asyncio.run(ask())
    opened.close()
    assert store.puts <= 2
    for n, keys_of in enumerate(found):
        assert {f"s{n}", f"s{n + 1}"} <= set(keys_of)
    assert vault.identity("s7") == ("user_id", "7")
    sealed = vault.seal_with(found[7], b"value", ["s7"])
    assert Vault(SqliteVault(tmp_path / "vault.sqlite"), keys).unseal(sealed) == b"value"
    assert totals(tmp_path)["sealed_without_person"] == 0


def test_a_vault_that_is_away_makes_nobody_wait_and_none_is_begun(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "vault.sqlite"
    vault = Vault(ExistingVault(path, lambda: SqliteVault(path, create=False)), keys)
    opened = PersonKeys(vault, Counters(tmp_path, 0))
    assert asyncio.run(opened.keys_for(people("ada"))) == {}
    assert totals(tmp_path)["sealed_without_person"] == 1
    assert not path.exists()
    for damaged in (b"", b"no database", b"SQLite format 3\0" + bytes(500)):
        path.write_bytes(damaged)
        opened._unavailable_until = 0.0
        assert asyncio.run(opened.keys_for(people("ada"))) == {}
        assert path.read_bytes() == damaged
    path.unlink()
    assert vault.unseal(vault.seal_with({}, b"value", ["sada"])) == b"value"  # under the vault's own key
    SqliteVault(path)
    opened._unavailable_until = 0.0
    assert set(asyncio.run(opened.keys_for(people("ada")))) == {"sada"}
    opened.close()


def test_another_vault_in_its_place_is_opened_anew(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "vault.sqlite"
    store = ExistingVault(path, lambda: SqliteVault(path))
    with pytest.raises(LedgerMissing, match="is unavailable"):
        store.known(["s1"])
    SqliteVault(path).put([("s1", "user_id", b"sealed", b"wrapped")])
    assert store.known(["s1"]) == {"s1"}
    for file in tmp_path.glob("vault.sqlite*"):
        file.rename(file.with_name(f"old-{file.name}"))
    SqliteVault(path).put([("s2", "user_id", b"sealed", b"wrapped")])
    assert store.known(["s1", "s2"]) == {"s2"}
    assert store.get("s2") == ("user_id", b"sealed", b"wrapped")
