"""Spark jobs of this process: their progress, and their end where an exception ends the wait for them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from tidemill.core.ports import EngineStage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Listener = Callable[[Sequence[EngineStage]], None]
_EVERY_S = 0.5


@contextmanager
def running(session: SparkSession, listener: Listener | None) -> Iterator[None]:
    """Tell `listener` of the active stages while the block runs. If an exception ends it, its jobs are cancelled."""
    tag = f"tidemill-{secrets.token_hex(8)}"
    session.addTag(tag)
    try:
        with _told(session, listener) if listener else nullcontext():
            yield
    except BaseException as error:
        interrupt = _interrupt_behind(error)
        if interrupt is None:
            raise  # Spark itself has ended a job that failed
        session.interruptTag(tag)
        raise interrupt from None
    finally:
        session.removeTag(tag)


def _interrupt_behind(error: BaseException) -> BaseException | None:
    """The error, or the one during which it was raised, that is no failure but the wish to end, such as Ctrl-C: PySpark
    raises that the job was cancelled instead.
    """
    behind: BaseException | None = error
    while behind is not None and isinstance(behind, Exception):
        behind = behind.__context__
    return behind


@contextmanager
def _told(session: SparkSession, listener: Listener) -> Iterator[None]:
    if type(session).__module__.startswith("pyspark.sql.connect"):
        with _told_by_server(session, listener):
            yield
        return
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY_S):
            listener(_active_stages(session.sparkContext))

    watcher = threading.Thread(target=look, name="spark-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextmanager
def _told_by_server(session: Any, listener: Listener) -> Iterator[None]:
    def take(stages: Any, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
        if stages and not done:
            listener([EngineStage(one.stage_id, one.num_tasks, one.num_completed_tasks) for one in stages])

    session.registerProgressHandler(take)
    try:
        yield
    finally:
        session.removeProgressHandler(take)


def _active_stages(context: Any) -> list[EngineStage]:
    tracker, found = context.statusTracker(), []
    for number in tracker.getActiveStageIds():
        stage = tracker.getStageInfo(number)
        if stage is not None:
            found.append(EngineStage(number, stage.numTasks, stage.numCompletedTasks, _rows_read(context, number)))
    return found


def _rows_read(context: Any, stage: int) -> int:
    """Rows that a stage has read; 0 where this version of Spark does not say."""
    try:
        data = context._jsc.sc().statusStore().lastStageAttempt(stage)
        return int(data.inputRecords() + data.shuffleReadRecords())
    except Exception:
        return 0
