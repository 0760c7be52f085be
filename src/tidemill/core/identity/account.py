"""Account: who acts, as a ledger entry records it."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from tidemill.core.record_format import Record


class Account(Record, frozen=True):
    """A user or a process, and what acted on its behalf.

    >>> print(Account(name="user-1000").doing("refresh"))
    user-1000 (refresh)
    """

    name: str = ""
    kind: Literal["user", "process"] = "user"
    #: The part of tidemill that acted by itself, such as `refresh`; empty if the account acted directly.
    activity: str = ""

    def doing(self, activity: str) -> Account:
        """The same account, acting by `activity`."""
        return msgspec.structs.replace(self, activity=activity)

    def __str__(self) -> str:
        return f"{self.name} ({self.activity})" if self.activity else self.name


def local_account() -> Account:
    """The operating system's user, by number: a ledger is permanent and must not contain a person's name.

    >>> local_account().name == f"user-{os.getuid()}"
    True
    """
    return Account(name=f"user-{os.getuid()}")
