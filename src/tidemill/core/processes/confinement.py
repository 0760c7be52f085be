"""Confinement of this process by the Linux kernel: no network, no new programs, and files of a few folders only.

Landlock (https://docs.kernel.org/userspace-api/landlock.html) and a network namespace of its own, neither of which
needs root. What the kernel, or a container's seccomp profile, does not allow is named in the result.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES = 38
_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
#: All rights over files by version of Landlock; a newer version has at least those of the last.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP, _SIGNALS_AND_SOCKETS = 0b11, 0b11
_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")
_READABLE = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/opt", *_DEVICES)
#: Bytes of memory, and of one file, that the process may use.
_MEMORY, _FILE = 16 << 30, 4 << 30


def confine(writable: Path, readable: Iterable[Path] = ()) -> tuple[str, ...]:
    """Confine this process, which must have one thread, for good. The result names what is not available here.

    It can write below `writable`, and read also `readable`, the system's libraries, and where Python looks for modules.
    """
    for limit, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_FSIZE, _FILE), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (most if hard < 0 else min(most, hard),) * 2)
    missing = []
    if sys.platform != "linux":
        return ("confinement needs Linux",)
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_USER | _NEW_NET):
        missing.append("the network is not cut off, because user namespaces are not available")
    places = [*map(Path, _READABLE), *map(Path, (sys.prefix, sys.base_prefix)), *map(Path, filter(None, sys.path))]
    if not _landlock(library, writable, [*places, *readable]):
        missing.append("files can be read and written, because Landlock is not available")
    return tuple(missing)


def _landlock(library: ctypes.CDLL, writable: Path, readable: Iterable[Path]) -> bool:
    """Whether access to files could be restricted."""
    version = library.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = _RIGHTS[min(version, 5)]
    numbers = [rights, *([_TCP] if version >= 4 else ()), *([_SIGNALS_AND_SOCKETS] if version >= 6 else ())]
    attributes = (ctypes.c_uint64 * len(numbers))(*numbers)
    rules = library.syscall(_CREATE, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    if rules < 0:
        return False
    try:
        for place in readable:
            _allow(library, rules, place, (_READ_FILE | _READ_DIR) & rights)
        _allow(library, rules, Path("/dev/null"), (_READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL) & rights)
        _allow(library, rules, writable, rights & ~1)  # no right to execute
        library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return not library.syscall(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _allow(library: ctypes.CDLL, rules: int, place: Path, rights: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # missing here
    try:
        if not place.is_dir():
            rights &= _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
        rule = rights.to_bytes(8, sys.byteorder) + descriptor.to_bytes(4, sys.byteorder)
        library.syscall(_ADD, rules, 1, rule, 0)
    finally:
        os.close(descriptor)
