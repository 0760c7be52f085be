"""A kept record of another format: older and wider ones are read, newer ones refused, and a stranger is no record."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import FormatTooNew
from tidemill.core.record_format import VersionedRecord, decode_record, format_of, refuse_newer


class Tank(VersionedRecord, frozen=True):
    """As the version before writes it: in gallons, without a number."""

    KIND: ClassVar[str] = ""
    REQUIRED: ClassVar[tuple[str, ...]] = ("name",)

    name: str = ""
    gallons: float = 0.0


class TankInLitres(VersionedRecord, frozen=True):
    """As this version writes it: `litres` instead of `gallons`, and a colour more."""

    KIND: ClassVar[str] = ""
    REQUIRED: ClassVar[tuple[str, ...]] = ("name",)

    format: int = 2
    name: str = ""
    litres: float = 0.0
    colour: str = "grey"

    @classmethod
    def upgrade(cls, fields: dict[str, Any], found: int) -> dict[str, Any]:
        assert found == 1
        return fields | {"litres": 4 * fields.get("gallons", 0.0)}


def test_a_record_says_its_format() -> None:
    assert (format_of(Tank), format_of(TankInLitres)) == (1, 2)
    assert msgspec.json.decode(TankInLitres(name="a").json())["format"] == 2


@pytest.mark.parametrize("number", ["", '"format":1,'])
def test_an_older_form_is_read_as_the_present_one(number: str) -> None:
    old = "{" + number + '"name":"a","gallons":2.0}'
    assert decode_record(old, TankInLitres) == TankInLitres(name="a", litres=8.0)


def test_a_newer_form_is_refused_by_name_and_place() -> None:
    with pytest.raises(FormatTooNew, match=r"in a\.json has format 3, but this version of tidemill reads up to 2"):
        decode_record('{"format":3,"anything":{}}', TankInLitres, "a.json")


def test_a_wider_form_of_the_same_number_is_read() -> None:
    assert decode_record(b'{"name":"a","gallons":2.5,"height":{"m":3}}', Tank) == Tank(name="a", gallons=2.5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"gallons":1.0}', '{"name":1}', '{"name":"a","format":"x"}'])
def test_what_is_no_such_record_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_record(text, Tank)


@pytest.mark.parametrize("text", [b'{"name":"\xe1"}', b'{"name":"a","\xe1":1}'])
def test_text_that_is_not_utf_8_is_no_record_either(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError, match="UTF-8"):
        decode_record(text, Tank, "tank.json")


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_what_is_written_is_read(name: str, litres: float, colour: str) -> None:
    tank = TankInLitres(name=name, litres=litres, colour=colour)
    assert decode_record(tank.json(), TankInLitres) == tank


def test_a_number_that_is_known_is_not_refused() -> None:
    refuse_newer(1, 2, "a store")
    with pytest.raises(FormatTooNew, match="a store has format 3") as refused:
        refuse_newer(3, 2, "a store")
    assert refused.value.code == "TM803" and refused.value.tip
