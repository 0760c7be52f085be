from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidemill.backends.folder_blobs import FolderBlobs
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import FixedClock
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.records.release import Card, Release, Rule, RuleSet
from tidemill.release import Releases, read_deployment

AT = datetime(2018, 9, 20, tzinfo=UTC)


class Shelf:
    """A mill's release room on a real ledger and a real folder of blobs, and what its tests make in it."""

    RULES = RuleSet(retrieve=(Rule(name="nearest", args={"n": 200}),), filter=(Rule(name="unseen"),))
    MORE_RULES = RuleSet(retrieve=(Rule(name="nearest", args={"n": 50}),), filter=(Rule(name="unseen"),))

    def __init__(self, root: Path) -> None:
        self.root = root
        self.serving = root / "serving"
        self.clock = FixedClock(AT)
        self.ledger = Ledger(
            SqliteLedger(root / "ledger.sqlite"),
            Keys.open(root / "keys", create=True),
            self.clock,
            Account(name="tester"),
        )
        self.blobs = FolderBlobs(root / "blobs")
        self.releases = Releases(self.blobs, self.ledger, self.serving, self.clock)

    def reopened(self) -> Releases:
        """The same stores, opened as the next process would."""
        ledger = Ledger(
            SqliteLedger(self.root / "ledger.sqlite"),
            Keys.open(self.root / "keys", create=False),
            self.clock,
            Account(name="tester"),
        )
        return Releases(FolderBlobs(self.root / "blobs"), ledger, self.serving, self.clock)

    def folder(self, seed: int) -> Path:
        """A finished bundle folder."""
        folder = self.root / f"made-{seed}"
        folder.mkdir()
        np.save(folder / "vectors.npy", np.full((3, 2), seed, np.float32))
        (folder / "bundle.json").write_text('{"items": ["a", "b", "c"]}')
        return folder

    def create(self, bundle: int | str, rules: RuleSet = RULES, **more: Any) -> Release:
        """A release on a new bundle made from a seed, or on a kept one."""
        made = self.folder(bundle) if isinstance(bundle, int) else bundle
        card = more.pop("card", None) or self.card()
        return self.releases.create(card.model, made, rules, card, **more)

    @staticmethod
    def card(helps: str = "Readers.", could_harm: str = "Small publishers.", model: str = "for_you") -> Card:
        return Card(
            model=model, helps=helps, could_harm=could_harm, learner="cooccurrence", parameters={"half_life_days": 365},
            evaluation=None, data={"ratings": 17, "items": 4}, n_rows=100, n_users=10, n_items=3, learned_at=1, as_of=1,
        )  # fmt: skip

    def live(self, model: str = "for_you") -> str | None:
        """The release that a server would answer from."""
        live = read_deployment(self.serving, model, self.ledger.keys.public)
        return live.champion.release.name if live else None

    def damage(self, sha256: str) -> None:
        """Flip one bit of a kept bundle."""
        path = self.releases.bundle(sha256) / "vectors.npy"
        body = bytearray(path.read_bytes())
        body[-1] ^= 1
        path.write_bytes(body)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def three(shelf: Shelf) -> Callable[[], list[str]]:
    """Make `for_you@1` to `for_you@3`, each on a bundle of its own."""

    def make() -> list[str]:
        return [shelf.create(i).name for i in (1, 2, 3)]

    return make
