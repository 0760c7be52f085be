from __future__ import annotations

import os

import msgspec
import pytest

from tidemill.core.identity.account import Account, local_account


def test_the_account_of_a_command_is_the_operating_systems_user() -> None:
    assert local_account() == Account(name=f"user-{os.getuid()}", kind="user", activity="")


def test_what_acted_on_an_accounts_behalf_is_told_with_it() -> None:
    account = Account(name="server", kind="process")
    assert (str(account), str(account.doing("refresh"))) == ("server", "server (refresh)")
    assert account.doing("refresh").kind == "process"


@pytest.mark.parametrize("text", ["{}", '{"name":"a"}', '{"name":"a","kind":"process","later":1}'])
def test_an_account_without_or_with_more_fields_is_read(text: str) -> None:
    assert msgspec.json.decode(text, type=Account).activity == ""
