"""Exact running sums: adding values and removing them again restores the same sum.

Plain floating-point sums drift: 1e16 + 1 - 1e16 is 0. Here a number is stored in fixed point as three integers of
40 bits each below the largest one of its group, and these are added as int64, which wraps round but never rounds.
So a sum is exact for numbers within a factor of 2**67 of the largest, is rounded only at the end, and depends neither
on the order of rows nor on other groups. (A small fixed-point accumulator after Kulisch, "Computer Arithmetic and
Validity", 2013.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PARTS = 3
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FixedPoint:
    """How numbers of each group are stored: int64 (n_groups,).

    A value is 2**exponent * (p0 * 2**-bits + p1 * 2**-2bits + p2 * 2**-3bits).
    """

    exponent: Ints
    bits: Ints

    @classmethod
    def of_groups(cls, values: NDArray[np.float64], group: Ints, n_groups: int) -> FixedPoint:
        """The form in which any sum of a group's finite values fits. Beyond 2**22 of them, `bits` is below 40."""
        largest = np.zeros(n_groups)
        np.maximum.at(largest, group, np.abs(values))
        lengths = np.frexp(np.bincount(group, minlength=n_groups).astype(np.float64))[1]
        return cls(np.frexp(largest)[1].astype(np.int64), np.minimum(40, 62 - lengths).astype(np.int64))

    def take(self, places: Ints) -> FixedPoint:
        """The forms at `places`."""
        return FixedPoint(self.exponent[places], self.bits[places])

    def parts(self, values: NDArray[np.float64]) -> list[Ints]:
        """Three int64 arrays (n,); there is one value of each form."""
        rest = np.ldexp(values, -self.exponent)  # at most 1; exact
        parts = []
        for _ in range(_PARTS):
            rest = np.ldexp(rest, self.bits)
            whole = np.rint(rest)
            parts.append(whole.astype(np.int64))
            rest = rest - whole
        return parts

    def values(self, parts: list[Ints]) -> NDArray[np.float64]:
        """The numbers that sums of parts represent, float64 (n,).

        >>> form = FixedPoint.of_groups(np.array([1e16, 1.0, -1e16]), np.zeros(3, np.int64), 1)
        >>> parts = form.take(np.zeros(3, np.int64)).parts(np.array([1e16, 1.0, -1e16]))
        >>> float(form.values([part.sum(keepdims=True) for part in parts])[0])
        1.0
        """
        whole = [part.copy() for part in parts]
        for place in range(len(whole) - 1, 0, -1):  # carry, so that parts do not cancel each other after rounding
            carry = (whole[place] + (1 << (self.bits - 1))) >> self.bits
            whole[place] -= carry << self.bits
            whole[place - 1] += carry
        total = np.zeros(len(whole[0]), np.float64)
        for place in reversed(range(len(whole))):  # the smallest first
            total += np.ldexp(whole[place].astype(np.float64), -self.bits * (place + 1))
        with np.errstate(over="ignore"):  # a sum beyond the largest float is infinite, as usual
            return np.ldexp(total, self.exponent)
