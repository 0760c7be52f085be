"""Single-threaded numerics: BLAS and OpenMP limited to one thread, whatever the machine's cores and environment.

More threads sum in another order, so that a result would depend on the machine, and on small matrices they wait for
each other: `tm.spectral()` on 100,000 ratings took twice the CPU on two idle cores, and 25 times on two busy ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread in each numeric library that is loaded by now, as a context or a decorator; restored afterwards."""
    with threadpool_limits(1):
        yield
