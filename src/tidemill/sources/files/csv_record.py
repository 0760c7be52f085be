"""CSV records one at a time (RFC 4180), with a reason for each malformed record."""

from __future__ import annotations

from collections.abc import Iterator

#: A record whose quotes are not closed within this many bytes is refused at its first line.
_RECORD_LIMIT = 1024 * 1024

_Record = tuple[int, list[str], str | None, bytes]


def records(data: bytes, delimiter: int) -> Iterator[_Record]:
    r"""`(line from 0, fields, problem or None, raw bytes)` of each record; blank lines are skipped.

    A quote inside an unquoted field is an ordinary character. After a record with malformed quotes, reading continues
    at the next line, so that one bad line loses only that line.

    >>> [(line, fields) for line, fields, _, _ in records(b'a,"b"\n\n5" tall,c\n', ord(","))]
    [(0, ['a', 'b']), (2, ['5" tall', 'c'])]
    """
    position, line = 0, 0
    mark = bytes([delimiter])
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        text = data[position:end].removesuffix(b"\r")
        stop, problem = end, None
        fields: list[bytes]
        if b'"' in text:
            fields, stop, problem = _quoted(data, position, mark)
        else:
            fields = text.split(mark)
        raw = data[position : end if problem else stop].removesuffix(b"\r")
        if text or problem:
            yield _decoded(line, fields, problem, raw)
        line += 1 if problem else raw.count(b"\n") + 1
        position = (end if problem else stop) + 1


def _decoded(line: int, fields: list[bytes], problem: str | None, raw: bytes) -> _Record:
    if problem is None:
        try:
            return line, [field.decode() for field in fields], None, raw
        except UnicodeDecodeError:
            problem = "is not valid UTF-8"
    return line, [], problem, raw


def _quoted(data: bytes, start: int, mark: bytes) -> tuple[list[bytes], int, str | None]:
    """The fields of the record at `start`, its end offset, and its problem (`None` where well-formed)."""
    fields: list[bytes] = []
    position = start
    while True:
        if data[position : position + 1] == b'"':
            close = _closing(data, position + 1)
            if close < 0:
                return [], position, "has an unclosed quote"
            fields.append(data[position + 1 : close].replace(b'""', b'"'))
            position = close + 1
            if data[position : position + 2] == b"\r\n":
                position += 1
            if data[position : position + 1] not in (mark, b"\n", b""):
                return [], position, "has text after a closing quote"
        else:
            stops = [stop for stop in (data.find(mark, position), data.find(b"\n", position)) if stop >= 0]
            end = min(stops, default=len(data))
            field = data[position:end]
            fields.append(field.removesuffix(b"\r") if data[end : end + 1] != mark else field)
            position = end
        if data[position : position + 1] != mark:
            return fields, position, None
        position += 1


def _closing(data: bytes, position: int) -> int:
    """The offset of the quote that closes a field, skipping doubled ones; -1 where there is none within the limit."""
    limit = position + _RECORD_LIMIT
    while True:
        found = data.find(b'"', position, limit)
        if found < 0 or data[found + 1 : found + 2] != b'"':
            return found
        position = found + 2
