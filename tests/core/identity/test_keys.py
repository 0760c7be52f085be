from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tidemill.core.errors import KeyMissing
from tidemill.core.identity.keys import Keys, signed_by

NAMES = ("subject.key", "vault.key", "suppression.key", "ledger.ed25519")


def test_new_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = Keys.open(tmp_path / "deep" / "keys", create=True)
    finally:
        os.umask(before)
    assert sorted(path.name for path in keys.folder.iterdir()) == sorted(NAMES)
    assert {stat.S_IMODE((keys.folder / name).stat().st_mode) for name in NAMES} == {0o600}
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    assert keys.exposed() == []
    (keys.folder / "vault.key").chmod(0o640)
    assert keys.exposed() == [keys.folder / "vault.key"]


def test_opened_again_they_are_the_same(tmp_path: Path) -> None:
    made = Keys.open(tmp_path / "keys", create=True)
    for create in (False, True):
        again = Keys.open(tmp_path / "keys", create=create)
        assert (again.subject, again.vault, again.suppression) == (made.subject, made.vault, made.suppression)
        assert again.public == made.public
    assert len({made.subject, made.vault, made.suppression}) == 3


def test_missing_keys_are_an_error_unless_they_are_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing, match=r"subject\.key"):
        Keys.open(tmp_path / "keys", create=False)
    assert not (tmp_path / "keys").exists()
    (tmp_path / "keys").mkdir()
    Keys.open(tmp_path / "keys", create=True)  # an empty folder is as good as none


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("create", [False, True])
def test_a_folder_with_some_of_the_keys_is_never_completed(tmp_path: Path, name: str, create: bool) -> None:
    Keys.open(tmp_path / "keys", create=True)
    (tmp_path / "keys" / name).unlink()
    with pytest.raises(KeyMissing, match=name):
        Keys.open(tmp_path / "keys", create=create)
    assert not (tmp_path / "keys" / name).exists()


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "ab" * 31, "ab" * 33])
def test_a_damaged_key_is_named(tmp_path: Path, content: str) -> None:
    Keys.open(tmp_path / "keys", create=True)
    (tmp_path / "keys" / "vault.key").write_text(content)
    with pytest.raises(KeyMissing, match=r"vault\.key does not contain"):
        Keys.open(tmp_path / "keys", create=False)


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "theirs").write_text("x")
    with pytest.raises(KeyMissing, match="could not create keys"):
        Keys.open(tmp_path / "keys", create=True)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["keys", "keys/theirs"]


def test_no_key_shows_when_printed(keys: Keys) -> None:
    shown = repr(keys) + str(keys) + str(keys.marks())
    for secret in (keys.subject, keys.vault, keys.suppression):
        assert secret.hex() not in shown
        assert secret.hex()[:16] not in shown


def test_a_signature_fits_its_message_and_its_key_only(keys: Keys, tmp_path: Path) -> None:
    signature = keys.sign(b"message")
    assert keys.signed(b"message", signature)
    assert not keys.signed(b"massage", signature)
    assert not keys.signed(b"message", bytes(64))
    assert not keys.signed(b"message", b"short")
    assert not signed_by("no hex", b"message", signature)
    assert not Keys.open(tmp_path / "others", create=True).signed(b"message", signature)


def test_marks_show_which_key_is_another(keys: Keys, tmp_path: Path) -> None:
    keys.agree(keys.marks())
    (keys.folder / "subject.key").write_text("ab" * 32)
    wrong = Keys.open(keys.folder, create=False)
    with pytest.raises(KeyMissing, match="a different subject key than"):
        wrong.agree(keys.marks())
    with pytest.raises(KeyMissing, match="subject key and vault key and suppression key and ledger key"):
        Keys.open(tmp_path / "others", create=True).agree(keys.marks())
