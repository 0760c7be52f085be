"""Live model of one worker: the current predictor, the kill switch, and the hot swap to the next release."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from tidemill.core.errors import BadRequest, NotReady, NotServed, TidemillError, message_of, nearest
from tidemill.core.library_errors import require_error
from tidemill.core.records.deployment import Assignment, Deployment
from tidemill.core.records.release import Release
from tidemill.serving.http.metrics import Counters
from tidemill.serving.http.requests import word
from tidemill.serving.live.kill_switch import WatchedSwitch
from tidemill.serving.live.state_files import WatchedFile

_log = logging.getLogger(__name__)

#: The deployment that workers follow: that of `live.json`, once the supervisor has verified it.
SERVING = "serving.json"
#: Seconds until a release that could not be loaded is tried again: a run may have mended what it reads.
_RETRY_S = 10.0
#: Bytes of the predictions that a model caches for repeats within their slot, and of one without its content.
_REMEMBERED, _ENTRY = 8 << 20, 256


class AnyPredictor(Protocol):
    """The common interface of the predictors of recommenders and of tabular models."""

    release: Release
    #: `for_you@3`.
    name: str
    assignment: Assignment

    def warm_up(self) -> None:
        """Predict without logging; a release that raises here does not go live."""
        ...

    @property
    def views(self) -> Sequence[str]:
        """The views of the store that it caches."""
        ...

    def is_outdated(self, marks: Mapping[str, int]) -> bool:
        """Whether its cached views are older than the store's; `marks` has the current marks of its views."""
        ...

    def reloaded(self) -> AnyPredictor:
        """A predictor of the same release with the store's current content; may be called in another thread."""
        ...


_Predictor = TypeVar("_Predictor")
#: Builds the predictor of a deployment with one arm.
Opener = Callable[[Deployment], AnyPredictor]


class LoadFailure(msgspec.Struct, frozen=True):
    """A release that a worker could not load, and the reason."""

    release: str = ""
    why: str = ""


class CachedAnswer(msgspec.Struct, frozen=True):
    """A recommendation that was sent and logged."""

    body: bytes
    #: The reason for fewer items than requested.
    short: str | None


class LiveModel:
    """Follows a model's deployment and switch, whose signatures `public` verifies.

    `predictor` is `None` until a first release has warmed up.
    """

    def __init__(self, folder: Path, opener: Opener, counters: Counters, public: str) -> None:
        self.name = folder.name
        self._opener = opener
        self._counters = counters
        self._deployment = WatchedFile(folder / SERVING, Deployment, public)
        self._switch = WatchedSwitch(folder, public)
        self._change: asyncio.Task[None] | None = None
        self.predictor: AnyPredictor | None = None
        self.failed: LoadFailure | None = None
        self._retry_at = 0.0
        self.remembered: OrderedDict[str, CachedAnswer | None] = OrderedDict()
        self._remembered_bytes = 0
        self._switch.poll()

    def predictor_as(self, kind: type[_Predictor], otherwise: str, tip: str) -> _Predictor:
        """The predictor, if it is of this kind. Raises `NotReady` without one, else `BadRequest`: what the model is
        `otherwise`, and where to send the request, with `{}` for its name.
        """
        predictor = self.predictor
        if isinstance(predictor, kind):
            return predictor
        if predictor is None:
            raise NotReady(f"the model {self.name!r} has no live release", tip="see GET /healthz for the reason")
        raise BadRequest(f"the model {self.name!r} {otherwise}", tip=tip.format(self.name))

    @property
    def off(self) -> bool:
        """Whether the switch is off."""
        return self._switch.off

    @property
    def release(self) -> str | None:
        """The release that is live in this worker."""
        return self.predictor.name if self.predictor else None

    def start(self) -> None:
        """Load the deployment before the first request; a failure is reported, and other models are still served."""
        watched = self._deployment
        if watched.poll() and watched.content is not None:
            self._finish(self._attempt(watched.content))

    @property
    def views(self) -> Sequence[str]:
        """The views of the store that the current predictor caches."""
        return self.predictor.views if self.predictor else ()

    def poll(self, marks: Mapping[str, int]) -> None:
        """Apply the switch at once; start a swap or a reload in a thread if one is due and none is in progress.

        `marks` are the current marks of `views`; none while the store cannot be read.
        """
        self._switch.poll()
        if self._change is not None:
            return
        watched = self._deployment
        retry = self.failed is not None and time.monotonic() >= self._retry_at
        if (watched.poll() or retry) and watched.content is not None:
            self._change = asyncio.create_task(self._swap(watched.content))
        elif self.predictor is not None and marks.keys() >= set(self.views) and self.predictor.is_outdated(marks):
            self._change = asyncio.create_task(self._reload(self.predictor))

    @property
    def changing(self) -> bool:
        """Whether a swap or a reload is in progress."""
        return self._change is not None

    def remember(self, name: str, answer: CachedAnswer | None = None) -> None:
        """Cache a recommendation for repeats; for a tabular model only its id."""
        if name in self.remembered:
            return
        self.remembered[name] = answer
        self._remembered_bytes += _size(answer)
        while self._remembered_bytes > _REMEMBERED:
            self._remembered_bytes -= _size(self.remembered.popitem(last=False)[1])

    async def _swap(self, deployment: Deployment) -> None:
        try:
            self._finish(await asyncio.to_thread(self._attempt, deployment))
        finally:
            self._change = None

    async def _reload(self, predictor: AnyPredictor) -> None:
        try:
            self._replace(await asyncio.to_thread(_warm, predictor.reloaded))
        except BaseException as error:  # the facts stay unchanged, and the next poll tries again
            require_error(error)
            _log.error("%s: its facts could not be reloaded: %s", self.name, _message(error))
            await asyncio.sleep(1.0)
        finally:
            self._change = None

    def _attempt(self, deployment: Deployment) -> AnyPredictor | LoadFailure:
        try:
            return _warm(lambda: self._opener(deployment))
        except BaseException as error:  # no error of a bundle may stop the worker: the last good release stays live
            require_error(error)
            return LoadFailure(deployment.champion.release.name, _message(error))

    def _finish(self, loaded: AnyPredictor | LoadFailure) -> None:
        if isinstance(loaded, LoadFailure):
            self.failed = loaded
            self._retry_at = time.monotonic() + _RETRY_S
            self._counters.add("swap_failures")
            _log.error("%s could not be loaded: %s", loaded.release, loaded.why)
            return
        self.failed = None
        self._counters.add("swaps")
        self._replace(loaded)

    def _replace(self, predictor: AnyPredictor) -> None:
        self.predictor = predictor
        self.remembered.clear()
        self._remembered_bytes = 0
        gc.unfreeze()
        gc.collect()  # reference cycles of the previous predictor
        gc.freeze()  # a bundle has many long-lived ids: later collections skip them


def _warm(make: Callable[[], AnyPredictor]) -> AnyPredictor:
    predictor = make()
    predictor.warm_up()
    return predictor


def _size(answer: CachedAnswer | None) -> int:
    return _ENTRY + (len(answer.body) if answer is not None else 0)


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, TidemillError) else message_of(error)


def served_model(models: Mapping[str, LiveModel], text: str) -> LiveModel:
    """The model that a path names; `NotServed` for an unknown name."""
    model = models.get(text)
    if model is None:
        raise NotServed(f"no model {word(text, 'model')!r} is served here", tip=nearest(text, models))
    return model
