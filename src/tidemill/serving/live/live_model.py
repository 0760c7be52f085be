"""Live model of one worker: the current predictor, the kill switch, and the hot swap to the next release."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tidemill.core.errors import TidemillError
from tidemill.core.records.deployment import Assignment, Deployment
from tidemill.core.records.release import Release
from tidemill.serving.http.metrics import Counters
from tidemill.serving.live.kill_switch import WatchedSwitch
from tidemill.serving.live.state_files import WatchedFile

_log = logging.getLogger(__name__)

#: The deployment that workers follow: what `live.json` names, once the supervisor has verified it.
SERVING = "serving.json"
#: Answers kept for repeats within their slot.
_REMEMBERED = 4_096


class AnyPredictor(Protocol):
    """What a worker follows of a recommender's and of a tabular model's predictor alike."""

    release: Release
    #: `for_you@3`.
    name: str
    assignment: Assignment

    def warm_up(self) -> None:
        """Answer for nobody; what raises here does not go live."""
        ...

    @property
    def views(self) -> Sequence[str]:
        """The views of the store that it keeps something of."""
        ...

    def is_outdated(self, marks: Mapping[str, int]) -> bool:
        """Whether what it keeps of the store is no longer what the store has; `marks` has those of its views."""
        ...

    def reloaded(self) -> AnyPredictor:
        """One of the same release on the store as it is now; may be made in another thread."""
        ...


#: Makes the predictor of a deployment of one arm.
Opener = Callable[[Deployment], AnyPredictor]


class LoadFailure(msgspec.Struct, frozen=True):
    """A release that a worker could not take up, and why."""

    release: str = ""
    why: str = ""


class LiveModel:
    """Follows a model's deployment and switch. `predictor` is `None` until a first release has warmed up."""

    def __init__(self, folder: Path, opener: Opener, counters: Counters) -> None:
        self.name = folder.name
        self._opener = opener
        self._counters = counters
        self._deployment = WatchedFile(folder / SERVING, Deployment)
        self._switch = WatchedSwitch(folder)
        self._change: asyncio.Task[None] | None = None
        self.predictor: AnyPredictor | None = None
        self.failed: LoadFailure | None = None
        self.remembered: OrderedDict[str, Any] = OrderedDict()
        self._switch.poll()

    @property
    def off(self) -> bool:
        """Whether the switch is off."""
        return self._switch.off

    @property
    def release(self) -> str | None:
        """The release that answers now."""
        return self.predictor.name if self.predictor else None

    def start(self) -> None:
        """Open what is deployed before the first request; a failure is told, and the worker serves the rest."""
        found = self._deployment
        if found.poll() and found.content is not None:
            self._take(self._attempt(found.content))

    @property
    def views(self) -> Sequence[str]:
        """The views of the store that the present predictor keeps something of."""
        return self.predictor.views if self.predictor else ()

    def poll(self, marks: Mapping[str, int]) -> None:
        """Heed the switch at once; begin a swap or a refresh in a thread if one is due and none is under way.

        `marks` are the present marks of `views`.
        """
        self._switch.poll()
        if self._change is not None:
            return
        found = self._deployment
        if found.poll() and found.content is not None:
            self._change = asyncio.create_task(self._swap(found.content))
        elif self.predictor is not None and self.predictor.is_outdated(marks):
            self._change = asyncio.create_task(self._refresh(self.predictor))

    def remember(self, name: str, answer: Any) -> None:
        """Keep an answer for repeats, or of a tabular model that there was one."""
        self.remembered[name] = answer
        if len(self.remembered) > _REMEMBERED:
            self.remembered.popitem(last=False)

    async def _swap(self, deployment: Deployment) -> None:
        try:
            self._take(await asyncio.to_thread(self._attempt, deployment))
        finally:
            self._change = None

    async def _refresh(self, predictor: AnyPredictor) -> None:
        try:
            self._put(await asyncio.to_thread(_warm, predictor.reloaded))
        except Exception as error:  # the facts stay as they were, and the next look tries again
            _log.error("%s: its facts could not be read again: %s", self.name, _said(error))
            await asyncio.sleep(1.0)
        finally:
            self._change = None

    def _attempt(self, deployment: Deployment) -> AnyPredictor | LoadFailure:
        try:
            return _warm(lambda: self._opener(deployment))
        except Exception as error:  # whatever a bundle does when it is opened, the last good release keeps serving
            return LoadFailure(deployment.champion.release.name, _said(error))

    def _take(self, found: AnyPredictor | LoadFailure) -> None:
        if isinstance(found, LoadFailure):
            self.failed = found
            self._counters.add("swap_failures")
            _log.error("%s does not come up: %s", found.release, found.why)
            return
        self.failed = None
        self._counters.add("swaps")
        self._put(found)

    def _put(self, predictor: AnyPredictor) -> None:
        self.predictor = predictor
        self.remembered.clear()
        gc.unfreeze()
        gc.collect()  # what the predictor before left in cycles
        gc.freeze()  # a bundle's ids are many and stay: no later collection walks them


def _warm(make: Callable[[], AnyPredictor]) -> AnyPredictor:
    made = make()
    made.warm_up()
    return made


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, TidemillError) else f"{type(error).__name__}: {error}"
