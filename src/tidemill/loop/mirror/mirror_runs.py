"""Mirror of runs in another tracking system such as MLflow: written after the ledger, never read for decisions.

It runs in a separate process, because its library takes seconds to load and may hang or crash, which must not stop a
training. The next training copies what this one could not.
"""

from __future__ import annotations

import os

from tidemill.core.errors import TidemillError
from tidemill.core.processes.subprocess_job import run_job
from tidemill.core.redaction import redact
from tidemill.loop.mirror.mirror_process import MirrorJob, copy
from tidemill.loop.project.stores import Stores

#: Seconds that a training waits at its end for the copy.
LIMIT_S = 180.0
_LONGEST = 300
#: Disables the library's telemetry.
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
#: Short timeouts for an unavailable server, unless configured otherwise; the next training tries again.
_BRIEF = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


def mirror_runs(stores: Stores, *, limit_s: float = LIMIT_S) -> tuple[str, ...]:
    """Copy every finished run that the mirror lacks; returns a sentence if that failed."""
    if not stores.settings.mirror:
        return ()
    job = MirrorJob(
        mirror=stores.settings.mirror,
        mill=stores.identity.name,
        mill_id=stores.identity.id,
        project=str(stores.project.absolute()),
        ledger=stores.settings.ledger,
        keys=str(stores.settings.keys_folder(stores.identity.id).absolute()),
        lock=str((stores.state / "mirror.lock").absolute()),
    )
    try:
        run_job(copy, job, timeout_s=limit_s, cwd=stores.project, env={**_BRIEF, **os.environ, **_QUIET})
    except TidemillError as error:
        return (_sentence(stores, f"{error.message}; {error.tip}" if error.tip else error.message),)
    return ()


def _sentence(stores: Stores, why: str) -> str:
    why = redact(" ".join(why.split()))
    why = why if len(why) <= _LONGEST else f"{why[:_LONGEST]}…"
    mirror = redact(stores.settings.mirror, whole=True)
    return f"the runs were not copied to {mirror}; the next training tries again: {why}"
