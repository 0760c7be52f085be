"""Deadline of ONNX runs: a graph that does not end in time, such as an endless `Loop`, is stopped at its next operator.

ONNX Runtime looks at `RunOptions.terminate` before each operator, also in subgraphs. One thread per process sets it; it
sleeps while nothing runs.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from tidemill.core.errors import AnswerFailed

#: Seconds for a run, and for each of its rows.
LIMIT_S, ROW_S = 5.0, 0.05
#: Seconds for a run, for so many seconds after one of the same graph was stopped: requests may repeat what took long.
_NEXT_LIMIT_S, _NEXT_S = 1.0, 60.0
#: Seconds between two looks at the runs in progress.
_LOOK_S = 0.25


class _Watchdog:
    """The runs in progress, by the id of their options, each with its deadline."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)  # a fork has no thread of its parent

    def reset(self) -> None:
        """Without runs and without a thread."""
        self.runs: dict[int, tuple[Any, float]] = {}
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Look at the runs until there are none."""
        if not self._busy.is_set():
            self._busy.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="onnx-deadline", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while self._busy.wait():
            time.sleep(_LOOK_S)
            now = time.monotonic()
            for options, deadline in list(self.runs.values()):
                if now > deadline:
                    options.terminate = True
            self._busy.clear()
            if self.runs:
                self._busy.set()


_watchdog = _Watchdog()


class OnnxSession:
    """ONNX Runtime's session, whose runs end."""

    def __init__(self, session: Any, options: Any) -> None:
        self._session, self._options = session, options
        self._stopped = -_NEXT_S
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs

    def run(self, outputs: list[str], fed: dict[str, Any], n: int = 1) -> list[Any]:
        """The outputs for `n` rows. Raises `AnswerFailed` where they take too long."""
        options, watchdog, now = self._options(), _watchdog, time.monotonic()
        limit_s = (LIMIT_S if now - self._stopped > _NEXT_S else _NEXT_LIMIT_S) + ROW_S * n
        watchdog.runs[id(options)] = options, now + limit_s
        watchdog.wake()
        try:
            found: list[Any] = self._session.run(outputs, fed, options)
        except Exception as error:
            if not options.terminate:
                raise
            self._stopped = time.monotonic()
            raise AnswerFailed(f"the ONNX graph did not end within {limit_s:.3g} s") from error
        finally:
            del watchdog.runs[id(options)]
        return found
