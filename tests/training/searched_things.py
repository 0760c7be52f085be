"""Things to search that other processes can import: known bests, and trials that hang, die, raise or come in steps."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from tidemill.core.duration import duration
from tidemill.core.errors import BackendMissing
from tidemill.core.records.runs import Trial
from tidemill.core.search_space import grid, search
from tidemill.training.recommender.validation_objective import ValidationObjective
from tidemill.training.search.run_search import run_search
from tidemill.training.search.trial_runner import TrialRunner

#: A bowl whose best point is near x = 0.3, n = 12, 40 days and "b".
BOWL = {
    "x": search(0.0, 1.0),
    "n": search(1, 1000, log=True),
    "length": search("7 days", "365 days"),
    "kind": grid("a", "b", "c"),
}


def bowl(parameters: dict[str, Any], report: Any = None) -> float:
    days = duration(parameters["length"]) / duration("1 day")
    off = abs(parameters["x"] - 0.3) + abs(parameters["n"] / 12 - 1) / 10 + abs(days / 40 - 1)
    return -off - (0 if parameters["kind"] == "b" else 1)


def in_steps(parameters: dict[str, Any], report: Any) -> float:
    for step in range(4):
        report(-((parameters["x"] - 0.5) ** 2) + step / 100)
    return -((parameters["x"] - 0.5) ** 2)


def halted(parameters: dict[str, Any], report: Any) -> float:
    """The value of `bowl`; once `HOLD_AT` trials are kept, the search waits to be killed."""
    while len(list(Path(os.environ["KEPT_IN"]).glob("*.json"))) >= int(os.environ["HOLD_AT"]):
        time.sleep(0.01)
    return bowl(parameters)


def hanging(parameters: dict[str, Any], report: Any) -> float:
    """Never looks at the clock, after a first figure."""
    report(0.5)
    while parameters["x"] >= 2:
        time.sleep(0.01)
    return float(parameters["x"])


def begun(parameters: dict[str, Any], report: Any) -> float:
    """Hangs, and leaves a file that says so."""
    (Path(os.environ["KEPT_IN"]) / f"{parameters['x']}.begun").touch()
    return hanging(parameters, report)


class WarmRunner(TrialRunner):
    """Its minutes begin when its processes have loaded the objective, which takes long on a busy machine."""

    def __enter__(self) -> Self:
        started = time.monotonic()
        if self._pool is not None and self._deadline is not None:
            self._pool.warm()
            self._deadline += time.monotonic() - started
        return self


def dying(parameters: dict[str, Any], report: Any) -> float:
    if parameters["x"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if parameters["x"] == 3:
        os._exit(7)
    if parameters["x"] == 4:
        raise ValueError("four is\nnot wanted")
    return float("nan") if parameters["x"] == 5 else float(parameters["x"])


def threads(parameters: dict[str, Any], report: Any) -> float:
    return float(os.environ["OMP_NUM_THREADS"])


@dataclass
class ToldFigures(ValidationObjective):
    """Metrics of learners of mean `told[name]` in two windows; some are slow, or hang before or after the first."""

    told: dict[str, float] = field(default_factory=dict)
    hanging: tuple[str, ...] = ()
    halting: tuple[str, ...] = ()
    #: Seconds that a trial of a learner takes.
    trial_s: dict[str, float] = field(default_factory=dict)

    def __call__(self, parameters: Any, report: Any) -> float:
        name = parameters["learner"]
        time.sleep(self.trial_s.get(name, 0.0))
        while name in self.hanging:
            time.sleep(0.01)
        if name not in self.told:
            raise BackendMissing(f"{name} needs an extra", tip="pip install 'tidemill[learn]'")
        luck = np.random.default_rng(0).random(400)  # what users share cancels in pairs
        every = self.told[name] + luck + np.random.default_rng(list(name.encode())).random(400) / 5
        for n in (200, 400):
            self.store(parameters, every[:n])
            report(float(every[n - 200 : n].mean()))
            while name in self.halting:
                time.sleep(0.01)
        return float(every.mean())


def kept_in(folder: Path) -> list[Trial]:
    """The trials that a search has left in a folder."""
    return [msgspec.json.decode(file.read_bytes(), type=Trial) for file in sorted(folder.glob("*.json"))]


def keeper(folder: Path) -> Any:
    """Keeps each trial in a file of its own, whole or not at all."""

    def keep(trial: Trial) -> None:
        part = folder / f"{trial.number:03}.part"
        part.write_text(trial.json())
        part.rename(folder / f"{trial.number:03}.json")

    return keep


if __name__ == "__main__":  # a search as a process of its own, which the tests kill
    folder, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
    os.environ |= {"KEPT_IN": str(folder), "HOLD_AT": str(asked.pop("hold_at"))}
    space, objective = ({"x": (2, 3)}, begun) if asked.pop("hangs", False) else (BOWL, halted)
    run_search(space, objective, known=kept_in(folder), keep=keeper(folder), **asked)
