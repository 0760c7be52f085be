"""Whether answers are those that a server's own OpenAPI document describes."""

from __future__ import annotations

from typing import Any

import jsonschema


class DescribedAnswers:
    """The answers of an OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._validators: dict[tuple[str, str, str, str], Any] = {}

    def check(self, method: str, path: str, answer: tuple[int, dict[str, str], Any]) -> None:
        """Fails if `path` (as in the document) has no such answer; the message names the part that differs."""
        status, headers, said = answer
        media = headers.get("content-type", "").partition(";")[0]
        found = self.document["paths"][path][method.lower()]["responses"]
        name = str(status) if str(status) in found else f"{status // 100}XX"
        assert name in found, (method, path, status, list(found))
        content = found[name].get("content", {})
        if not content:
            assert said in ("", None), (method, path, status, said)
            return
        assert media in content, (method, path, status, media)
        key = (method, path, name, media)
        if key not in self._validators:
            schema = {**content[media].get("schema", {}), "components": self.document["components"]}
            self._validators[key] = jsonschema.Draft202012Validator(schema)
        self._validators[key].validate(said)
