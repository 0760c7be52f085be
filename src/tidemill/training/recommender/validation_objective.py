"""The objective of a search over recommenders: the value of settings on validation windows, in any process.

Events are written once as arrays that every process memory-maps; each process rebuilds the windows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.models import Interactions, LearnerSpec
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.training.recommender.validation import ValidationWindow, user_figures, windows_in
from tidemill.training.search.sampled_space import key

F64 = npt.NDArray[np.float64]

#: The setting that names the learner, if there are several.
LEARNER = "learner"


@dataclass
class ValidationObjective:
    """The metric of settings of one of `learners` (by name), reported window by window.

    Pickled without its windows; `write_events` stores the thinned events in `place` for other processes.
    """

    learners: Mapping[str, LearnerSpec]
    place: Path
    windows: list[ValidationWindow] | None = None
    #: Whether the metrics of single users are stored in `place`, for `of_users`.
    of_each: bool = False
    #: Number of training events, on which the settings to try depend.
    n_events: int | None = None
    last: str = ""

    @property
    def has_times(self) -> bool:
        """Whether the events have different times; known where the windows are."""
        return all(window.split.kind != "random" for window in self.windows or ())

    def __call__(self, parameters: Mapping[str, Any], report: Callable[[float], None]) -> float:
        spec = self.settled(parameters)
        if self.windows is None:
            self.windows = windows_in(read_events(self.place))
        if spec.name != self.last:  # cached arrays of another learner are no longer useful
            self.last = spec.name
            for window in self.windows:
                window.kept.clear()
        every = np.zeros(0)
        for window in self.windows:
            found = user_figures(spec, window)
            every = np.concatenate([every, found])
            if self.of_each:
                self.store(parameters, every)
            report(float(found.mean()))
        return float(every.mean())

    def store(self, parameters: Mapping[str, Any], of_users: F64) -> None:
        """Store the metrics of the users so far, whole or not at all: the process may be killed at any time."""
        file = self._file(parameters)
        part = file.with_suffix(".part.npy")
        write_array(part, of_users)
        part.rename(file)

    def settled(self, parameters: Mapping[str, Any]) -> LearnerSpec:
        """The learner with these settings."""
        name = parameters.get(LEARNER, next(iter(self.learners)))
        chosen = {name: value for name, value in parameters.items() if name != LEARNER}
        return self.learners[name].settled(self.n_events, **chosen)

    def of_users(self, parameters: Mapping[str, Any]) -> F64 | None:
        """float64 (n_users): what a trial stored, of a late one for the first windows; `None` if nothing."""
        file = self._file(parameters)
        return open_array(file) if file.exists() else None

    def _file(self, parameters: Mapping[str, Any]) -> Path:
        return self.place / f"users-{sha256(key(parameters).encode()).hexdigest()[:24]}.npy"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"windows": None, "last": ""}


def write_events(events: Interactions, place: Path) -> None:
    """Write events into a folder for other processes."""
    for name in ("user", "item", "time"):
        write_array(place / f"{name}.npy", getattr(events, name))
    (place / "names.json").write_bytes(msgspec.json.encode([list(events.users), list(events.items)]))


def read_events(place: Path) -> Interactions:
    """The events that `write_events` wrote, memory-mapped."""
    users, items = msgspec.json.decode((place / "names.json").read_bytes(), type=tuple[list[str], list[str]])
    return Interactions(users, items, *(open_array(place / f"{name}.npy") for name in ("user", "item", "time")))
