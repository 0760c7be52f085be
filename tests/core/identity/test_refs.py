from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import UsageError
from tidemill.core.identity.refs import Ref, RefKind, parse_ref

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
KINDS = st.sampled_from(get_args(RefKind))


@given(KINDS, NAMES, st.one_of(st.just(""), NAMES))
def test_what_is_written_is_read(kind: RefKind, name: str, version: str) -> None:
    assert parse_ref(str(Ref(kind, name, version)), kind) == Ref(kind, name, version)
    assert parse_ref(str(Ref(kind, name, version)).partition(":")[2], kind) == Ref(kind, name, version)


def test_a_mill_may_stand_before_it() -> None:
    assert parse_ref("magazines/release:for_you@3", "release") == Ref("release", "for_you", "3")


NONE = ["", ":", "a@", "a b", "a/b/c", "a@1@2", "release:", "../x", "..", "x@..", "a\nb", "a;b", "for_you@3\n"]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_ref_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a ref"):
        parse_ref(text, "release")


def test_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="is a table, but a release is required"):
        parse_ref("table:ratings@3", "release")
    with pytest.raises(UsageError, match="is a colour"):
        parse_ref("colour:red", "release")
