"""Check of ONNX graphs without ONNX: refuses whatever could make a runtime read other files or load other code.

A graph is a protobuf message (https://onnx.ai/onnx/repo-docs/IR.html). The check walks its fields, including sub-graphs
and local functions: operators must come from known domains, and weights must be inside the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: A graph of more bytes than this is too large for a server.
MOST_BYTES = 512 * 1024 * 1024
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_DEEPEST = 32
_EXTERNAL = 1
#: The numbers of an attribute, one field each; skipped at once, because trees have millions of them.
_NUMBERS = re.compile(rb"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f])+", re.DOTALL)


def onnx_refusal_reason(raw: bytes) -> str | None:
    """The reason why bytes are refused as an ONNX graph; `None` if they are accepted.

    >>> onnx_refusal_reason(b"import os")
    'it is not an ONNX graph'
    """
    if len(raw) > MOST_BYTES:
        return f"it is larger than {MOST_BYTES:,} bytes"
    try:
        model = list(_fields(memoryview(raw)))
        graphs = [body for number, body in model if number == 7 and isinstance(body, memoryview)]
        if len(graphs) != 1 or not any(number == 1 and isinstance(body, int) for number, body in model):
            return "it is not an ONNX graph"
        return next(_model(model), None)
    except (ValueError, UnicodeDecodeError):
        return "it is not an ONNX graph"


_Fields = list[tuple[int, "memoryview | int"]]


def _model(model: _Fields) -> Iterator[str]:
    local = {_text(body, 10) for number, body in model if number == 25}
    for number, body in model:
        if number == 8:
            yield from _domain(_text(body, 1), local)
        elif number == 7:
            yield from _graph(body, local, 0)
        elif number == 25:  # a local function of the graph
            for inner, node in _sub(body):
                if inner == 7:
                    yield from _node(node, local, 0)
                elif inner == 11:
                    yield from _attribute(node, local, 0)
                elif inner == 9:
                    yield from _domain(_text(node, 1), local)


def _graph(body: memoryview | int, local: set[str], depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("sub-graphs are nested too deeply")
    for number, part in _sub(body):
        if number == 1:
            yield from _node(part, local, depth)
        elif number == 5:
            yield from _tensor(part)
        elif number == 15:
            yield from _sparse(part)


def _node(body: memoryview | int, local: set[str], depth: int) -> Iterator[str]:
    yield from _domain(_text(body, 7), local)
    for number, attribute in _sub(body):
        if number == 5:
            yield from _attribute(attribute, local, depth)


def _attribute(body: memoryview | int, local: set[str], depth: int) -> Iterator[str]:
    for number, part in _sub(body):
        if number in (5, 10):
            yield from _tensor(part)
        elif number in (6, 11):
            yield from _graph(part, local, depth + 1)
        elif number in (22, 23):
            yield from _sparse(part)


def _sparse(body: memoryview | int) -> Iterator[str]:
    for number, part in _sub(body):
        if number in (1, 2):
            yield from _tensor(part)


def _tensor(body: memoryview | int) -> Iterator[str]:
    for number, part in _sub(body):
        if number == 13 or (number == 14 and part == _EXTERNAL):
            yield "its weights are in another file"


def _domain(name: str, local: set[str]) -> Iterator[str]:
    if name not in DOMAINS and name not in local:
        yield f"it uses operators of the domain {name[:60]!r}, which need third-party code"


def _text(body: memoryview | int, wanted: int) -> str:
    """The text in field `wanted` of a message; the last occurrence counts, as in protobuf."""
    found = [part for number, part in _sub(body) if number == wanted]
    return bytes(found[-1]).decode() if found and isinstance(found[-1], memoryview) else ""


def _sub(body: memoryview | int) -> Iterator[tuple[int, memoryview | int]]:
    if isinstance(body, int):
        raise ValueError("expected a message, found a number")
    return _fields(body)


def _fields(raw: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of each field: an int, or the bytes of a text or message. `ValueError` if truncated."""
    at = 0
    while at < len(raw):
        if run := _NUMBERS.match(raw, at):
            at = run.end()
            continue
        key, at = _varint(raw, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(raw, at)
        else:
            length = {1: 8, 5: 4}.get(kind, -1)
        if number == 0 or length < 0 or at + length > len(raw):
            raise ValueError("not a protobuf message")
        yield number, raw[at : at + length]
        at += length


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            raise ValueError("truncated")
        byte = raw[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise ValueError("a number has too many bytes")
