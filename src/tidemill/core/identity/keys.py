"""Keys of a mill: four secrets, stored outside the project.

Each is 32 random bytes, stored as 64 hex digits in its own file that only its owner may read (0600). Without
`subject.key`, every person gets a new surrogate; without `vault.key`, no surrogate can be resolved. A folder with only
some of the keys is therefore rejected, never completed with new ones.
"""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tidemill.core.errors import KeyMissing
from tidemill.core.storage.durable_files import sync_folder

_FILES = ("subject.key", "vault.key", "suppression.key", "ledger.ed25519")


class Keys:
    """The keys of one mill, opened from their folder.

    `subject` computes surrogates, `vault` wraps the key of each vault entry, `suppression` is reserved for the list of
    erased people, and the Ed25519 key (RFC 8032) signs the ledger's heads.
    """

    def __init__(self, folder: Path, subject: bytes, vault: bytes, suppression: bytes, ledger: bytes) -> None:
        self.folder = folder
        self.subject = subject
        self.vault = vault
        self.suppression = suppression
        self._signer = Ed25519PrivateKey.from_private_bytes(ledger)
        self._public = self._signer.public_key()

    def __repr__(self) -> str:  # key material never reaches a log or a traceback
        return f"Keys({str(self.folder)!r})"

    @classmethod
    def open(cls, folder: Path, *, create: bool) -> Keys:
        """Open the keys in `folder`; with `create`, generate new ones if the folder is missing or empty.

        Raises `KeyMissing` if a key is absent or damaged; also with `create`, if the folder has any other key.
        """
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if len(missing) == len(_FILES) and create:
            _make(folder)
        elif missing:
            raise KeyMissing(
                f"{folder} has no {', '.join(missing)}",
                tip="restore the folder from its backup, or set `keys` to its location; `tidemill status --settings`",
            )
        return cls(folder, *(_read(folder / name) for name in _FILES))

    @property
    def public(self) -> str:
        """The ledger's public key in hex; it verifies this mill's signatures."""
        return self._public.public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of `message`, 64 bytes."""
        return self._signer.sign(message)

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this mill's signature of `message`."""
        return signed_by(self.public, message, signature)

    def marks(self) -> dict[str, str]:
        """A check value (HMAC) per key that detects a wrong key without revealing it; stored next to the mill's id."""
        secrets_ = {"subject": self.subject, "vault": self.vault, "suppression": self.suppression}
        marks = {
            name: hmac.digest(key, b"tidemill key mark " + name.encode(), "sha256").hex()[:16]
            for name, key in secrets_.items()
        }
        return marks | {"ledger": self.public[:16]}

    def agree(self, marks: Mapping[str, str]) -> None:
        """Raise `KeyMissing` if these keys do not match the check values `marks`."""
        ours = self.marks()
        wrong = [f"{name} key" for name, mark in marks.items() if ours.get(name) != mark]
        if wrong:
            raise KeyMissing(
                f"{self.folder} has a different {' and '.join(wrong)} than this mill's",
                tip="set `keys` to this mill's own folder, or restore it from its backup",
            )

    def reference(self) -> KeyReference:
        """A reference to these keys."""
        return KeyReference(self.folder, self.marks())

    def exposed(self) -> list[Path]:
        """Key files that users other than their owner may access."""
        return [self.folder / name for name in _FILES if (self.folder / name).stat().st_mode & 0o077]


@dataclass(frozen=True)
class KeyReference:
    """Where the keys of a mill are, for another process that sees the folder. It has no secret, and can be pickled."""

    folder: Path
    marks: Mapping[str, str]

    def open(self) -> Keys:
        """The keys. Raises `KeyMissing` if the folder does not have them in this process."""
        keys = Keys.open(self.folder, create=False)
        keys.agree(self.marks)
        return keys


def signed_by(public: str, message: bytes, signature: bytes) -> bool:
    """Whether the holder of the Ed25519 key `public` (hex) signed `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _make(folder: Path) -> None:
    # Write to a temporary folder and rename it, so that a crash leaves all four keys or none.
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    fresh.mkdir(mode=0o700)
    try:
        for name in _FILES:
            _write(fresh / name, secrets.token_hex(32))
        sync_folder(fresh)
        fresh.rename(folder)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise KeyMissing(
            f"could not create keys in {folder}: {error.strerror}", tip="set `keys` to an empty folder or a new one"
        ) from error
    sync_folder(folder.parent)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)


def _read(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) != 32:
        raise KeyMissing(f"{path} does not contain a key of 64 hex digits", tip="restore it from its backup")
    return key
