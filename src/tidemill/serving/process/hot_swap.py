"""Hot swap, the supervisor's side: verify the release once, let the workers load it, report "live" when all serve it.

`live.json` is what the ledger promoted. Its bundles are verified here, byte by byte, and only then does the deployment
that workers follow (`serving.json`) name them. Where a release fails verification or does not load, the last good one
stays live.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from tidemill.core.errors import TidemillError
from tidemill.core.ports import Blobs
from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.deployment import Deployment
from tidemill.release import open_arm, verify_bundle
from tidemill.serving.live.kill_switch import make_room
from tidemill.serving.live.live_model import SERVING
from tidemill.serving.live.state_files import WatchedFile, read_state, write_state
from tidemill.serving.process.worker_site import WorkerReport

_log = logging.getLogger(__name__)

STATE = "state.json"
#: The release that answered before the present one, for a restart that finds the present one damaged.
BEFORE = "before.json"
#: How long workers may take to come up with a release before the one before is put back, seconds.
PATIENCE_S = 45.0

State = Literal["verifying", "swapping", "live", "failed"]


class SwapState(VersionedRecord, frozen=True, kw_only=True):
    """Where the swap to a model's promoted release stands: `<model>/state.json`."""

    KIND: ClassVar[str] = "swap state"
    REQUIRED: ClassVar[tuple[str, ...]] = ("wanted", "state")

    #: The promoted release, and the one that workers answer from or are taking up.
    wanted: str = ""
    serving: str = ""
    state: State = "live"
    why: str = ""


class ModelSwap:
    """Follows one model's `live.json`. `poll` is called some 20 times a second with the monotonic time."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor, blobs: Blobs) -> None:
        self._folder = folder
        self._pool = pool
        self._blobs = blobs
        self._live = WatchedFile(folder / "live.json", Deployment)
        self._serving = read_state(folder / SERVING, Deployment)
        self._good: Deployment | None = None
        self._verifying: Future[_Verification] | None = None
        self._began = 0.0
        self._told: SwapState | None = None

    @property
    def verifying(self) -> bool:
        """Whether a bundle is being read."""
        return self._verifying is not None

    def poll(self, workers: Sequence[WorkerReport], expected: int, now: float) -> None:
        """Go on with whatever step is due. `expected` is how many workers there should be."""
        if self._live.poll() and self._live.content is not None:
            # after a restart nothing on disk is believed: what was served before is read again where it is needed
            others = [] if self._good else [self._serving, read_state(self._folder / BEFORE, Deployment)]
            self._verifying = self._pool.submit(_judge, self._live.content, others, self._blobs)
            self._tell("verifying")
        if self._verifying is not None:
            if not self._verifying.done():
                return
            judged, self._verifying = self._verifying.result(), None
            self._verified(judged, now)
        if self._told is not None and self._told.state == "swapping":
            self._follow(workers, expected, now)

    def _verified(self, judged: _Verification, now: float) -> None:
        wanted = self._live.content
        assert wanted is not None
        if not judged.why:
            self._point(wanted)
            self._began = now
            self._tell("swapping")
            return
        _log.error("%s is not served: %s", _name(wanted), judged.why)
        if self._good is None:
            self._good = judged.substitute
            self._point(judged.substitute)
        self._tell("failed", judged.why)

    def _follow(self, workers: Sequence[WorkerReport], expected: int, now: float) -> None:
        assert self._serving is not None
        model, name = self._serving.model, _name(self._serving)
        failed = [one.failed[model] for one in workers if model in one.failed and one.failed[model].release == name]
        if failed or now - self._began > PATIENCE_S:
            why = failed[0].why if failed else f"not every worker came up with it within {PATIENCE_S:g} s"
            self._put_back(why)
        elif len(workers) >= expected and all(one.live.get(model) == name for one in workers):
            if self._good is not None and self._good != self._serving:
                write_state(self._folder / BEFORE, self._good)
            self._good = self._serving
            self._tell("live")
            _log.info("%s is live in %d workers", name, len(workers))

    def _put_back(self, why: str) -> None:
        assert self._serving is not None
        _log.error("%s is taken back: %s", _name(self._serving), why)
        if self._good is not None and self._good != self._serving:
            self._point(self._good)
        self._tell("failed", why)

    def _point(self, deployment: Deployment | None) -> None:
        """Let the workers follow `deployment`; without one they keep what they have, and new ones come up without."""
        path = self._folder / SERVING
        if deployment is None:
            path.unlink(missing_ok=True)
        elif deployment != read_state(path, Deployment):
            write_state(path, deployment)
        self._serving = deployment

    def _tell(self, state: State, why: str = "") -> None:
        wanted = self._live.content
        said = SwapState(
            wanted=_name(wanted) if wanted else "",
            serving=_name(self._serving) if self._serving else "",
            state=state,
            why=why,
        )
        self._told = said
        write_state(self._folder / STATE, said)


class HotSwaps:
    """The swaps of all models of a server."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self._root = root
        self._blobs = blobs
        self._pool = ThreadPoolExecutor(1, "verify")
        self._models: dict[str, ModelSwap] = {}

    def poll(self, workers: Mapping[int, WorkerReport], expected: int, now: float) -> None:
        """Go on with every model; `workers` is pid -> what it says."""
        for path in self._root.glob("*/live.json"):
            if path.parent.name not in self._models:
                self._models[path.parent.name] = ModelSwap(path.parent, self._pool, self._blobs)
                make_room(path.parent)  # while the disk has some: the switch must work when it has none
        for model in self._models.values():
            model.poll(list(workers.values()), expected, now)

    @property
    def verifying(self) -> bool:
        """Whether any bundle is being read."""
        return any(model.verifying for model in self._models.values())

    def close(self) -> None:
        """Let the verifying thread go."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Verification(msgspec.Struct, frozen=True):
    """Why a release may not be served (empty where it may), and the first of the others that may."""

    why: str
    substitute: Deployment | None = None


def _name(deployment: Deployment) -> str:
    return deployment.champion.release.name


def _judge(wanted: Deployment, others: Sequence[Deployment | None], blobs: Blobs) -> _Verification:
    why = _faults(wanted, blobs)
    if not why:
        return _Verification("")
    known = (other for other in others if other and other != wanted)
    return _Verification(why, next((other for other in known if not _faults(other, blobs)), None))


def _faults(deployment: Deployment, blobs: Blobs) -> str:
    """Why a deployment may not be served; empty where it may."""
    try:
        for arm in deployment.arms:
            pointer = open_arm(deployment, arm, blobs)
            verify_bundle(Path(pointer.bundle), arm.release.bundle)
            if pointer.modules is not None:
                verify_bundle(Path(pointer.modules), arm.release.modules, holds="modules")
    except (TidemillError, OSError) as error:
        return str(error)
    return ""
