"""Filter of the Runs page: by model, kind, state, tag and text, with the metric by which runs are sorted."""

from __future__ import annotations

from typing import get_args
from urllib.parse import urlencode

import msgspec

from tidemill.console.formatting import parameter
from tidemill.core.errors import BadRequest, nearest
from tidemill.core.flatten import flatten
from tidemill.core.record_format import Record
from tidemill.core.records.runs import Run

#: The kinds and the states of runs.
KINDS, STATES = (
    get_args(next(one.type for one in msgspec.structs.fields(Run) if one.name == name)) for name in ("kind", "state")
)
#: Maximum length of a text to search for.
LONGEST = 200


class RunFilter(Record, frozen=True):
    """Which runs are listed, and by which metric they are sorted, best first; empty: all, newest first."""

    model: str = ""
    kind: str = ""
    state: str = ""
    tag: str = ""
    #: Words that must all occur in the name, learner, tags, notes, settings or reason of failure.
    text: str = ""
    sort: str = ""

    def address(self, page: str = "/runs", **changes: str) -> str:
        """The URL of the page with this filter, and with changes of it.

        >>> RunFilter(model="for_you", kind="train").address(kind="", text="a b")
        '/runs?model=for_you&text=a+b'
        """
        given = {name: value for name, value in (msgspec.structs.asdict(self) | changes).items() if value}
        return f"{page}?{urlencode(given)}" if given else page

    def check(self) -> None:
        """Raise `BadRequest` for an unknown kind or state, and for a text that is too long."""
        for name, known in (("kind", KINDS), ("state", STATES)):
            if (value := getattr(self, name)) and value not in known:
                raise BadRequest(f"there is no {name} of run {value!r}; {nearest(value, known)}")
        if len(self.text) > LONGEST:
            raise BadRequest(f"a text to search for has at most {LONGEST} characters")

    def chooses(self, run: Run) -> bool:
        """Whether a run is listed."""
        exact = ((self.model, run.model), (self.kind, run.kind), (self.state, run.state))
        if any(wanted and wanted != found for wanted, found in exact) or (self.tag and self.tag not in run.tags):
            return False
        # Refreshes may come daily and train nothing: they would hide the other runs.
        if run.kind == "refresh" and run.state == "finished" and not self.kind:
            return False
        return all(word in _text(run) for word in self.text.casefold().split())


def _text(run: Run) -> str:
    said = (run.name, run.kind, run.state, run.learner, *run.tags, *run.notes, run.says, run.commit or "")
    return "\n".join((*said, *(f"{name}={value}" for name, value in settings(run).items()))).casefold()


def settings(run: Run) -> dict[str, str]:
    """The parameters of a run as text, nested ones by path."""
    return {name: parameter(value) for name, value in flatten(run.parameters).items() if value not in (None, [], ())}
