"""The evaluation protocol that goes with every metric: split, histories, targets, candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["time", "leave-one-out", "random"]
History = Literal["before", "earlier"]
Target = Literal["last", "first", "all"]

_SPLIT = {
    "time": "global time split: train before the split, test at or after it",
    "leave-one-out": "leave-one-out, which leaks the future: the last event of each user is held out, and training "
    "holds events of others that are later",
    "random": "random hold-out: a share of each user's events, for events without times",
}
_HISTORY = {
    "before": "a user's history is every event before the split",
    "earlier": "a user's history is every event before the target, also after the split",
}
_TARGET = {
    "all": "any later item that is not in the history counts",
    "last": "the target is the user's last event, and a repeat is a miss",
    "first": "the target is the user's first later event, and a repeat is a miss",
}
_EACH = "every later event that repeats nothing is a question, and a user's figure is the mean over them"
_REST = (
    "items never trained on are misses; seen items are dropped; the full catalogue is ranked; "
    "events at the same time keep the order of their rows"
)


@dataclass(frozen=True)
class Protocol:
    """How histories and targets are shown to the ranker.

    `history` is `before` (the split) or `earlier` (every event before the target); `target` is `last`, `first` or
    `all` later events.

    >>> Protocol(history="earlier", target="last").words().split("; ")[1]
    "a user's history is every event before the target, also after the split"
    """

    history: History = "before"
    target: Target = "all"
    #: How train and test are split; set by the split itself.
    split: Split = "time"

    def words(self) -> str:
        """The protocol as sentences."""
        each = self.target == "all" and self.history == "earlier"
        return "; ".join((_SPLIT[self.split], _HISTORY[self.history], _EACH if each else _TARGET[self.target], _REST))

    def conventions(self) -> dict[str, str]:
        """The protocol as keywords."""
        return {
            "split": self.split,
            "history": self.history,
            "target": self.target,
            "seen": "dropped",
            "ties": "row number",
        }
