"""The design of a single row: one plain function per column, built once, without a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidemill.core.kinds import Kind
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.recipe import CROSS, Encoder, NumberColumn, OneHot, Ordinal, TargetMean
from tidemill.models.tabular.utc_parts import part_of

NAN = float("nan")
Row = Sequence[Any]
#: Maps a row's values, in input order, to one number of its design.
Cell = Callable[[Row], float]


def row_design(fields: Sequence[InputField], encoders: Sequence[Encoder]) -> Callable[[Row], list[float]]:
    """The function from a row's values to its design, a list of floats equal to those of `design_of`.

    Values are in the order of `fields`: missing values `None`, texts str, times int microseconds.
    """
    places = {field.name: place for place, field in enumerate(fields)}
    kinds = {field.name: field.kind for field in fields}
    if all(isinstance(one, NumberColumn) and kinds[one.input] != "time" for one in encoders):
        taken = [places[one.input] for one in encoders if isinstance(one, NumberColumn)]
        return lambda values: [NAN if (value := values[at]) is None else float(value) for at in taken]
    cells = [_cell(encoder, places, kinds) for encoder in encoders]

    def design(values: Row) -> list[float]:
        return [cell(values) for cell in cells]

    return design


def _cell(encoder: Encoder, places: dict[str, int], kinds: dict[str, Any]) -> Cell:
    if isinstance(encoder, TargetMean):
        return _mean(encoder, [(places[name], kinds[name]) for name in encoder.inputs])
    at, kind = places[encoder.input], kinds[encoder.input]
    if isinstance(encoder, NumberColumn):
        return _number(at, kind)
    if isinstance(encoder, Ordinal):
        codes = {text: float(code) for text, code in encoder.codes.items()}
        return _looked_up(at, kind, codes, NAN, NAN)
    if isinstance(encoder, OneHot):
        return _indicator(encoder, at, kind)
    part = encoder.part
    return lambda values: NAN if values[at] is None else float(part_of(values[at], part))


def _number(at: int, kind: Kind) -> Cell:
    if kind == "time":
        return lambda values: NAN if values[at] is None else float(values[at]) / 1e6
    return lambda values: NAN if values[at] is None else float(values[at])


def text_of(kind: Kind) -> Callable[[Any], str]:
    """The conversion of a value of this kind to a key, as in Arrow's cast to string."""
    if kind == "bool":
        return lambda value: "true" if value else "false"
    return str


def _looked_up(at: int, kind: Kind, values_of: dict[str, float], missing: float, other: float) -> Cell:
    get = values_of.get
    if kind == "str":

        def of_text(values: Row) -> float:
            value = values[at]
            return missing if value is None else get(value, other)

        return of_text
    text = text_of(kind)
    return lambda values: missing if values[at] is None else get(text(values[at]), other)


def _indicator(encoder: OneHot, at: int, kind: Kind) -> Cell:
    if encoder.value is None:
        return _looked_up(at, kind, dict.fromkeys(encoder.known, 0.0), 1.0, 1.0)
    return _looked_up(at, kind, {encoder.value: 1.0}, 0.0, 0.0)


def _mean(encoder: TargetMean, places: list[tuple[int, Kind]]) -> Cell:
    get, other = encoder.values.get, encoder.other
    if len(places) == 1:
        return _looked_up(*places[0], encoder.values, get("", other), other)
    texts = [(at, text_of(kind)) for at, kind in places]

    def crossed(values: Row) -> float:
        return get(CROSS.join("" if values[at] is None else text(values[at]) for at, text in texts), other)

    return crossed
