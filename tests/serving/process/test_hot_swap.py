"""What a supervisor follows when it starts: signed pointers, and nothing that it has not verified."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from served_shop import MODEL, Shop, open_shop

from tidemill.core.records.deployment import Deployment
from tidemill.serving import swap_state
from tidemill.serving.live.live_model import SERVING
from tidemill.serving.live.state_files import read_state
from tidemill.serving.process.hot_swap import ModelSwap


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A project whose second release replaced its first."""
    made = open_shop(tmp_path_factory.mktemp("swap") / "project")
    for seed in (0, 1):
        made.promote(made.release(seed=seed))
    return made


def started(shop: Shop) -> Deployment | None:
    """What the workers of a server that starts now would follow."""
    with ThreadPoolExecutor(1) as pool:
        swap = ModelSwap(shop.root / MODEL, pool, shop.stores.blobs, shop.stores.keys.public)
        swap.poll([], 1, time.monotonic())
        while swap.verifying:
            time.sleep(0.01)
            swap.poll([], 1, time.monotonic())
    return read_state(shop.root / MODEL / SERVING, Deployment, shop.stores.keys.public)


@pytest.fixture
def files(shop: Shop) -> dict[str, bytes]:
    """The pointers of both releases; afterwards all is as a promotion leaves it."""
    live, serving = shop.root / MODEL / "live.json", shop.root / MODEL / SERVING
    second = live.read_bytes()
    shop.stores.releases.rollback(MODEL)
    first = live.read_bytes()
    shop.stores.releases.promote(f"{MODEL}@2")
    serving.unlink(missing_ok=True)
    return {"second": second, "first": first, "now": live.read_bytes()}


def damage(content: bytes) -> bytes:
    return content.replace(b"Narrow choice.", b"Nobody at all.")


@pytest.mark.parametrize("break_", [damage, lambda content: content[:40], lambda _: b"", lambda _: bytes(900)])
def test_a_damaged_pointer_leaves_what_was_served_if_it_is_verified(
    shop: Shop, files: dict[str, bytes], break_: Callable[[bytes], bytes]
) -> None:
    live, serving = shop.root / MODEL / "live.json", shop.root / MODEL / SERVING
    live.write_bytes(break_(files["now"]))
    try:
        assert started(shop) is None  # nothing was served before
        serving.write_bytes(files["now"])
        found = started(shop)
        assert found is not None and found.champion.release.name == f"{MODEL}@2"
        state = swap_state(shop.root, MODEL)
        assert state is not None and (state.state, state.serving) == ("failed", f"{MODEL}@2") and state.why
        serving.write_bytes(damage(files["now"]))
        assert started(shop) is None
    finally:
        live.write_bytes(files["now"])


def test_with_a_damaged_pointer_no_damaged_bundle_is_served(shop: Shop, files: dict[str, bytes]) -> None:
    live, serving = shop.root / MODEL / "live.json", shop.root / MODEL / SERVING
    bundle = shop.stores.releases.bundle(shop.stores.releases.get(f"{MODEL}@1").bundle)
    victim = max(bundle.rglob("*.npy"), key=lambda path: path.stat().st_size)
    content = victim.read_bytes()
    victim.chmod(0o600)
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    live.write_bytes(b"{")
    serving.write_bytes(files["first"])
    try:
        assert started(shop) is None
        state = swap_state(shop.root, MODEL)
        assert state is not None and (state.state, state.serving) == ("failed", "")
    finally:
        victim.write_bytes(content)
        live.write_bytes(files["now"])


def test_an_older_pointer_is_not_followed_after_a_newer_one(shop: Shop, files: dict[str, bytes]) -> None:
    live, serving = shop.root / MODEL / "live.json", shop.root / MODEL / SERVING
    serving.write_bytes(files["now"])
    live.write_bytes(files["first"])
    try:
        found = started(shop)
        assert found is not None and found.champion.release.name == f"{MODEL}@2"
        state = swap_state(shop.root, MODEL)
        assert state is not None and "an older pointer was copied back" in state.why
    finally:
        live.write_bytes(files["now"])


def test_a_pointer_that_is_mended_is_followed_again(shop: Shop, files: dict[str, bytes]) -> None:
    live = shop.root / MODEL / "live.json"
    live.write_bytes(b"{")
    with ThreadPoolExecutor(1) as pool:
        swap = ModelSwap(live.parent, pool, shop.stores.blobs, shop.stores.keys.public)

        def settle() -> Deployment | None:
            swap.poll([], 1, time.monotonic())
            while swap.verifying:
                time.sleep(0.01)
                swap.poll([], 1, time.monotonic())
            return read_state(live.parent / SERVING, Deployment, shop.stores.keys.public)

        assert settle() is None
        live.write_bytes(files["now"])
        assert settle() is not None
        live.write_bytes(b"[")
        found = settle()
        assert found is not None  # the last one stays
        live.write_bytes(files["now"])
        settle()
        state = swap_state(shop.root, MODEL)
        assert state is not None and (state.state, state.why) == ("swapping", "")
