"""Load shedding: which connections are given up, so that no address and no slow caller keeps others waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar


class SheddableConnection(Protocol):
    """The fields of a connection that decide."""

    #: The caller's IP address.
    address: str
    #: When the caller last made progress, monotonic seconds.
    progress: float


_Connection = TypeVar("_Connection", bound=SheddableConnection)


def shed(connections: Iterable[_Connection], weight: Callable[[_Connection], int], amount: int) -> list[_Connection]:
    """Connections that weigh `amount` together, or all: each time of the address whose connections weigh most, the one
    whose last progress is the oldest.
    """
    by_address: dict[str, list[_Connection]] = {}
    for connection in sorted(connections, key=lambda one: -one.progress):
        by_address.setdefault(connection.address, []).append(connection)
    weights = {address: sum(map(weight, group)) for address, group in by_address.items()}
    given_up: list[_Connection] = []
    while amount > 0 and weights:
        address = max(weights, key=weights.__getitem__)
        given_up.append(by_address[address].pop())
        amount -= weight(given_up[-1])
        weights[address] -= weight(given_up[-1])
        if not by_address[address]:
            del weights[address]
    return given_up
