"""Hot swap, the supervisor's side: verify the release once, let the workers load it, report "live" when all serve it.

`live.json` is the promoted deployment. Its signature and its bundles, byte by byte, are verified here, before the
deployment that workers follow (`serving.json`) refers to them. Where a deployment is not signed, is older than the one
served, or its release fails verification or does not load, the last valid one stays live.
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
from tidemill.core.redaction import redact
from tidemill.release import open_arm, verify_bundle
from tidemill.release.live_deployment import LIVE, promoted_models
from tidemill.serving.live.live_model import SERVING
from tidemill.serving.live.state_files import WatchedFile, read_state, write_state
from tidemill.serving.process.worker_site import WorkerReport

_log = logging.getLogger(__name__)

STATE = "state.json"
#: The previous release, used where the current one is found damaged after a restart.
BEFORE = "before.json"
#: How long workers may take to load a release before the previous one is restored, seconds.
PATIENCE_S = 45.0

State = Literal["verifying", "swapping", "live", "failed"]


class SwapState(VersionedRecord, frozen=True, kw_only=True):
    """The state of the swap to a model's promoted release: `<model>/state.json`."""

    KIND: ClassVar[str] = "swap state"
    REQUIRED: ClassVar[tuple[str, ...]] = ("wanted", "state")

    #: The promoted release, and the one that workers serve or are loading.
    wanted: str = ""
    serving: str = ""
    state: State = "live"
    why: str = ""


class ModelSwap:
    """Follows one model's `live.json`. `poll` is called after a change of a state file, with the monotonic time."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor, blobs: Blobs, public: str) -> None:
        self._folder = folder
        self._pool = pool
        self._blobs = blobs
        self._public = public
        self._live = WatchedFile(folder / LIVE, Deployment, public)
        #: Why `live.json` is not followed, as last reported.
        self._problem = ""
        self._serving = read_state(folder / SERVING, Deployment, public)
        self._good: Deployment | None = None
        self._verifying: Future[_Verification] | None = None
        self._started = 0.0
        self._reported: SwapState | None = None

    @property
    def verifying(self) -> bool:
        """Whether a bundle is being read."""
        return self._verifying is not None

    @property
    def busy(self) -> bool:
        """Whether a swap is in progress."""
        return self.verifying or (self._reported is not None and self._reported.state == "swapping")

    def poll(self, workers: Sequence[WorkerReport], expected: int, now: float) -> None:
        """Take the next step of the swap. `expected` is the planned number of workers."""
        changed = self._live.poll()
        if (changed and self._live.content is not None) or self._live.problem != self._problem:
            self._problem = self._live.problem
            # after a restart nothing on disk is trusted: the releases served before are verified again if needed
            before = read_state(self._folder / BEFORE, Deployment, self._public)
            others = [] if self._good else [self._serving, before]
            why = self._problem or _replay(self._live.content, self._good or self._serving)
            self._verifying = self._pool.submit(_verify, self._live.content, others, self._blobs, why)
            self._report("verifying")
        if self._verifying is not None:
            if not self._verifying.done():
                return
            verification, self._verifying = self._verifying.result(), None
            self._start(verification, now)
        if self._reported is not None and self._reported.state == "swapping":
            self._follow(workers, expected, now)
        elif self._reported is not None and self._reported.state == "failed":
            self._mended(workers, expected)

    def _start(self, verification: _Verification, now: float) -> None:
        wanted = self._live.content
        if wanted is not None and not verification.why:
            self._point(wanted)
            self._started = now
            self._report("swapping")
            return
        _log.error("%s is not served: %s", _name(wanted) if wanted else self._folder.name, verification.why)
        if self._good is None:
            self._good = verification.substitute
            self._point(verification.substitute)
        self._report("failed", verification.why)

    def _follow(self, workers: Sequence[WorkerReport], expected: int, now: float) -> None:
        assert self._serving is not None
        model, name = self._serving.model, _name(self._serving)
        failures = [worker.failed[model] for worker in workers if model in worker.failed]
        failed = [failure for failure in failures if failure.release == name]
        if failed or now - self._started > PATIENCE_S:
            self._restore(failed[0].why if failed else f"not every worker loaded it within {PATIENCE_S:g} s")
        elif len(workers) >= expected and all(worker.live.get(model) == name for worker in workers):
            if self._good is not None and self._good != self._serving:
                write_state(self._folder / BEFORE, self._good)
            self._good = self._serving
            self._report("live")
            _log.info("%s is live in %d workers", name, len(workers))

    def _mended(self, workers: Sequence[WorkerReport], expected: int) -> None:
        """Report "live" when the workers have loaded the promoted release after all, for example after a run."""
        wanted, serving = self._live.content, self._serving
        if wanted is None or serving is None or _name(wanted) != _name(serving) or len(workers) < expected:
            return
        if all(worker.live.get(wanted.model) == _name(wanted) and not worker.failed for worker in workers):
            self._good = serving
            self._report("live")

    def _restore(self, why: str) -> None:
        """Return to the last valid release."""
        assert self._serving is not None
        _log.error("%s was withdrawn: %s", _name(self._serving), why)
        if self._good is not None and self._good != self._serving:
            self._point(self._good)
        self._report("failed", why)

    def _point(self, deployment: Deployment | None) -> None:
        """Let the workers load `deployment`; `None`: they keep their release, and new workers load none."""
        path = self._folder / SERVING
        if deployment is None:
            path.unlink(missing_ok=True)
        elif deployment != read_state(path, Deployment, self._public):
            write_state(path, deployment)
        self._serving = deployment

    def _report(self, state: State, why: str = "") -> None:
        wanted = self._live.content
        report = SwapState(
            wanted=_name(wanted) if wanted else "",
            serving=_name(self._serving) if self._serving else "",
            state=state,
            why=why,
        )
        self._reported = report
        write_state(self._folder / STATE, report)


class HotSwaps:
    """The swaps of all models of a server."""

    def __init__(self, root: Path, blobs: Blobs, public: str) -> None:
        self._root = root
        self._blobs = blobs
        self._public = public
        self._pool = ThreadPoolExecutor(1, "verify")
        self._models: dict[str, ModelSwap] = {}

    def poll(self, workers: Mapping[int, WorkerReport], expected: int, now: float) -> None:
        """Take the next step of every model; `workers` is pid -> its report."""
        for name in promoted_models(self._root):
            if name not in self._models:
                self._models[name] = ModelSwap(self._root / name, self._pool, self._blobs, self._public)
        for model in self._models.values():
            model.poll(list(workers.values()), expected, now)

    @property
    def verifying(self) -> bool:
        """Whether any bundle is being read."""
        return any(model.verifying for model in self._models.values())

    @property
    def busy(self) -> bool:
        """Whether a bundle is being read, or workers are loading a release."""
        return any(model.busy for model in self._models.values())

    def folders(self) -> list[Path]:
        """The folders whose files it follows."""
        return [self._root, *(self._root / name for name in self._models)]

    def close(self) -> None:
        """Stop the verification thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Verification(msgspec.Struct, frozen=True):
    """Why a release may not be served (empty if it may), and the first valid alternative."""

    why: str
    substitute: Deployment | None = None


def _name(deployment: Deployment) -> str:
    return deployment.champion.release.name


def _replay(wanted: Deployment | None, served: Deployment | None) -> str:
    """Why a signed deployment is an older one that was copied back; empty if it is not."""
    if wanted is None or served is None or wanted.entry >= served.entry:
        return ""
    return (
        f"the pointer has entry {wanted.entry} of the ledger, but {_name(served)}, which is served, has "
        f"entry {served.entry}: an older pointer was copied back"
    )


def _verify(wanted: Deployment | None, others: Sequence[Deployment | None], blobs: Blobs, why: str) -> _Verification:
    """Verify the bundles of `wanted`, unless there is a reason `why` it is not served."""
    if wanted is not None and not why:
        why = _faults(wanted, blobs)
    if not why:
        return _Verification("")
    known = (other for other in others if other)
    return _Verification(why, next((other for other in known if not _faults(other, blobs)), None))


def _faults(deployment: Deployment, blobs: Blobs) -> str:
    """Why a deployment may not be served; empty if it may."""
    try:
        for arm in deployment.arms:
            pointer = open_arm(deployment, arm, blobs)
            verify_bundle(Path(pointer.bundle), arm.release.bundle)
            if pointer.modules is not None:
                verify_bundle(Path(pointer.modules), arm.release.modules, holds="modules")
    except (TidemillError, OSError) as error:
        return redact(str(error))
    return ""
