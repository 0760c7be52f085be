"""Start of the supervisor's processes: `python -P -m tidemill.serving.process.start_process TARGET ARGUMENTS`.

TARGET is `module:function`, ARGUMENTS a JSON object of its keyword arguments. A new process (no fork) has none of the
supervisor's threads, locks or open files. It ends with the supervisor, even if that was killed.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

_PR_SET_PDEATHSIG = 1


class ProcessStart(msgspec.Struct, frozen=True):
    """The target of a process: `module:function` and its keyword arguments."""

    target: str
    arguments: dict[str, Any] = {}

    def command(self, **more: Any) -> list[str]:
        """The command line; `more` are further arguments."""
        encoded = msgspec.json.encode(self.arguments | more).decode()
        # -P keeps the working folder off the import path, where a file could shadow a module
        return [sys.executable, "-P", "-m", "tidemill.serving.process.start_process", self.target, encoded]

    def call(self, **more: Any) -> Any:
        """Run it in this process, and return its result."""
        module, _, function = self.target.partition(":")
        return getattr(importlib.import_module(module), function)(**self.arguments, **more)


def end_with_parent(parent: int) -> None:
    """Make the kernel send SIGTERM when the parent dies (Linux only)."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # the parent died before the call
        os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: Sequence[str]) -> None:
    """Run the target."""
    logging.basicConfig(format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s", level=logging.INFO)
    target, encoded = arguments
    values = msgspec.json.decode(encoded, type=dict[str, Any])
    parent = values.pop("parent", None)
    if parent is not None:
        end_with_parent(parent)
    ProcessStart(target, values).call()


if __name__ == "__main__":
    main(sys.argv[1:])
