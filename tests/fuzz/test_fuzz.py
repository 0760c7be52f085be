"""Changed bytes of every kind of file and request are refused with a code, or read, and in time."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest
from byte_fuzzer import changes, judged

pytest.importorskip("lightgbm")
pytest.importorskip("faiss")
pytest.importorskip("onnxruntime")

from fuzz_targets import TARGETS, FuzzTarget

from tidemill.core.errors import TidemillError

EXECUTIONS = 40


def always(target: FuzzTarget) -> list[bytes]:
    """What parsers stumble over: nothing, other encodings, deep nesting, in the place of a sample and within it."""
    sample = target.samples[0]
    places = [len(sample) // 2, *(found.end() for found in islice(re.finditer(rb'[:\[] ?"|"', sample), 4))]
    inside = [b"\xff", b"\0", b"[" * 100_000, b"9" * 5_000]
    outside = [b"", b"\n", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{\0}\0", b"null", b"[]", b"{}"]
    return [*outside, *(sample[:at] + one + sample[at:] for one in inside for at in places)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_changed_bytes_are_refused_or_read(name: str, tmp_path: Path) -> None:
    target = TARGETS[name](tmp_path)
    read = judged(target.read, TidemillError)
    for content in [*target.samples, *always(target), *islice(changes(target.samples, seed=1), EXECUTIONS)]:
        read(content)


def test_another_error_is_a_finding() -> None:
    def read(content: bytes) -> None:
        if content != b"sample":
            raise IndexError

    found = judged(read, TidemillError)
    found(b"sample")
    with pytest.raises(IndexError):
        for content in islice(changes([b"sample"], seed=1), 100):
            found(content)
