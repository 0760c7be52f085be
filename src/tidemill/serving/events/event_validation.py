"""Event validation: posted rows checked against the stream's contract, and identifiers replaced by surrogates.

A request has few rows from one caller, so the error names the row and the field, and a request is accepted completely
or not at all. Validation runs before anything is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidemill.core.contract.contract import Contract, ContractColumn
from tidemill.core.errors import BadRequest, nearest
from tidemill.core.kinds import KINDS
from tidemill.core.records.posted_event import CheckedEvent, NamedPerson, Plain
from tidemill.serving.events.local_time import instant
from tidemill.serving.http import requests

_AHEAD_US = 3_600_000_000


class EventValidator:
    """Validates the events of one stream. `surrogate(column, identifier)` comes from the project's keys."""

    def __init__(self, contract: Contract, surrogate: Callable[[str, str], str]) -> None:
        self.contract = contract
        self._surrogate = surrogate
        self._known = {column.name: column for column in contract.columns}

    def validate(
        self, rows: Sequence[dict[str, object]], received_at: int, *, replaying: bool = False
    ) -> list[CheckedEvent]:
        """The valid rows, to be sealed before they are logged; `BadRequest` with row and field, never a value.

        An event more than an hour after `received_at` is refused, because a clock must be wrong; in a replay, where the
        server's clock does not advance, it is accepted.
        """
        valid = []
        for i, row in enumerate(rows):
            try:
                event = self._event(row, received_at)
                if not replaying:
                    self._refuse_future(event)
            except BadRequest as error:
                where = f"row {i}: " if len(rows) > 1 else ""
                raise BadRequest(f"{where}{error.message}", tip=error.tip) from None
            valid.append(event)
        return valid

    def _event(self, row: dict[str, object], received_at: int) -> CheckedEvent:
        for name in row:
            if name not in self._known:
                raise BadRequest(f"{self.contract.name} has no such field", tip=nearest(name, self._known))
        plain: dict[str, Plain] = {}
        people: dict[str, NamedPerson] = {}
        for column in self.contract.columns:
            value = row.get(column.name)
            if column.role == "subject":
                people[column.name] = self._person(column, value)
            elif value is None:
                plain[column.name] = _missing(column)
            else:
                plain[column.name] = _value(column, value)
        return CheckedEvent(received_at=received_at, row=plain, people=people)

    def _person(self, column: ContractColumn, value: object) -> NamedPerson:
        if not isinstance(value, str) or not 0 < len(value) <= 512:
            raise BadRequest(f"`{column.name}` must be text of 1 to 512 characters")
        return NamedPerson(self._surrogate(column.name, value), value)

    def _refuse_future(self, event: CheckedEvent) -> None:
        at = event.row[self.contract.event_time]
        if isinstance(at, int) and at > event.received_at + _AHEAD_US:
            raise BadRequest(
                f"`{self.contract.event_time}` is in the future", tip="check the sender's clock and time zone"
            )


def _missing(column: ContractColumn) -> Plain:
    if not column.optional:
        raise BadRequest(f"`{column.name}` is missing", tip=f"expected {KINDS[column.kind].words}")
    return column.default


def _value(column: ContractColumn, value: object) -> Plain:
    if column.kind == "time":
        return instant(value, column)
    if column.kind == "str":
        if not isinstance(value, str) or (column.role == "item" and not 0 < len(value) <= 512):
            raise _wrong(column)
        return value
    if column.kind == "bool":
        if not isinstance(value, bool):
            raise _wrong(column)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(column)
    if column.kind == "int" and isinstance(value, float) and not value.is_integer():
        raise _wrong(column)
    if not abs(value) < 2**63:
        raise BadRequest(f"`{column.name}` is too large")
    if column.kind == "float" and not requests.is_exact(value):
        raise BadRequest(f"`{column.name}` {requests.INEXACT}")
    if column.kind == "int" and isinstance(value, float) and abs(value) >= 2**53:
        raise BadRequest(f"`{column.name}` may be a rounded integer", tip="send it without a decimal point")
    return _in_range(column, int(value) if column.kind == "int" else float(value))


def _in_range(column: ContractColumn, value: int | float) -> int | float:
    if (column.ge is not None and value < column.ge) or (column.le is not None and value > column.le):
        bounds = f"{'…' if column.ge is None else column.ge} to {'…' if column.le is None else column.le}"
        raise BadRequest(f"`{column.name}` is outside {bounds}")
    return value


def _wrong(column: ContractColumn) -> BadRequest:
    return BadRequest(f"expected {KINDS[column.kind].words} for `{column.name}`")
