"""Exact running sums: adding values and removing them again restores the same sum.

Plain floating-point sums drift: 1e16 + 1 - 1e16 is 0. Here a number is stored in fixed point as three integers of
40 bits each below the largest one of the column, and these are added as int64, which wraps round but never rounds.
So a sum is exact for numbers within a factor of 2**67 of the largest, is rounded only at the end, and does not depend
on the order of rows. (A small fixed-point accumulator after Kulisch, "Computer Arithmetic and Validity", 2013.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PARTS = 3
Parts = list[NDArray[np.int64]]


def fixed_parts(values: NDArray[np.float64]) -> tuple[Parts, int, int]:
    """Three int64 arrays (n,), an exponent e and a number of bits b, so that any sum of the values fits.

    A value is 2**e * (p0 * 2**-b + p1 * 2**-2b + p2 * 2**-3b); `values` are finite. Beyond 2**22 values, b is below 40.
    """
    largest = float(np.abs(values).max(initial=0.0))
    exponent = int(np.frexp(largest)[1])
    bits = min(40, 62 - len(values).bit_length())
    rest = np.ldexp(values, -exponent)  # (n,), at most 1; exact
    parts = []
    for _ in range(_PARTS):
        rest = np.ldexp(rest, bits)
        whole = np.rint(rest)
        parts.append(whole.astype(np.int64))
        rest = rest - whole
    return parts, exponent, bits


def from_parts(parts: Parts, exponent: int, bits: int) -> NDArray[np.float64]:
    """The numbers that sums of parts represent, float64 (n,).

    >>> parts, exponent, bits = fixed_parts(np.array([1e16, 1.0, -1e16]))
    >>> float(from_parts([part.sum(keepdims=True) for part in parts], exponent, bits)[0])
    1.0
    """
    whole = [part.copy() for part in parts]
    for place in range(len(whole) - 1, 0, -1):  # carry, so that parts do not cancel each other after rounding
        carry = (whole[place] + (1 << (bits - 1))) >> bits
        whole[place] -= carry << bits
        whole[place - 1] += carry
    total = np.zeros(len(whole[0]), np.float64)
    for place in reversed(range(len(whole))):  # the smallest first
        total += np.ldexp(whole[place].astype(np.float64), -bits * (place + 1))
    with np.errstate(over="ignore"):  # a sum beyond the largest float is infinite, as usual
        return np.ldexp(total, exponent)
