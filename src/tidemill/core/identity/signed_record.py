"""Signed record: a record in a file that carries a signature by the ledger's key, verified before the file is followed.

The signature (Ed25519, RFC 8032) covers the record's type, what it is about (the model) and every field of the file,
also those that a newer version wrote. So a file that was edited, damaged, or copied from another model is refused.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from tidemill.core.errors import SignatureInvalid
from tidemill.core.identity.keys import Keys, signed_by
from tidemill.core.record_format import SignedRecord, decode_json, decode_record

Kind = TypeVar("Kind", bound=SignedRecord)


def sign_record(record: Kind, keys: Keys, about: str) -> Kind:
    """The record with its signature for `about`."""
    fields = msgspec.json.decode(msgspec.json.encode(record), type=dict[str, Any])
    return msgspec.structs.replace(record, signature=keys.sign(_message(type(record), fields, about)).hex())


def decode_signed(body: bytes, kind: type[Kind], public: str, about: str, where: str = "") -> Kind:
    """Decode a signed record about `about` from JSON; `public` is the ledger's public key in hex.

    Raises `SignatureInvalid` unless its signature fits, `FormatTooNew`, and `msgspec.DecodeError` if the text is not a
    record of this type.
    """
    fields = decode_json(body, dict[str, Any])  # once: of a repeated key, all see the same value
    record = decode_record(msgspec.json.encode(fields), kind, where)
    if not is_signed(fields, kind, public, about):
        raise SignatureInvalid(
            f"{where or f'a {kind.KIND}'} is not signed with this project's key: it was changed, or is too old",
            tip="`tidemill run` and `tidemill serve` write it again from the ledger",
        )
    return record


def is_signed(fields: dict[str, Any], kind: type[SignedRecord], public: str, about: str) -> bool:
    """Whether the signature of a record, given as the fields of its JSON, fits."""
    try:
        signature = bytes.fromhex(fields.get("signature", ""))
    except (TypeError, ValueError):
        return False
    return signed_by(public, _message(kind, fields, about), signature)


def _message(kind: type[SignedRecord], fields: dict[str, Any], about: str) -> bytes:
    signed = {name: value for name, value in fields.items() if name != "signature"}
    content = msgspec.json.encode([kind.KIND, about, signed], order="sorted")
    return b"tidemill signed record " + content
