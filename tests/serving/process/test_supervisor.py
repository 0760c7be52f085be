"""The server as processes: swaps, crashes, drains and switches, with real workers on a real port."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served_client import Client
from served_shop import MODEL, Shop, default_slate, open_shop

from tidemill.core.errors import AddressRefused, AlreadyServing, NotReady
from tidemill.core.lease import live_lease
from tidemill.core.records.deployment import Arm, deploy
from tidemill.models.slates.slate_spec import nearest, popular, slate, unseen
from tidemill.release.live_deployment import write_deployment
from tidemill.serving import ServerHandle, is_serving, serve, spooled, start, swap_state, wait_live
from tidemill.serving.live.state_files import read_state
from tidemill.serving.process.server_state import SERVER, ServerState

pytestmark = pytest.mark.slow
USER = "user1@example.org"


def until(what: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """What `what` gives as soon as it is true."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = open_shop(tmp_path_factory.mktemp("processes") / "project", port=0, workers=2, drain_s=0.3)
    made.promote(made.release())
    return made


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[ServerHandle]:
    with start(shop.plan()) as running:
        running.wait_ready(60)
        yield running


def pids(shop: Shop) -> set[int]:
    return {int(path.stem) for path in (shop.root / "workers").glob("*.json")}


def worker_of(client: Client) -> int:
    found: int = client("GET", "/healthz")[2]["pid"]
    return found


def each_worker(server: ServerHandle, shop: Shop) -> dict[int, Client]:
    """A connection to every worker."""
    found: dict[int, Client] = {}

    def more() -> bool:
        client = Client(server.port)
        if found.setdefault(worker_of(client), client) is not client:
            client.connection.close()
        return len(found) == 2

    until(more)
    return found


def close(clients: dict[int, Client]) -> None:
    for client in clients.values():
        client.connection.close()


def test_it_says_that_it_is_up(server: ServerHandle, shop: Shop) -> None:
    said = is_serving(shop.root)
    assert said is not None and said.pid == server.pid and said.port == server.port and said.state == "up"
    assert len(pids(shop)) == 2


def test_every_worker_gives_the_same_answer_with_the_same_id(server: ServerHandle, shop: Shop) -> None:
    clients = each_worker(server, shop)
    first, second = (client.recommend("user7@example.org", n=9) for client in clients.values())
    assert first == second
    close(clients)


def test_an_event_posted_to_one_worker_is_heeded_by_the_other_at_once(server: ServerHandle, shop: Shop) -> None:
    one, other = (clients := each_worker(server, shop)).values()
    shown = [item["item"] for item in other.recommend("fresh person", n=3)["items"]]
    for item in shown:
        event = {"user_id": "fresh person", "item_id": item, "rating": 4, "reviewed_at": "2026-06-01T00:00:00Z"}
        assert one("POST", "/v1/events/reviews", event)[0] == 202
        assert item not in [shown["item"] for shown in other.recommend("fresh person", n=3)["items"]]
    close(clients)


def test_a_promotion_is_live_when_every_worker_answers_from_it_and_a_rollback_too(
    server: ServerHandle, shop: Shop
) -> None:
    clients = each_worker(server, shop)
    second = shop.promote(shop.release(seed=1))
    assert wait_live(shop.root, MODEL, second.name, 30).serving == second.name
    assert {client.recommend(USER)["release"] for client in clients.values()} == {second.name}
    before = shop.stores.releases.rollback(MODEL)
    wait_live(shop.root, MODEL, before.name, 30)
    assert {client.recommend(USER)["release"] for client in clients.values()} == {before.name}
    close(clients)


def test_new_facts_reach_every_worker(server: ServerHandle, shop: Shop) -> None:
    clients = each_worker(server, shop)
    shown = clients[min(clients)].recommend("user4@example.org", n=1)["items"][0]["item"]
    shop.publish("2", in_stock={shown: False})
    for client in clients.values():
        until(lambda client=client: shown not in str(client.recommend("user4@example.org", n=60)["items"]))
    shop.publish("3")
    close(clients)


def test_a_damaged_bundle_is_not_served_and_the_last_good_release_stays(server: ServerHandle, shop: Shop) -> None:
    good = shop.stores.releases.champion(MODEL)
    assert good is not None
    bad = shop.release(seed=2)
    folder = shop.stores.releases.bundle(bad.bundle)
    shop.promote(bad)
    wait_live(shop.root, MODEL, bad.name, 30)
    shop.stores.releases.rollback(MODEL)
    wait_live(shop.root, MODEL, good.name, 30)
    victim = max((path for path in folder.rglob("*.npy")), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)
    with shop.stores.leases.take(live_lease(MODEL)):  # nobody corrects it
        _point_by_hand(shop, bad.name)
        with pytest.raises(NotReady, match=victim.name):
            wait_live(shop.root, MODEL, bad.name, 30)
    client = Client(server.port)
    assert client.recommend(USER)["release"] == good.name
    client.connection.close()
    content[-1] ^= 1
    victim.write_bytes(content)
    shop.promote(good)


def _point_by_hand(shop: Shop, name: str) -> None:
    """What a promotion leaves whose bundle is damaged afterwards."""
    entry = shop.stores.ledger.head().seq
    deployment = deploy(Arm(release=shop.stores.releases.get(name)), entry=entry)
    write_deployment(shop.root, deployment, shop.stores.keys)


def test_an_edited_pointer_is_not_followed_and_is_written_again(server: ServerHandle, shop: Shop) -> None:
    path = shop.root / MODEL / "live.json"
    before, name = path.read_bytes(), shop.stores.releases.champion(MODEL).name  # type: ignore[union-attr]
    path.write_bytes(before.replace(b"Narrow choice.", b"Nobody at all."))
    client = Client(server.port)
    until(lambda: path.read_bytes() == before)  # by the log writer, from the ledger
    assert client.recommend(USER)["release"] == name
    client.connection.close()


def test_without_the_ledger_no_edited_and_no_older_pointer_is_followed(server: ServerHandle, shop: Shop) -> None:
    path, older = shop.root / MODEL / "live.json", (shop.root / MODEL / "live.json").read_bytes()
    good = shop.promote(shop.release(seed=3))
    wait_live(shop.root, MODEL, good.name, 30)
    now, client = path.read_bytes(), Client(server.port)
    with ledger_away(shop):
        for content, why in [
            (older, "older pointer was copied back"),
            (now.replace(b"Narrow choice.", b"Nobody at all."), "not signed"),
            (b"{", "cannot be read"),
        ]:
            path.write_bytes(content)
            until(lambda why=why: why in swap_state(shop.root, MODEL).why)  # type: ignore[union-attr]
            state = swap_state(shop.root, MODEL)
            assert state is not None and (state.state, state.serving) == ("failed", good.name)
            assert client.recommend(USER)["release"] == good.name
        path.write_bytes(now)
        wait_live(shop.root, MODEL, good.name, 30)
    client.connection.close()


def picky(candidates: Any) -> Any:
    return candidates.nothing_of_this_name > 0


def test_a_release_that_does_not_come_up_is_taken_back(server: ServerHandle, shop: Shop) -> None:
    good = shop.stores.releases.champion(MODEL)
    assert good is not None
    spec = slate(retrieve=[nearest(50)], filter=[unseen(), picky], fallback=popular(days=30))
    bad = shop.promote(shop.release(spec))
    with pytest.raises(NotReady, match="picky"):
        wait_live(shop.root, MODEL, bad.name, 30)
    state = swap_state(shop.root, MODEL)
    assert state is not None and state.serving == good.name
    clients = each_worker(server, shop)
    until(lambda: {client.recommend(USER)["release"] for client in clients.values()} == {good.name})
    close(clients)
    shop.stores.releases.rollback(MODEL)
    wait_live(shop.root, MODEL, good.name, 30)


@contextmanager
def ledger_away(shop: Shop) -> Iterator[None]:
    ledger = shop.stores.state / "ledger.sqlite"
    away = {path: path.with_name(path.name + ".away") for path in ledger.parent.glob(ledger.name + "*")}
    for path, aside in away.items():
        path.rename(aside)
    try:
        yield
    finally:
        for path, aside in away.items():
            aside.rename(path)


def test_off_answers_by_the_fallback_with_the_ledger_gone(server: ServerHandle, shop: Shop) -> None:
    clients = each_worker(server, shop)
    with ledger_away(shop):
        shop.turn(off=True)
        for client in clients.values():
            until(lambda client=client: client.recommend(USER, n=5)["switch"] == "off")
        answer = clients[min(clients)].recommend(USER, n=5)
        assert len(answer["items"]) == 5
        assert all("popular" in item["reason"] or "trending" in item["reason"] for item in answer["items"])
        assert not {item["item"] for item in answer["items"]} & shop.seen(USER)
        assert spooled(shop.root)
    shop.turn(off=False)
    for client in clients.values():
        until(lambda client=client: client.recommend(USER, n=5)["switch"] == "on")
    until(lambda: [line.act for line in shop.stores.ledger.find(about=f"model:{MODEL}")][-2:] == ["off", "on"])
    until(lambda: spooled(shop.root) == [])
    close(clients)


def test_a_killed_worker_is_replaced_and_meanwhile_the_other_answers(server: ServerHandle, shop: Shop) -> None:
    before = pids(shop)
    clients = each_worker(server, shop)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    survivor = clients[max(before)]
    for _ in range(20):
        survivor.recommend(USER)
    until(lambda: len(pids(shop)) == 2 and victim not in pids(shop))
    again = each_worker(server, shop)
    assert set(again) == pids(shop) and victim not in again
    until(lambda: until(lambda: read_state(shop.root / SERVER, ServerState)).replaced == 1)
    close(clients)
    close(again)


def test_a_second_server_of_the_same_project_is_refused(server: ServerHandle, shop: Shop) -> None:
    with pytest.raises(AlreadyServing, match=str(server.pid)):
        serve(shop.plan())


def test_a_taken_port_is_refused_also_where_it_is_shared(server: ServerHandle, shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(AlreadyServing, match=str(server.port)):
        serve(msgspec.structs.replace(shop.plan(), root=str(tmp_path), port=server.port))


def test_an_address_beyond_this_machine_is_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(AddressRefused):
        serve(msgspec.structs.replace(shop.plan(), root=str(tmp_path), host="0.0.0.0"))


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)])
def test_ctrl_c_and_a_second_signal_do_not_wait_for_a_load_balancer(tmp_path: Path, signals: tuple[int, ...]) -> None:
    shop = open_shop(tmp_path / "project", port=0, workers=1, drain_s=600.0)
    server = start(shop.plan())
    server.wait_ready(60)
    for number in signals:
        os.kill(server.pid, number)
        until(lambda: until(lambda: read_state(shop.root / SERVER, ServerState)).state != "up")
    until(lambda: until(lambda: read_state(shop.root / SERVER, ServerState)).state == "stopped")
    assert server.stop() == 0


def test_a_stop_drains_and_loses_nothing_that_a_retry_would_not_have_met(tmp_path: Path) -> None:
    """Clients keep asking through SIGTERM: while the server drains every request is answered, and none is cut off."""
    shop = open_shop(tmp_path / "project", port=0, workers=2, drain_s=600.0)
    shop.promote(shop.release(default_slate()))
    server = start(shop.plan())
    server.wait_ready(60)
    answers: list[float] = []
    cut: list[str] = []
    stopping = threading.Event()

    def ask() -> None:
        client = Client(server.port)
        while True:
            try:
                client.recommend(USER, n=5)
                answers.append(time.monotonic())
            except ConnectionRefusedError:
                return  # the port is closed: a balancer would have gone elsewhere since the drain began
            except (ConnectionError, OSError) as error:
                if not stopping.is_set():
                    cut.append(repr(error))
                client.connection.close()
            except Exception as error:
                client.connection.close()
                if type(error).__name__ != "RemoteDisconnected" or not stopping.is_set():
                    cut.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 10)
    os.kill(server.pid, signal.SIGTERM)
    probe = Client(server.port)
    until(lambda: probe("GET", "/readyz")[0] == 503)
    drained_from = time.monotonic()
    probe.connection.close()
    until(lambda: sum(at > drained_from for at in list(answers)) > 10)
    stopping.set()
    assert server.stop() == 0  # a second signal ends the drain
    for thread in threads:
        thread.join()
    assert not cut, cut[:3]
    computed = shop.stores.lake.log("predictions")
    assert computed is not None and computed.num_rows >= len(answers)


def test_a_restart_finds_a_damaged_bundle_and_serves_the_release_before(tmp_path: Path) -> None:
    shop = open_shop(tmp_path / "project", port=0, workers=1, drain_s=0.1)
    first = shop.promote(shop.release())
    with start(shop.plan()) as server:
        server.wait_ready(60)
        second = shop.promote(shop.release(seed=1))
        wait_live(shop.root, MODEL, second.name, 30)
    victim = next(shop.stores.releases.bundle(second.bundle).rglob("*.npy"))
    victim.chmod(0o600)
    victim.write_bytes(victim.read_bytes()[:-1])
    with start(shop.plan()) as server:
        server.wait_ready(60)
        client = Client(server.port)
        assert client.recommend(USER)["release"] == first.name
        client.connection.close()
        state = swap_state(shop.root, MODEL)
        assert state is not None and state.state == "failed" and victim.name in state.why


def test_the_server_ends_with_its_parent(tmp_path: Path) -> None:
    """A killed supervisor takes its workers along, and they let the port go."""
    shop = open_shop(tmp_path / "project", port=0, workers=1, drain_s=0.1)
    shop.promote(shop.release())
    server = start(shop.plan())
    server.wait_ready(60)
    port, workers = server.port, pids(shop)
    os.kill(server.pid, signal.SIGKILL)
    server.stop()

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    until(gone)
    assert workers
