"""Windows of aggregates: their boundaries (multiples of `every` since 1970 UTC), and those that include an event.

At boundary b a view gets the rows that were known by then (`_known_at <= b`) and happened in [b - window, b), and
nothing else. A late row therefore enters at the first boundary after it was known, and changes no earlier one: so a
history computed at once equals one computed day by day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Windows:
    """The boundaries of a view by number: boundary k is at `k * every_us` (microseconds since 1970 UTC).

    >>> windows = Windows(window_us=30, every_us=10)
    >>> windows.last_by(25), windows.first_from(25), windows.span_of(2)
    (2, 3, (-10, 20))
    """

    window_us: int
    every_us: int

    def last_by(self, at: int) -> int:
        """The last boundary at or before an instant."""
        return at // self.every_us

    def first_from(self, at: int) -> int:
        """The first boundary at or after an instant."""
        return -(-at // self.every_us)

    def span_of(self, boundary: int) -> tuple[int, int]:
        """Start (inclusive) and end (exclusive) of the window at a boundary, microseconds."""
        end = boundary * self.every_us
        return end - self.window_us, end

    def counted(
        self, event: NDArray[np.int64], known: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and last boundary that include each row, int64 (n,); none where the first is after the last.

        >>> Windows(window_us=30, every_us=10).counted(np.array([10, 10]), np.array([10, 35]))
        (array([2, 4]), array([4, 4]))
        """
        # `event < b` and `known <= b`, in whole microseconds: from the later of event + 1 and known on
        visible = np.maximum(event + 1, known)
        return -(-visible // self.every_us), (event + self.window_us) // self.every_us
