"""The port `engine`: where table functions run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

    from tidemill.core.ports.tables import FileStager, StagedFile

Task = TypeVar("Task")


@dataclass(frozen=True)
class PersistedFrame:
    """A frame that was evaluated once and is kept outside of memory."""

    frame: nw.LazyFrame[Any]
    #: Number of rows.
    rows: int


@dataclass(frozen=True)
class EngineStage:
    """The progress of one stage of an evaluation."""

    number: int
    tasks: int
    tasks_done: int
    #: Rows read so far; 0 if the engine does not count them.
    rows: int = 0


class Engine(Protocol):
    """Query engine: evaluates table functions over Narwhals lazy frames."""

    name: str
    #: Whether frames are evaluated in this process, within its memory.
    in_process: bool

    def scan(
        self, files: Sequence[str], schema: pa.Schema, origin: str | None = None, *, evolved: bool = False
    ) -> nw.LazyFrame[Any]:
        """A lazy frame over Parquet files; without files, an empty frame with this schema.

        `origin` names an additional column that holds the path of each row's file. `evolved` files may differ from the
        schema: missing columns are null, others are left out, narrower numbers are widened, and times are converted to
        UTC, those without a zone unchanged. `origin` then holds the paths exactly as they are in `files`.
        """
        ...

    def frame(self, rows: pa.Table) -> nw.LazyFrame[Any]:
        """A lazy frame over rows in memory."""
        ...

    def sql(self, query: str, frames: Mapping[str, nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        """The result of a SELECT, without a semicolon, over this engine's frames by their names in it.

        Nulls come first where the order rises; times are UTC; a decimal number is an integer if its type has no
        fraction, else a float. Raises `BackendMissing` without the engine's SQL library.
        """
        ...

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        """Evaluate a frame. The result has the same Arrow types with every engine.

        Text is `string`, every integer `int64`, every float `float64`, and a time `timestamp[us, UTC]`.
        """
        ...

    def watch(self, listener: Callable[[Sequence[EngineStage]], None] | None) -> None:
        """Call `listener` about twice a second with the active stages while an evaluation runs on another machine or in
        another process, from a thread of its own; `None` stops that. An engine in this process never calls it.

        An evaluation that an exception ends, such as Ctrl-C, is stopped where it runs.
        """
        ...

    def persist(self, frame: nw.LazyFrame[Any], schema: pa.Schema) -> AbstractContextManager[PersistedFrame]:
        """Evaluate a frame once and keep its rows on disk until the `with` block ends. It has the columns of `schema`,
        cast to its types. Raises an error if a value does not fit.
        """
        ...

    def read(
        self, tasks: Sequence[Task], reader: Callable[[Task], Iterable[pa.Table]], schema: pa.Schema
    ) -> AbstractContextManager[PersistedFrame]:
        """The rows that `reader` yields for each task, with `schema`, kept on disk until the `with` block ends.

        `reader` and the tasks are pickled, and called by the engine's workers. A task may be read again, so the same
        task must have the same rows. Rows have the types of `schema`.
        """
        ...

    def map_rows(
        self, frame: nw.LazyFrame[Any], apply: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> nw.LazyFrame[Any]:
        """A frame of the rows that `apply` returns for batches of rows, with `schema`. `apply` is pickled, and gets
        rows in the Arrow types of `collect`; which rows are in one batch is up to the engine.
        """
        ...

    def stage(self, frame: nw.LazyFrame[Any], stager: FileStager) -> list[StagedFile]:
        """Evaluate a frame and write its rows as data files where the rows are. Only the files' entries come back."""
        ...

    def cogroup(
        self,
        left: nw.LazyFrame[Any],
        right: nw.LazyFrame[Any],
        by: Sequence[str],
        parts: int,
        apply: Callable[[pa.Table, pa.Table], bytes],
    ) -> list[bytes]:
        """Split the rows of two frames into `parts` parts by a hash of the columns `by`, which have the same types in
        both, and call `apply` with the rows of each part, in the Arrow types of `collect`. Return the results in
        any order; a part without rows has none.

        Rows of both frames with equal values in `by`, also missing ones, are in one part. `apply` runs where the rows
        are: it is pickled, and may run again for a part of which the result was lost.
        """
        ...

    def map_parts(
        self,
        frames: Sequence[nw.LazyFrame[Any]],
        by: Sequence[str],
        parts: int,
        apply: Callable[..., pa.Table],
        schema: pa.Schema,
    ) -> nw.LazyFrame[Any]:
        """A frame of the rows that `apply`, as in `cogroup`, returns for the rows of each part of one frame or of two,
        with `schema`. It is evaluated with the frame.
        """
        ...

    def batches(self, frame: nw.LazyFrame[Any]) -> Iterator[pa.Table]:
        """Evaluate a frame and return its rows in the types of `collect`, in tables of at most 131,072, so that they
        need not fit in memory together. There is no table without rows.
        """
        ...
