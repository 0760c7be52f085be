"""Gate records: what was checked before a release went live, and with which result."""

from __future__ import annotations

from typing import ClassVar, Literal

from tidemill.core.formatting import count
from tidemill.core.record_format import Record, VersionedRecord

#: `failed` refuses the release. `warning` does not: a person decides.
CheckResult = Literal["passed", "warning", "failed", "not applicable"]


class GateCheck(Record, frozen=True):
    """One check: its name, its result, and the reason in one sentence without a full stop."""

    name: str = ""
    result: CheckResult = "not applicable"
    reason: str = ""


class GateVerdict(VersionedRecord, frozen=True):
    """All checks of a release, in order.

    >>> GateVerdict(checks=(GateCheck(name="bundle", result="passed"), GateCheck(name="baseline"))).summary
    '1 check passed, 1 not applicable'
    """

    KIND: ClassVar[str] = "gate verdict"

    checks: tuple[GateCheck, ...] = ()
    #: Names of the accounts that approved the release; nothing asks for approvals yet.
    approvals: tuple[str, ...] = ()

    def of(self, result: CheckResult) -> tuple[GateCheck, ...]:
        """The checks with this result."""
        return tuple(check for check in self.checks if check.result == result)

    @property
    def summary(self) -> str:
        """The number of checks for each result."""
        found = [
            f"{count(len(self.of('passed')), 'check')} passed",
            count(len(self.of("warning")), "warning"),
            f"{len(self.of('failed'))} failed",
            f"{len(self.of('not applicable'))} not applicable",
        ]
        return ", ".join(one for one in found if not one.startswith("0 ") or one is found[0])
