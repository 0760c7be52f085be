"""Redaction of secrets: of a URL only the parts that are known to be harmless; of other text all but passwords.

Every error message, every log line and every setting that is shown passes here.
"""

from __future__ import annotations

import logging
import re
from typing import Final

HIDDEN: Final = "***"
#: Parameters of URLs whose values are shown: options of sources, and common options of drivers and of HTTP.
_HARMLESS: Final = frozenset(
    (
        "columns", "header", "delimiter", "seed", "customers", "items", "start", "days", "rate", "bots", "late",
        "repeated", "bad", "n", "release", "model", "kind", "run", "sslmode", "connect_timeout", "application_name",
        "dbname", "database", "databasename", "region", "charset", "format", "timeout",
    )
)  # fmt: skip
_SECRET = r"passwords?|passwd|passphrase|pass|pwd|secrets?|tokens?"
_URL, _REST = re.compile(r"://[^\s\"`<>]*"), re.compile(r"://.*", re.DOTALL)
_QUERY = re.compile(r"\?[^\s\"`<>?]*=[^\s\"`<>]*")
#: `password=` outside of a URL, and its value: up to a space or, where it may have spaces, a semicolon.
_PARAMETER = (
    rf"((?:(?:{_SECRET}|key|signature|credentials?|auth|(?<![a-z])sig)\d{{0,3}}[\"']? {{0,3}}="
    rf"|(?:{_SECRET})[\"']?:) {{0,3}})"
)
_START = re.compile(_PARAMETER, re.IGNORECASE)
_PAIR = re.compile(
    _PARAMETER + r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|(?:[^;\n\"]{0,200};)?[^\s\"`]+)", re.IGNORECASE
)
#: Values that are recognised by themselves: an authorization header, and keys of AWS, GitHub, Slack and JWT.
_SECRET_NAME = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|account|private)_?key)\Z", re.IGNORECASE
)
_VALUE = re.compile(
    r"\b(?:(?:Bearer|Basic) +[\w.~+/=-]{6,}|AKIA[0-9A-Z]{12,}|gh[pousr]_\w{20,}|xox[a-z]-[\w-]{10,}"
    r"|eyJ[\w-]{8,}\.[\w.-]+)"
)
_HOSTS = re.compile(r"(?:\[[0-9a-f:.]+\]|[\w.*-]*)(?::\d{1,5})?(?:,[\w.-]+(?::\d{1,5})?)*\Z", re.IGNORECASE)
_PLAIN_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+\Z")
_OPAQUE = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[\w+=~-]{20,}\Z")
_NAME = re.compile(r"[A-Za-z][\w.-]{0,39}\Z")
_FRAGMENT = re.compile(r"#(?:sha256=[0-9a-f]+|egg=[\w.-]+)\Z")


def redact(text: str, *, whole: bool = False) -> str:
    """The text without the secrets that it may contain; with `whole` it is one value, which may be a URL with spaces.

    >>> redact("cannot open mlflow:http://ann:s/e@c@host/?token=1, password=x y")
    'cannot open mlflow:http://***, password=*** y'
    >>> redact("postgresql://ann:secret@db:5432/shop?sslmode=require&sig=abc")
    'postgresql://***@db:5432/shop?sslmode=require&sig=***'
    """
    if "=" in text or ":" in text:
        if "://" in text:
            text = _REST.sub(_url, text) if whole else _URL.sub(_url, text)
        if "?" in text:
            text = _QUERY.sub(lambda found: _query(found[0]), text)
        found = _START.search(text) if whole else None
        text = f"{text[: found.start()]}{found[1]}{HIDDEN}" if found else _PAIR.sub(_pair, text)
    return _VALUE.sub(HIDDEN, text)


def names_secret(name: str) -> bool:
    """Whether the value of a parameter with this name is a secret.

    >>> [names_secret(name) for name in ("db_password", "api_key", "token_pattern", "max_tokens")]
    [True, True, False, False]
    """
    return bool(_SECRET_NAME.search(name))


class RedactingFormatter(logging.Formatter):
    """Formats log records, with their tracebacks, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """The redacted line."""
        return redact(super().format(record))


def log_to_stderr(form: str) -> None:
    """Write the log of this process to stderr in this form, redacted."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(form))
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def _pair(found: re.Match[str]) -> str:
    quote = found[2][0] if found[2][0] in "\"'" else ""
    return f"{found[1]}{quote}{HIDDEN}{quote}"


def _url(found: re.Match[str]) -> str:
    """A URL after its scheme. Where it is not certain which part is the host, all of it is hidden."""
    text, end = _without_end(found[0][3:])
    authority = re.split("[/?#;]", text, maxsplit=1)[0]
    rest = text[len(authority) :]
    _, at, host = authority.rpartition("@")
    if not _HOSTS.match(host) or (authority and "@" in rest and not _PLAIN_HOST.match(authority)):
        return f"://{HIDDEN}{end}"
    path, mark, query = rest.partition("?")
    path, sharp, fragment = path.partition("#") if not mark else (path, "", "")
    shown = _path(path, local=not host) + (_query(mark + query) if mark else _fragment(sharp + fragment))
    return f"://{HIDDEN + at if at else ''}{host}{shown}{end}"


def _path(path: str, *, local: bool) -> str:
    """A path without parameters and, of another machine, without segments that may be keys."""
    first, *parameters = path.split(";")
    if not local:
        first = "/".join(HIDDEN if _OPAQUE.match(segment) else segment for segment in first.split("/"))
    return ";".join([first, *map(_parameter, parameters)])


def _query(text: str) -> str:
    """`?` and the parameters of a query; the fragment after it is hidden."""
    text, end = _without_end(text)
    query, sharp, fragment = text[1:].partition("#")
    parts = [part if part in ("&", ";") else _parameter(part) for part in re.split("([&;])", query)]
    return f"?{''.join(parts)}{_fragment(sharp + fragment)}{end}"


def _parameter(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not text or (equals and name.lower() in _HARMLESS):
        return text
    return f"{name}={HIDDEN}" if equals and _NAME.match(name) else HIDDEN


def _fragment(text: str) -> str:
    return text if _FRAGMENT.match(text) or not text[1:] else f"#{HIDDEN}"


def _without_end(text: str) -> tuple[str, str]:
    """The URL, and the punctuation of the sentence after it."""
    bare = text.rstrip("'),.;:]")
    return bare, text[len(bare) :]
