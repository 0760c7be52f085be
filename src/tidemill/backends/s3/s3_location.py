"""S3 location: bucket and prefix of a store that speaks S3, from a URL; credentials come by the usual chain.

`s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. What the URL leaves out comes from `AWS_ENDPOINT_URL_S3`,
`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile in `~/.aws`. Credentials come from the
environment, the profile, a web identity, the container or the machine (in this order), and are part of no URL, so that
a location can be sent to other processes, each of which finds its own.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tidemill.core.errors import BackendMissing, SettingError

if TYPE_CHECKING:
    from obstore.store import S3Store

SCHEME = "s3://"
_OPTIONS = ("endpoint", "region")
#: A request that gets no answer is repeated for more than a minute, so that a short outage stops no publication: each
#: wait is between the first and the base times the one before.
_PATIENCE_S, _RETRIES, _FIRST_WAIT_S, _LONGEST_WAIT_S, _WAIT_BASE = 80, 30, 0.2, 8, 3


#: Locations of the tables that this process has opened, for engines, which are given only the URLs of files.
_TABLES: dict[str, S3Location] = {}


def remember(location: S3Location) -> None:
    """Let `containing` find a location with its endpoint and region."""
    _TABLES[str(location)] = location


def containing(urls: Sequence[str]) -> tuple[S3Location, list[str]] | None:
    """The location of files on S3, and their paths below it; `None` if they are not on S3.

    Raises `SettingError` if some of them are elsewhere.
    """
    if not urls or not urls[0].startswith(SCHEME):
        return None
    found = [location for place, location in _TABLES.items() if urls[0].startswith(f"{place}/")]
    bucket = "/".join(urls[0].split("/", 3)[:3])
    location = max(found, key=lambda one: len(one.prefix), default=None) or S3Location.from_url(bucket)
    paths = [url.removeprefix(f"{location}/") for url in urls]
    if any(path.startswith(SCHEME) for path in paths):
        raise SettingError(f"some files of a scan are not in {location}", tip="tables of one scan lie in one lake")
    return location, paths


@dataclass(frozen=True)
class S3Location:
    """A prefix of a bucket.

    >>> S3Location.from_url("s3://lake/shop/?endpoint=http://localhost:9000&region=eu-west-1", environ={})
    S3Location(bucket='lake', prefix='shop', endpoint='http://localhost:9000', region='eu-west-1')
    >>> str(S3Location("lake", "shop").below("t/1.parquet"))
    's3://lake/shop/t/1.parquet'
    """

    bucket: str
    prefix: str = ""
    #: Empty for Amazon's own.
    endpoint: str = ""
    region: str = "us-east-1"

    @classmethod
    def from_url(cls, url: str, environ: Mapping[str, str] | None = None) -> S3Location:
        """The location of a URL. Raises `SettingError` for an unknown option, or credentials in the URL."""
        given = os.environ if environ is None else environ
        found = urlsplit(url)
        place = f"{SCHEME}{found.hostname or ''}{found.path}"
        tip = "s3://BUCKET/PREFIX?endpoint=URL&region=NAME; credentials come from AWS_ACCESS_KEY_ID or ~/.aws"
        if found.username is not None or not found.netloc:
            raise SettingError(f"{place} is not the URL of a bucket, or has credentials in it", tip=tip)
        options = dict(parse_qsl(found.query, keep_blank_values=True))
        unknown = [name for name in options if name not in _OPTIONS]
        if unknown:
            raise SettingError(f"{place} has the unknown option {unknown[0]!r}", tip=tip)
        profile = _profile("config", given)
        endpoint = options.get("endpoint") or next(
            filter(None, map(given.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))),
            profile.get("endpoint_url", ""),
        )
        if endpoint and (urlsplit(endpoint).scheme not in ("http", "https") or "@" in endpoint):
            raise SettingError(f"the endpoint of {place} is not a plain URL of HTTP", tip=tip)
        region = options.get("region") or next(
            filter(None, map(given.get, ("AWS_REGION", "AWS_DEFAULT_REGION"))), profile.get("region", cls.region)
        )
        return cls(found.netloc, found.path.strip("/"), endpoint.rstrip("/"), region)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def below(self, path: str) -> S3Location:
        """The location of a path below this one."""
        return replace(self, prefix=f"{self.prefix}/{path}".strip("/"))

    def key(self, path: str) -> str:
        """The key in the bucket of a path below this location."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def store(self, *, patient: bool = True) -> S3Store:
        """The bucket, with the prefix, opened for this process. Unless `patient`, an outage is an error in seconds."""
        return _store(self, os.getpid(), patient)

    def delta_options(self) -> dict[str, str]:
        """The same settings for delta-rs, with credentials if they are fixed."""
        return self._options() | {
            "aws_conditional_put": "etag",
            "max_retries": str(_RETRIES),
            "retry_timeout": f"{_PATIENCE_S}s",
            "backoff_config.init_backoff": f"{int(_FIRST_WAIT_S * 1000)}ms",
            "backoff_config.max_backoff": f"{_LONGEST_WAIT_S}s",
            "backoff_config.base": str(_WAIT_BASE),
        }

    def polars_options(self) -> dict[str, Any]:
        """The same settings for Polars, with credentials if they are fixed."""
        return self._options() | {
            "max_retries": _RETRIES,
            "retry_timeout_ms": _PATIENCE_S * 1000,
            "retry_init_backoff_ms": int(_FIRST_WAIT_S * 1000),
            "retry_max_backoff_ms": _LONGEST_WAIT_S * 1000,
            "retry_base_multiplier": _WAIT_BASE,
        }

    def arrow_options(self) -> dict[str, str]:
        """The same settings for the file system of PyArrow, with credentials if they are fixed."""
        names = {"access_key_id": "access_key", "secret_access_key": "secret_key", "session_token": "session_token"}
        found = {names[name]: value for name, value in _credentials(os.environ).items()}
        return found | {"region": self.region} | ({"endpoint_override": self.endpoint} if self.endpoint else {})

    def _options(self) -> dict[str, Any]:
        kept = {"aws_region": self.region, "aws_virtual_hosted_style_request": "false"}
        if self.endpoint:
            kept |= {"aws_endpoint_url": self.endpoint, "aws_allow_http": str(self.is_plain_http).lower()}
        return kept | {f"aws_{name}": value for name, value in _credentials(os.environ).items()}

    @property
    def is_plain_http(self) -> bool:
        """Whether the endpoint does without TLS."""
        return self.endpoint.startswith("http://")


@cache
def _store(location: S3Location, process: int, patient: bool) -> S3Store:
    """A client by process: a forked one cannot use its parent's threads."""
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise BackendMissing(f"{location} needs obstore", tip="pip install 'tidemill[s3]'") from error
    from datetime import timedelta

    config: Any = {"region": location.region, "conditional_put": "etag", "virtual_hosted_style_request": False}
    if location.endpoint:
        config["endpoint"] = location.endpoint
    config.update(_credentials(os.environ))
    backoff: Any = {
        "init_backoff": timedelta(seconds=_FIRST_WAIT_S),
        "max_backoff": timedelta(seconds=_LONGEST_WAIT_S),
        "base": _WAIT_BASE,
    }
    return S3Store(
        location.bucket,
        prefix=location.prefix or None,
        config=config,
        client_options={
            "allow_http": location.is_plain_http,
            "connect_timeout": "5s",
            "timeout": "120s" if patient else "10s",
        },
        retry_config={
            "max_retries": _RETRIES if patient else 2,
            "retry_timeout": timedelta(seconds=_PATIENCE_S if patient else 10),
            "backoff": backoff,
        },
    )


def _credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Fixed credentials of the environment or the profile; empty where a client has to ask for them."""
    names = {"access_key_id": "", "secret_access_key": "", "session_token": ""}
    found = {name: environ.get(f"AWS_{name.upper()}", "") for name in names}
    if not found["access_key_id"] and not environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        profile = _profile("config", environ) | _profile("credentials", environ)
        found = {name: profile.get(f"aws_{name}", "") for name in names}
    return {name: value for name, value in found.items() if value} if found["access_key_id"] else {}


def _profile(file: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The profile in `~/.aws/config` or `~/.aws/credentials`."""
    variable = "AWS_CONFIG_FILE" if file == "config" else "AWS_SHARED_CREDENTIALS_FILE"
    home = environ.get("HOME", "")
    path = environ.get(variable) or (f"{home}/.aws/{file}" if home else "")
    name = environ.get("AWS_PROFILE") or "default"
    parsed = configparser.RawConfigParser()
    try:
        parsed.read(Path(path).expanduser() if path else [], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        raise SettingError(f"{path} cannot be read as a file of profiles") from None  # its lines may be secrets
    section = f"profile {name}" if file == "config" and name != "default" else name
    return dict(parsed[section]) if parsed.has_section(section) else {}
