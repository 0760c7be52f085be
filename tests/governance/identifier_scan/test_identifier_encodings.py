from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from tidemill.governance.identifier_scan.identifier_encodings import identifier_encodings

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=30)


def found(identifier: str, hay: bytes) -> set[str]:
    return {form for form, needle in identifier_encodings(identifier) if needle in hay}


@given(TEXT, st.binary(max_size=20), st.binary(max_size=20))
def test_base64_is_found_wherever_it_starts(identifier: str, before: bytes, after: bytes) -> None:
    whole = before + identifier.encode() + after
    assert "base64" in found(identifier, base64.b64encode(whole))
    assert "base64" in found(identifier, base64.urlsafe_b64encode(whole))


def test_one_alignment_alone_misses_two_thirds() -> None:
    identifier = "A2VNYWOPJ13AFP"
    naive = base64.b64encode(identifier.encode()).rstrip(b"=")[:-1]  # the wrong variant
    hits = [naive in base64.b64encode(b"x" * before + identifier.encode() + b"y") for before in range(6)]
    assert sum(hits) == 2


@given(TEXT)
def test_every_other_form_is_found(identifier: str) -> None:
    raw = identifier.encode()
    assert "raw" in found(identifier, b"x" + raw + b"y")
    assert "lower" in found(identifier, identifier.lower().encode())
    assert "upper" in found(identifier, identifier.upper().encode())
    assert "hex" in found(identifier, b"x" + raw.hex().encode())
    assert "hex" in found(identifier, raw.hex().upper().encode())
    assert found(identifier, quote(identifier, safe="").encode()) & {"raw", "url"}
    assert "utf-16" in found(identifier, identifier.encode("utf-16-le"))
    for name in ("sha256", "sha1", "md5"):
        digest = hashlib.new(name, raw)
        assert name in found(identifier, digest.digest())
        assert f"{name} hex" in found(identifier, digest.hexdigest().encode())
        assert f"{name} hex" in found(identifier, digest.hexdigest().upper().encode())


def test_what_json_and_urls_escape_is_found() -> None:
    assert "json" in found('Zoë "Z"', b'{"user": "Zo\\u00eb \\"Z\\""}')
    assert "url" in found("zoe z@example.com", b"?user=zoe+z%40example.com&x=1")
    assert "url" in found("zoe z@example.com", b"?user=zoe%20z%40example.com&x=1")


def test_another_identifier_is_not_found() -> None:
    hay = b"\n".join(needle for _, needle in identifier_encodings("B2VNYWOPJ13AFP"))
    assert found("A2VNYWOPJ13AFP", hay) == set()
