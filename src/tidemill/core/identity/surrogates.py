"""Surrogates: pseudonyms of people, and the vault that resolves them.

A surrogate is the first 128 bits of HMAC-SHA256 (RFC 2104) over kind and identifier, as 26 letters of lower-case base32
(RFC 4648 without padding). It needs no look-up, and cannot be computed or reversed without the mill's key. The vault
encrypts each identifier under its own random key (AES-256-GCM), wrapped by the vault's key. Destroying that key erases
the person (crypto-shredding), because values that contain identifiers are encrypted under these keys too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidemill.core.errors import NoSuchSubject, SealBroken
from tidemill.core.identity.keys import Keys
from tidemill.core.ports import VaultStore
from tidemill.core.storage.verification import Verification

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
# Three letters per step: 128 bits and 7 zero bits are nine steps of 15 bits; the last of the 27 letters is padding.
_TRIPLES = [a + b + c for a in _LETTERS for b in _LETTERS for c in _LETTERS]

# First byte of every sealed value: encrypted under the vault's key, or under the keys of the people in it.
_SCHEME, _PEOPLE = b"\x01", b"\x02"
_NONCE = 12
#: Entries that are stored at once.
_ENTRIES = 65_536
#: Cache of people's keys: maximum number, and lifetime in seconds. The lifetime limits how long a process can still use
#: a key that another process destroyed.
KEPT_KEYS, KEPT_S = 100_000, 60.0


class Surrogates:
    """Computes surrogates with the mill's subject key.

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


class PersonKey(NamedTuple):
    """The unwrapped key of a vault entry, and its cipher."""

    key: bytes
    cipher: AESGCM


#: Surrogate, kind, sealed identifier and wrapped key.
VaultEntry: TypeAlias = tuple[str, str, bytes, bytes]


class VaultSealer:
    """Makes new entries of a vault, and encrypts values, without its store."""

    def __init__(self, keys: Keys) -> None:
        # Random 96-bit nonces under one key are safe for 2**32 values (NIST SP 800-38D, 8.3).
        self._wrapper = AESGCM(keys.vault)

    def seal(self, value: bytes) -> bytes:
        """Encrypt `value` under the vault's key."""
        return _seal(self._wrapper, value, b"value")

    def entry(self, kind: str, surrogate: str, identifier: str) -> tuple[VaultEntry, PersonKey]:
        """A new entry and its key."""
        # Kind and surrogate are authenticated with both ciphertexts, so that entries cannot be exchanged.
        key, about = os.urandom(32), f"{kind}\0{surrogate}".encode()
        cipher = AESGCM(key)
        entry = surrogate, kind, _seal(cipher, identifier.encode(), about), _seal(self._wrapper, key, about)
        return entry, PersonKey(key, cipher)


class Vault:
    """Encrypted identities by surrogate, and encryption of small values with identifiers (refused lines, events)."""

    def __init__(self, store: VaultStore, keys: Keys) -> None:
        self._store = store
        self._sealer = VaultSealer(keys)
        self._wrapper = AESGCM(keys.vault)
        self._keys: dict[str, PersonKey] = {}
        self._keys_since = time.monotonic()

    def check(self) -> None:
        """Read an entry that does not exist: raises what the store raises if it is missing or damaged."""
        self._store.known(["-"])

    def remember(self, kind: str, surrogates: Sequence[str], identifiers: Sequence[str]) -> int:
        """Store the identifiers of `surrogates`; known ones cost only a look-up. Returns the number of new entries."""
        pairs, n_new = zip(surrogates, identifiers, strict=True), 0
        while by_surrogate := dict(islice(pairs, _ENTRIES)):
            known = self._store.known(list(by_surrogate))
            new = [(surrogate, identifier) for surrogate, identifier in by_surrogate.items() if surrogate not in known]
            if new:
                self._store.put(self._sealer.entry(kind, *one)[0] for one in new)
            n_new += len(new)
        return n_new

    def store(self, entries: Sequence[VaultEntry]) -> int:
        """Store entries that a `VaultSealer` made; known surrogates keep theirs. Returns the number of new entries."""
        return self._store.put(entries)

    def identity(self, surrogate: str) -> tuple[str, str]:
        """`(kind, identifier)` of a surrogate. Raises `NoSuchSubject` if there is no entry."""
        entry = self._store.get(surrogate)
        if entry is None:
            raise NoSuchSubject(f"the vault has no entry for {surrogate}")
        kind, sealed, wrapped = entry
        about = f"{kind}\0{surrogate}".encode()
        key = _open(self._wrapper, wrapped, about, "the key of a vault entry")
        return kind, _open(AESGCM(key), sealed, about, "a vault entry").decode()

    def seal(self, value: bytes, surrogates: Sequence[str] = ()) -> bytes:
        """Encrypt `value` under the keys of the people in it. Destroying any of these keys makes it unreadable.

        Uses the vault's key if there are no people, or if one of them has no entry in the vault.
        """
        return self.seal_with(self.keys_of(surrogates), value, surrogates)

    def seal_with(self, keys: Mapping[str, PersonKey], value: bytes, surrogates: Sequence[str]) -> bytes:
        """`seal` with the keys that `keys_of` returned; it does not read the store."""
        people = surrogates if len(surrogates) == 1 else sorted(set(surrogates))
        if not people or any(surrogate not in keys for surrogate in people):
            return self._sealer.seal(value)
        header = _header(people)
        nonce = os.urandom(_NONCE)
        return header + nonce + _cipher([keys[one] for one in people]).encrypt(nonce, value, header)

    def unseal(self, sealed: bytes) -> bytes:
        """Decrypt a value that `seal` encrypted.

        Raises `SealBroken` if it was changed or encrypted by another vault, and `NoSuchSubject` if a key is destroyed.
        """
        if sealed[:1] != _PEOPLE:
            return _open(self._wrapper, sealed, b"value", "a sealed value")
        header, people = _people_of(sealed)
        keys = self.keys_of(people)
        for surrogate in people:
            if surrogate not in keys:
                raise NoSuchSubject(f"the vault no longer has the key of {surrogate}, so its values cannot be read")
        rest = sealed[len(header) :]
        try:
            return _cipher([keys[one] for one in people]).decrypt(rest[:_NONCE], rest[_NONCE:], header)
        except (InvalidTag, ValueError):
            raise _broken("a sealed value") from None

    def keys_of(self, surrogates: Collection[str]) -> dict[str, PersonKey]:
        """The keys of the surrogates that have an entry; those not in the cache are read from the store at once."""
        known = self._kept()
        missing = [surrogate for surrogate in surrogates if surrogate not in known]
        if missing:
            for surrogate, (kind, _, wrapped) in self._store.get_many(missing).items():
                about = f"{kind}\0{surrogate}".encode()
                key = _open(self._wrapper, wrapped, about, "the key of a vault entry")
                known[surrogate] = PersonKey(key, AESGCM(key))
        return {surrogate: known[surrogate] for surrogate in surrogates if surrogate in known}

    def keys_in_memory(self, surrogates: Collection[str]) -> dict[str, PersonKey]:
        """The keys that are in the cache; it does not read the store."""
        known = self._kept()
        return {surrogate: known[surrogate] for surrogate in surrogates if surrogate in known}

    def _kept(self) -> dict[str, PersonKey]:
        if len(self._keys) > KEPT_KEYS or time.monotonic() > self._keys_since + KEPT_S:
            self._keys, self._keys_since = {}, time.monotonic()
        return self._keys

    def found_or_made(self, people: Mapping[str, tuple[str, str]]) -> dict[str, PersonKey]:
        """The keys of all `people` (surrogate -> kind and identifier); missing entries are created."""
        keys = self.keys_of(people)
        new = [
            (kind, surrogate, identifier) for surrogate, (kind, identifier) in people.items() if surrogate not in keys
        ]
        made = {one[1]: self._sealer.entry(*one) for one in new}
        if made and self._store.put([entry for entry, _ in made.values()]) == len(made):
            keys |= {surrogate: key for surrogate, (_, key) in made.items()}
            self._keys |= {surrogate: key for surrogate, (_, key) in made.items()}
        elif made:  # another process inserted some of them first: its keys are valid
            keys |= self.keys_of(list(made))
        return keys

    def forget(self, surrogates: Sequence[str]) -> int:
        """Delete the entries and keys of these people and return how many there were. Values encrypted under these keys
        can no longer be decrypted. Other processes may use a cached key for at most `KEPT_S` more seconds.
        """
        n = self._store.forget(surrogates)
        self._keys = {}
        return n

    def verify(self, found: Verification) -> None:
        """Decrypt every entry; each is authenticated with its surrogate and its kind."""
        for problem in self._store.damage():
            found.problem(problem)
        broken = 0
        with found.attempt("vault"):
            for surrogate, kind, sealed, wrapped in self._store.entries():
                about = f"{kind}\0{surrogate}".encode()
                try:
                    key = _open(self._wrapper, wrapped, about, "the key of a vault entry")
                    _open(AESGCM(key), sealed, about, "a vault entry")
                except SealBroken:
                    broken += 1
        if broken:
            found.problem(f"{broken} entries of the vault were changed: they cannot be decrypted")


def _seal(cipher: AESGCM, value: bytes, about: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return _SCHEME + nonce + cipher.encrypt(nonce, value, about)


def _header(people: Sequence[str]) -> bytes:
    """The header: scheme, number of people, and each surrogate with its length; authenticated with the value."""
    names = [surrogate.encode() for surrogate in people]
    return _PEOPLE + bytes([len(names)]) + b"".join(bytes([len(name)]) + name for name in names)


def _people_of(sealed: bytes) -> tuple[bytes, list[str]]:
    """The header of a sealed value, and the surrogates in it."""
    people, at = [], 2
    try:
        for _ in range(sealed[1]):
            size = sealed[at]
            people.append(sealed[at + 1 : at + 1 + size].decode("ascii"))
            at += 1 + size
    except (IndexError, UnicodeDecodeError):
        raise _broken("a sealed value") from None
    if not people or not all(one.isalnum() for one in people) or len(sealed) < at + _NONCE + 16:
        raise _broken("a sealed value")
    return sealed[:at], people


def _cipher(keys: Sequence[PersonKey]) -> AESGCM:
    """The cipher of one person; for several people, a cipher whose key is derived from all their keys."""
    if len(keys) == 1:
        return keys[0].cipher
    return AESGCM(hashlib.sha256(b"".join(key.key for key in keys)).digest())


def _open(cipher: AESGCM, sealed: bytes, about: bytes, what: str) -> bytes:
    if sealed[:1] == _SCHEME and len(sealed) >= 1 + _NONCE + 16:
        try:
            return cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], about)
        except InvalidTag:
            pass
    raise _broken(what)


def _broken(what: str) -> SealBroken:
    return SealBroken(f"{what} cannot be decrypted with this mill's vault key", tip="tidemill status --settings")
