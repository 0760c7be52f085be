"""Fuzzer of bytes: a target of `fuzz_targets` on changed samples, guided by coverage where atheris is installed.

python tests/fuzz/byte_fuzzer.py infer --seconds 60
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parent.parent
#: Seconds that one input may take, and bytes of memory that the process may use beyond those of the samples.
SLOW_S, MEMORY = 5.0, 1 << 30
_NUMBERS = [b"\0", b"\xff" * 4, b"\xff" * 8, b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\0" * 8]
_TEXTS = [
    b"[" * 2_000, b'{"a":' * 2_000, b"1e999", b"-1", b"null", b"true", b"NaN", b'""', b"[]", b"{}", b"9" * 30,
    b"9" * 5_000, b'"\\ud800"', b"\xc3", b"0.5", b"2", b"../..", b"\0", b" ", b"\n", "\u0661".encode(),
]  # fmt: skip


def changed(sample: bytes, draw: random.Random) -> bytes:
    """A sample with one to four changes."""
    content = bytearray(sample)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(content) + 1)
        size = draw.choice((1, 1, 2, 4, 8, 64))
        kind = draw.randrange(7)
        if kind == 0 and content:
            content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[at : at + size] = draw.randbytes(size)
        elif kind == 2:
            del content[at : at + size]
        elif kind == 3:
            content[at:at] = content[draw.randrange(len(content) + 1) :][:size]
        elif kind == 4:
            content[at : at + size] = draw.choice(_NUMBERS)
        elif kind == 5:
            content[at : at + draw.choice((0, size))] = draw.choice(_TEXTS)
        else:
            del content[at:]
    return bytes(content)


def changes(samples: list[bytes], seed: int) -> Iterator[bytes]:
    """Changed samples without end, the same for a seed."""
    draw = random.Random(seed)
    while True:
        yield changed(draw.choice(samples), draw)


def judged(read: Callable[[bytes], object], refused: type[Exception]) -> Callable[[bytes], None]:
    """`read`, which may raise only `refused`, and must end in time."""

    def judge(content: bytes) -> None:
        begun = time.process_time()
        with suppress(refused):
            read(content)
        took = time.process_time() - begun
        assert took < SLOW_S, f"it took {took:.1f} CPU seconds"

    return judge


def main() -> int:
    """Fuzz one target; the status is 1 if something was found, with the input in a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder of the inputs that failed")
    given = parser.parse_args()
    sys.path += [str(_TESTS / name) for name in ("fuzz", "models", "training", "serving")]
    faulthandler.enable()
    atheris: Any = None
    with suppress(ImportError):
        import atheris  # type: ignore[import-not-found,no-redef]
    if atheris is None:
        import fuzz_targets
    else:
        with atheris.instrument_imports(include=["tidemill"]):
            import fuzz_targets
    from tidemill.core.errors import TidemillError

    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    target = fuzz_targets.TARGETS[given.target](folder)
    judge = judged(target.read, TidemillError)
    for sample in target.samples:
        judge(sample)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found: dict[str, bytes] = {}
    n, end = 0, time.monotonic() + given.seconds
    last = given.keep / f"{given.target.replace('/', '-')}.last"
    given.keep.mkdir(parents=True, exist_ok=True)

    def one(content: bytes) -> None:
        nonlocal n, grown
        n += 1
        last.write_bytes(content)  # what a crash of the process leaves
        try:
            judge(content)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if peak > grown + MEMORY:
                grown = peak
                raise MemoryError(f"the process has used {peak / 1e9:.1f} GB")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            name = f"{type(error).__name__} {Path(where.filename).name}:{where.lineno}"
            if name not in found:
                found[name] = content
                (given.keep / f"{given.target} {name}".replace("/", "-").replace(" ", "_")).write_bytes(content)
                print(f"FOUND {given.target}: {name}: {str(error)[:300]}", flush=True)

    def report() -> int:
        guided = "guided by coverage" if atheris else "not guided"
        print(
            f"{given.target}: {n:,} executions in {given.seconds:.0f} s ({guided}), {len(found)} findings", flush=True
        )
        last.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return 1 if found else 0

    if atheris is None:
        for content in changes(target.samples, given.seed):
            if time.monotonic() > end:
                return report()
            one(content)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, sample in enumerate(target.samples):
        (corpus / str(number)).write_bytes(sample)
    draw = random.Random(given.seed)

    def mutate(content: bytes, size: int, seed: int) -> bytes:
        draw.seed(seed)
        if draw.random() < 0.5:
            return atheris.Mutate(content, size)
        return changed(content or draw.choice(target.samples), draw)[:size]

    def stopping(content: bytes) -> None:
        if time.monotonic() > end:
            report()
            import os

            os._exit(1 if found else 0)
        one(content)

    longest = 4 * max(len(sample) for sample in target.samples) + 20_000
    words = [sys.argv[0], str(corpus), f"-max_len={longest}", "-rss_limit_mb=3000", "-timeout=60", "-verbosity=0",
             f"-seed={given.seed}"]  # fmt: skip
    atheris.Setup(words, stopping, custom_mutator=mutate)
    atheris.Fuzz()
    return report()


if __name__ == "__main__":
    sys.exit(main())
