"""Bytes of one connection through the HTTP server: order, limits, deadlines, and what is no request."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from http_exchange import Exchange

from tidemill.core.settings import Serve
from tidemill.serving.http.http_messages import Answer, HttpRequest, HttpResponse
from tidemill.serving.http.http_server import HttpServer

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"


def echo(request: HttpRequest) -> Answer:
    """What was read, as text; a path that begins with /later is answered in another turn of the loop."""
    if request.fault is not None:
        return HttpResponse(400, type(request.fault).__name__.encode())
    said = f"{request.method} {request.path}?{request.query} {request.body.decode()} {request.headers.get('host')}"
    response = HttpResponse(200, said.encode(), media="text/plain")
    if not request.path.startswith("/later"):
        return response

    async def later() -> HttpResponse:
        await asyncio.sleep(0.01)
        return response

    return later()


def talk(*sent: bytes, wait_s: float = 0.0, limits: Serve | None = None, close: bool = False) -> Exchange:
    """The caller's side after these bytes, each in one read."""

    async def run() -> Exchange:
        server = HttpServer(echo, limits or Serve())
        opened = Exchange(server)
        for data in sent:
            opened.feed(data)
        if close:
            opened.close()
        await asyncio.sleep(wait_s)
        assert close or opened.waiting or server.in_flight == 0, "every request is answered or forgotten"
        await server.stop()
        assert server.in_flight == 0 and not server.connections
        return opened

    return asyncio.run(run())


def post(body: bytes, *headers: str, path: str = "/x") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode() + body


def test_a_request_in_single_bytes_is_the_same_request() -> None:
    whole = post(b"hello", "Content-Length: 5", path="/a/b?c=d")
    one, many = talk(whole), talk(*[whole[i : i + 1] for i in range(len(whole))])
    assert one.bodies == many.bodies == [b"POST /a/b?c=d hello localhost"]


def test_pipelined_requests_are_answered_in_their_order() -> None:
    wanted = [b"/later", b"/x", b"/later2", b"/y"] * 5
    sent = b"".join(GET.replace(b"/x", path) for path in wanted)
    found = talk(sent, wait_s=0.3)
    assert [body.split(b"?")[0] for body in found.bodies] == [b"GET " + path for path in wanted]


def test_reads_pause_while_requests_wait() -> None:
    found = talk(GET.replace(b"/x", b"/later") + GET, wait_s=0.1)
    assert found.pauses == ["pause", "resume"]


def test_a_connection_stays_open_unless_it_is_asked_to_close() -> None:
    assert not talk(GET).ended
    closing = talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET)
    assert closing.ended and len(closing.bodies) == 1 and b"connection: close" in closing.sent
    old = b"GET /x HTTP/1.0\r\nHost: localhost\r\n"
    assert talk(old + b"\r\n").ended
    kept = talk(old + b"Connection: keep-alive\r\n\r\n")
    assert not kept.ended and b"connection: keep-alive" in kept.sent


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /x HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /x\r\n\r\n",  # HTTP/0.9
        b"GET /x HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n",  # obsolete folding
        b"GET /x HTTP/1.1\nHost: localhost\n\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post(b"hello", "Content-Length: 5", "Content-Length: 5"),
        post(b"hello", "Content-Length: 5, 5"),
        post(b"hello", "Content-Length: 5", "Content-Length: 6"),
        post(b"hello", "Content-Length: +5"),
        post(b"hello", "Content-Length: 0x5"),
        post(b"hello", "Content-Length: 99999999999999999999999"),
        post(b"5\r\nhello\r\n0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
        post(b"5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked, identity"),
        post(b"5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: xchunked"),
        post(b"-5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        post(b"5\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        post(b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    ],
)
def test_what_is_not_a_request_is_refused_once_and_nothing_after_it_is_read(sent: bytes) -> None:
    found = talk(sent + GET.replace(b"/x", b"/hidden"))
    assert found.bodies == [b"BadRequest"] and found.ended


@pytest.mark.parametrize("target", [b"http://user@localhost/x", b"ftp://localhost/x", b"*", b"x", b"http:///x"])
def test_a_target_that_is_no_path_is_refused(target: bytes) -> None:
    found = talk(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert found.bodies == [b"BadRequest"]


def test_a_body_in_chunks_is_joined_and_trailers_are_no_headers() -> None:
    chunks = b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nHost: evil.example\r\n\r\n"
    assert talk(post(chunks, "Transfer-Encoding: chunked")).bodies == [b"POST /x? hello localhost"]


def test_an_absolute_target_names_the_host_and_hides_no_other() -> None:
    found = talk(b"GET http://other.example:81/x?y HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert found.bodies == [b"GET /x?y  other.example:81, localhost"]
    same = talk(b"GET http://localhost:81/x HTTP/1.1\r\nHost: localhost:81\r\n\r\n")
    assert same.bodies == [b"GET /x?  localhost:81"]


def test_repeated_hosts_are_never_one_host() -> None:
    found = talk(b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert b"localhost, evil.example" in found.sent or found.statuses == [400]


def test_headers_are_bounded_whole_and_in_parts() -> None:
    long = b"GET /x HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000
    assert talk(long + b"\r\n\r\n").bodies == [b"TooLarge"]
    parts = [long[i : i + 1_000] for i in range(0, len(long), 1_000)]
    found = talk(*parts)
    assert found.bodies == [b"TooLarge"] and found.ended


@pytest.mark.parametrize("form", ["length", "chunks"])
def test_a_body_over_the_limit_is_read_before_it_is_refused_and_never_kept(form: str) -> None:
    limits = Serve(max_body_bytes=100)

    def sent(size: int) -> bytes:
        if form == "length":
            return post(b"x" * size, f"Content-Length: {size}")
        return post(b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size), "Transfer-Encoding: chunked")

    assert len(talk(sent(100), limits=limits).bodies[0]) > 100
    over = talk(sent(101) + GET, limits=limits)
    assert over.bodies[0] == b"TooLarge" and over.statuses == [400, 200] and not over.ended
    far = talk(sent(801) + GET, limits=limits)
    assert far.bodies == [b"TooLarge"] and far.ended


def test_a_body_is_called_for() -> None:
    head = post(b"", "Content-Length: 5", "Expect: 100-continue")
    asked = talk(head, b"hello")
    assert asked.sent.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    refused = talk(post(b"", "Content-Length: 5000000", "Expect: 100-continue"), limits=Serve(max_body_bytes=10))
    assert refused.statuses == [400] and refused.ended


def test_an_upgrade_is_answered_as_http_and_what_follows_is_not_read() -> None:
    found = talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n") + GET)
    assert found.statuses == [200] and found.ended


def test_more_requests_than_the_limit_are_refused_and_bodies_that_arrive_are_none_of_them() -> None:
    async def run() -> list[list[bytes]]:
        server = HttpServer(echo, Serve(max_in_flight=2))
        slow = [Exchange(server) for _ in range(5)]
        for one in slow:
            one.feed(post(b"he", "Content-Length: 5"))
        opened = [Exchange(server) for _ in range(3)]
        for one in opened:
            one.feed(post(b"hello", "Content-Length: 5", path="/later"))
        assert server.in_flight == 2 and server.held == 5 * 2 + 2 * 5
        await asyncio.sleep(0.05)
        for one in slow:
            one.feed(b"llo")
        assert server.in_flight == server.held == 0
        await server.stop()
        return [one.bodies for one in [*opened, *slow]]

    first, second, third, *slow = asyncio.run(run())
    assert first == second == [b"POST /later? hello localhost"] and third == [b"TooBusy"]
    assert slow == [[b"POST /x? hello localhost"]] * 5


def test_bodies_are_bounded_together_by_their_bytes_and_the_slowest_of_the_heaviest_address_goes_first() -> None:
    async def run() -> tuple[list[list[bytes]], int]:
        limits = Serve(max_body_bytes=100_000)
        server = HttpServer(echo, limits)
        heavy = [Exchange(server, "127.0.0.9") for _ in range(80)]
        other = [Exchange(server, "127.0.0.1") for _ in range(10)]
        for one in [*other, *heavy]:
            one.feed(post(b"x" * 90_000, "Content-Length: 90001"))
        held = server.held
        for one in [*heavy, *other]:
            one.feed(b"x")
        assert server.held == 0
        await server.stop()
        return [one.bodies for one in [*heavy, *other]], held

    bodies, held = asyncio.run(run())
    given_up = [number for number, said in enumerate(bodies) if said == [b"TooBusy"]]
    assert held <= 64 * 100_000 and all(len(said[0]) > 90_000 for said in bodies[80:])
    assert given_up == list(range(len(given_up))) and 20 <= len(given_up) < 40


def test_a_body_that_comes_in_small_chunks_takes_no_more_room_than_a_large_one() -> None:
    async def run() -> int:
        server = HttpServer(echo, Serve(max_body_bytes=1 << 20))
        opened = Exchange(server)
        opened.feed(post(b"", "Transfer-Encoding: chunked"))
        tracemalloc.start()
        for _ in range(50):
            opened.feed(b"2\r\nxx\r\n" * 5_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        opened.feed(b"0\r\n\r\n")
        assert len(opened.bodies[0]) > 500_000
        await server.stop()
        return peak

    assert asyncio.run(run()) < 2_000_000


def test_connections_over_the_limit_take_the_place_of_idle_ones() -> None:
    async def run() -> tuple[list[Exchange], Exchange]:
        server = HttpServer(echo, Serve())
        server._connection_limit = 16
        idle = [Exchange(server, "127.0.0.9") for _ in range(40)]
        assert len(server.connections) <= 16
        another = Exchange(server)
        for place in range(40):
            Exchange(server, "127.0.0.9").feed(b"GET /x" if place % 2 else b"")
        another.feed(GET)
        await server.stop()
        return idle, another

    idle, another = asyncio.run(run())
    assert all(one.is_closing() for one in idle) and another.statuses == [200]


def test_a_caller_that_leaves_is_forgotten() -> None:
    talk(post(b"he", "Content-Length: 5"), close=True)
    talk(GET.replace(b"/x", b"/later") + GET, close=True, wait_s=0.05)


def test_a_caller_that_ends_its_side_gets_its_answers() -> None:
    async def run() -> Exchange:
        server = HttpServer(echo, Serve())
        opened = Exchange(server)
        opened.feed(GET.replace(b"/x", b"/later") + GET)
        assert opened.end()
        await asyncio.sleep(0.05)
        assert opened.is_closing()
        await server.stop()
        return opened

    assert asyncio.run(run()).statuses == [200, 200]


def at(now: float, change: Callable[[Any], None], *sent: bytes) -> Exchange:
    """After these bytes, `change`, and a check of the deadlines so many seconds later."""

    async def run() -> Exchange:
        server = HttpServer(echo, Serve())
        opened = Exchange(server)
        for data in sent:
            opened.feed(data)
        change(opened)
        for connection in list(server.connections):
            connection.check(server.now + now)
        await server.stop()
        return opened

    return asyncio.run(run())


def nothing(opened: Any) -> None: ...


@pytest.mark.parametrize(
    ("sent", "seconds", "says"),
    [
        (b"GET /x HTTP/1.1\r\nHost: loc", 11, [b"BadRequest"]),
        (post(b"he", "Content-Length: 5"), 11, [b"BadRequest"]),
        (post(b"x" * 1_900, "Content-Length: 9000"), 9, [b"BadRequest"]),
        (b"", 80, []),
    ],
)
def test_what_does_not_arrive_in_time_is_given_up(sent: bytes, seconds: float, says: list[bytes]) -> None:
    early, late = at(1, nothing, sent), at(seconds, nothing, sent)
    assert early.bodies == [] and late.bodies == says and (late.ended or late.is_closing())


def test_a_process_that_was_held_up_reads_before_it_gives_up_callers_and_then_does() -> None:
    async def run() -> tuple[list[bytes], list[bytes]]:
        server = HttpServer(echo, Serve())
        opened = Exchange(server)
        opened.feed(post(b"he", "Content-Length: 5"))
        server.now -= 60  # the last check was a minute ago
        for connection in server.connections:
            connection._deadline -= 60
        server._check()
        first = list(opened.bodies)
        await asyncio.sleep(0.3)
        await server.stop()
        return first, opened.bodies

    assert asyncio.run(run()) == ([], [b"BadRequest"])


def test_a_caller_that_reads_nothing_is_cut_off() -> None:
    found = at(61, lambda opened: opened.full(), GET)
    assert found.is_closing()


def test_nothing_is_answered_while_the_caller_reads_nothing() -> None:
    async def run() -> tuple[int, int]:
        server = HttpServer(echo, Serve())
        opened = Exchange(server)
        opened.full()
        opened.feed(GET * 3)
        before = len(opened.bodies)
        opened.empty()
        await server.stop()
        return before, len(opened.bodies)

    assert asyncio.run(run()) == (0, 3)


def test_a_head_request_has_no_body() -> None:
    found = talk(GET.replace(b"GET", b"HEAD"))
    assert found.sent.endswith(b"\r\n\r\n") and b"content-length: 19" in found.sent
