"""One exchange over a connection of `HttpServer` in this process: bytes in, the parsed response out."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tidemill.serving.http.http_server import HttpServer


class Exchange(asyncio.Transport):
    """The caller's side of one connection."""

    def __init__(self, server: HttpServer, address: str = "127.0.0.1") -> None:
        super().__init__({"peername": (address, 50_000)})
        self.sent = b""
        self.ended = False
        self.pauses: list[str] = []
        self._rest = b""
        self._closing = False
        self._connection = server.connection()
        self._connection.connection_made(self)

    def post(self, path: str, body: Any, *headers: str, until: int | None = None) -> None:
        """Send a request, or its bytes up to `until`."""
        content = msgspec.json.encode(body)
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
        request = "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content
        self._rest = request[until:] if until is not None else b""
        self.feed(request[:until])

    def rest(self) -> None:
        """Send what `post` left out."""
        self.feed(self._rest)

    def feed(self, data: bytes) -> None:
        """Bytes as they arrive."""
        self._connection.data_received(data)

    async def answered(self) -> None:
        """Return when there is a response."""
        while not self.sent:
            await asyncio.sleep(0.001)

    @property
    def status(self) -> int:
        return int(self.sent.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.sent.split(b"\r\n\r\n", 1)[0].decode().split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines)

    @property
    def content(self) -> Any:
        return msgspec.json.decode(self.sent.split(b"\r\n\r\n", 1)[1])

    @property
    def responses(self) -> list[tuple[int, bytes]]:
        """Status and body of each response."""
        rest, found = self.sent, []
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            status = int(head.split()[1])
            if status != 100:
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                found.append((status, rest[:length]))
                rest = rest[length:]
        return found

    @property
    def statuses(self) -> list[int]:
        return [status for status, _ in self.responses]

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.responses]

    @property
    def waiting(self) -> bool:
        """Whether the request has not been read whole."""
        return not self.sent

    def full(self) -> None:
        """The caller does not read."""
        self._connection.pause_writing()

    def empty(self) -> None:
        """The caller reads again."""
        self._connection.resume_writing()

    def end(self) -> bool:
        """The caller ends its side; whether the connection stays open."""
        return self._connection.eof_received()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._connection.connection_lost(None)

    abort = close

    def pause_reading(self) -> None:
        self.pauses.append("pause")

    def resume_reading(self) -> None:
        self.pauses.append("resume")


def exchange(server: HttpServer, path: str, body: Any, *headers: str) -> Exchange:
    """One POST with its response."""

    async def run() -> Exchange:
        opened = Exchange(server)
        opened.post(path, body, *headers)
        await asyncio.wait_for(opened.answered(), 30)
        opened.close()
        if server._checking is not None:  # the next exchange has another event loop
            server._checking.cancel()
            server._checking = None
        return opened

    return asyncio.run(run())
