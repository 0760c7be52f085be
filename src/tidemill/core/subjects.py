"""People: a surrogate everywhere, and a vault that alone can say who it is.

A surrogate is the first 128 bits of HMAC-SHA256 (RFC 2104) over kind and identifier, as 26 letters of lower-case base32
(RFC 4648 without padding). It needs no look-up, and without the mill's key nobody can make or undo it. The vault keeps
each identifier under a random key of its own (AES-256-GCM), and that key wrapped by the vault's key: destroying one
small key is enough to forget one person.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidemill.core.errors import NoSuchSubject, SealBroken
from tidemill.core.keys import Keys
from tidemill.core.ports import VaultStore

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
# Three letters at once: 128 bits and 7 zeros are nine steps of 15 bits; the last of the 27 letters is only padding.
_TRIPLES = [a + b + c for a in _LETTERS for b in _LETTERS for c in _LETTERS]

# The first byte of everything sealed, so that a later scheme can be told apart.
_SCHEME = b"\x01"
_NONCE = 12


class Surrogates:
    """Makes surrogates under the mill's subject key.

    >>> Surrogates(bytes(32))("user_id", "A2VNYWOPJ13AFP")
    'w4om66ei4yolffs5l2wpwypeme'
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Surrogates()"

    def __call__(self, kind: str, identifier: str) -> str:
        """The surrogate of one identifier; `kind` is the contract's column name, for example `user_id`."""
        return self.many(kind, [identifier])[0]

    def many(self, kind: str, identifiers: Sequence[str]) -> list[str]:
        """The surrogates of `identifiers`, in their order."""
        key, prefix, digest, spell = self._key, kind.encode() + b"\0", hmac.digest, _spell
        return [spell(digest(key, prefix + identifier.encode(), "sha256")) for identifier in identifiers]


def _spell(digest: bytes) -> str:
    n, t = int.from_bytes(digest[:16], "big") << 7, _TRIPLES
    return (
        t[n >> 120] + t[n >> 105 & 32767] + t[n >> 90 & 32767] + t[n >> 75 & 32767] + t[n >> 60 & 32767]
        + t[n >> 45 & 32767] + t[n >> 30 & 32767] + t[n >> 15 & 32767] + t[n & 32767]
    )[:26]  # fmt: skip


class Vault:
    """Sealed identities by surrogate, and sealing of small values that name people (refused lines, posted events)."""

    def __init__(self, store: VaultStore, keys: Keys) -> None:
        self._store = store
        # Random 96-bit nonces under one key are safe for 2**32 values (NIST SP 800-38D, 8.3).
        self._wrapper = AESGCM(keys.vault)

    def remember(self, kind: str, surrogates: Sequence[str], identifiers: Sequence[str]) -> int:
        """Keep who `surrogates` are; those already known cost one look-up. Gives the number of new entries."""
        by_surrogate = dict(zip(surrogates, identifiers, strict=True))
        known = self._store.known(list(by_surrogate))
        new = [(surrogate, identifier) for surrogate, identifier in by_surrogate.items() if surrogate not in known]
        if new:
            self._store.put(self._entry(kind, surrogate, identifier) for surrogate, identifier in new)
        return len(new)

    def identity(self, surrogate: str) -> tuple[str, str]:
        """`(kind, identifier)` of a surrogate; `NoSuchSubject` where there is no entry."""
        entry = self._store.get(surrogate)
        if entry is None:
            raise NoSuchSubject(f"the vault has no entry for {surrogate}")
        kind, sealed, wrapped = entry
        about = f"{kind}\0{surrogate}".encode()
        key = _open(self._wrapper, wrapped, about, "the key of a vault entry")
        return kind, _open(AESGCM(key), sealed, about, "a vault entry").decode()

    def seal(self, value: bytes) -> bytes:
        """`value` encrypted under the vault's key, 29 bytes longer."""
        return _seal(self._wrapper, value, b"value")

    def unseal(self, sealed: bytes) -> bytes:
        """What `seal` was given; `SealBroken` where it was changed or sealed under another key."""
        return _open(self._wrapper, sealed, b"value", "a sealed value")

    def _entry(self, kind: str, surrogate: str, identifier: str) -> tuple[str, str, bytes, bytes]:
        # Kind and surrogate are authenticated with both, so that entries cannot change places.
        key, about = os.urandom(32), f"{kind}\0{surrogate}".encode()
        return surrogate, kind, _seal(AESGCM(key), identifier.encode(), about), _seal(self._wrapper, key, about)


def _seal(cipher: AESGCM, value: bytes, about: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return _SCHEME + nonce + cipher.encrypt(nonce, value, about)


def _open(cipher: AESGCM, sealed: bytes, about: bytes, what: str) -> bytes:
    if sealed[:1] == _SCHEME and len(sealed) >= 1 + _NONCE + 16:
        try:
            return cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], about)
        except InvalidTag:
            pass
    raise SealBroken(f"{what} does not open with this mill's vault key", tip="tidemill status --settings")
