"""Start of a process by name: `python -P -m tidemill.core.processes.start_process TARGET ARGUMENTS`.

TARGET is `module:function`, ARGUMENTS a JSON object of its keyword arguments. A new process (no fork) has none of its
parent's threads, locks or open files. With the argument `parent` it ends with that process, even if that was killed.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill.core.redaction import log_to_stderr
from tidemill.core.storage.durable_files import create_private_files

_PR_SET_PDEATHSIG = 1


class ProcessStart(msgspec.Struct, frozen=True):
    """The target of a process: `module:function` and its keyword arguments."""

    target: str
    arguments: dict[str, Any] = {}

    def command(self, **more: Any) -> list[str]:
        """The command line; `more` are further arguments."""
        encoded = msgspec.json.encode(self.arguments | more).decode()
        # -P keeps the working folder off the import path, where a file could shadow a module
        return [sys.executable, "-P", "-m", "tidemill.core.processes.start_process", self.target, encoded]

    def call(self, **more: Any) -> Any:
        """Run it in this process, and return its result."""
        return function_of(self.target)(**self.arguments, **more)


def function_of(target: str) -> Any:
    """The function that `module:function` names."""
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)


def end_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Make the kernel send this signal when the parent, or its thread that started the process, ends (Linux only)."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # the parent died before the call
        os.kill(os.getpid(), number)


def main(arguments: Sequence[str]) -> None:
    """Run the target."""
    log_to_stderr("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s")
    create_private_files()
    target, encoded = arguments
    values = msgspec.json.decode(encoded, type=dict[str, Any])
    parent = values.pop("parent", None)
    if parent is not None:
        end_with_parent(parent)
    ProcessStart(target, values).call()


if __name__ == "__main__":
    main(sys.argv[1:])
