"""Encryption keys for the identifiers of people in posted events, read or created in a thread for batches of requests.

A person who is new to the project gets a vault entry here, which the run that ingests the event reuses. While the vault
is unavailable, events are sealed with the vault's own key instead, and counted: no event waits for the vault.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tidemill.core.errors import TidemillError
from tidemill.core.identity.surrogates import PersonKey, Vault
from tidemill.serving.http.metrics import Counters

_log = logging.getLogger(__name__)

#: Time without vault access after a failure, seconds.
_BACK_OFF_S = 1.0

#: Surrogate -> kind and identifier.
People = Mapping[str, tuple[str, str]]


class PersonKeys:
    """Keys by surrogate. Requests that arrive during a vault transaction share the next one."""

    def __init__(self, vault: Vault, counters: Counters) -> None:
        self._vault, self._counters = vault, counters
        self._people: dict[str, tuple[str, str]] = {}
        self._next: asyncio.Future[dict[str, PersonKey]] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "person-keys")
        self._unavailable_until = 0.0

    async def keys_for(self, people: People) -> Mapping[str, PersonKey]:
        """The keys of all these people; empty while the vault is unavailable."""
        known = self._vault.keys_in_memory(people)
        if len(known) == len(people):
            return known
        loop = asyncio.get_running_loop()
        self._people.update(people)
        if self._next is None:
            self._next = loop.create_future()
        future = self._next
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
        keys = await future
        if not keys:
            self._counters.add("sealed_without_person", len(people))
        return keys

    def close(self) -> None:
        """Wait for the transaction in progress."""
        self._thread.shutdown()

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._next is not None:
                people, self._people = self._people, {}
                waiting, self._next = self._next, None
                waiting.set_result(await loop.run_in_executor(self._thread, self._keys_from_vault, people))
        finally:
            self._asking = None

    def _keys_from_vault(self, people: People) -> dict[str, PersonKey]:
        if time.monotonic() < self._unavailable_until:
            return {}
        try:
            return self._vault.found_or_made(people)
        except (TidemillError, OSError) as error:
            self._unavailable_until = time.monotonic() + _BACK_OFF_S
            _log.error("the vault is unavailable; events are sealed under the vault's own key: %s", error)
            return {}
