"""A client of a real server."""

from __future__ import annotations

import http.client
import json
from typing import Any

from served_shop import MODEL


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if content is not None else {}
        self.connection.request(method, path, content, given | (headers or {}))
        answer = self.connection.getresponse()
        found = answer.read()
        about = {name.lower(): value for name, value in answer.getheaders()}
        is_json = about.get("content-type") == "application/json"
        return answer.status, about, json.loads(found) if is_json else found.decode()

    def recommend(self, user: str, **more: Any) -> dict[str, Any]:
        status, _, answer = self("POST", f"/v1/recommend/{MODEL}", {"user": user, **more})
        assert status == 200, answer
        found: dict[str, Any] = answer
        return found
