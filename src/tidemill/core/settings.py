"""Settings: locations of the stores and options of the server. Nothing else reads the environment.

The project file declares *what* to build; `tidemill.toml` next to it configures *where*, in profiles. Precedence:
argument, `TIDEMILL_<KEY>__<SUB>`, file, default. The origin of every value is recorded.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tidemill.core.errors import SettingError, nearest
from tidemill.core.flatten import flatten
from tidemill.core.redaction import redact

FILE = "tidemill.toml"
PREFIX = "TIDEMILL_"
DEFAULT_PROFILE = "laptop"

# Environment variables that are not settings: the name of the profile, and the folder of the tests' data.
_NOT_SETTINGS = {"PROFILE", "TEST_DATA"}

# Settings whose keys are names from mill.py.
_BY_NAME = ("sources", "external")

Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Serve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `tidemill serve`: addresses, limits and logging."""

    host: Annotated[str, Meta(description="Address to listen on; only loopback addresses are allowed.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of the API; 0 chooses a free one.")] = 8400
    console_port: Annotated[Port, Meta(description="Port of the console; 0 chooses a free one.")] = 8401
    workers: Annotated[Positive, Meta(description="API worker processes.")] = 2
    drain_s: Annotated[Seconds, Meta(description="Seconds from unready to stopping the workers after SIGTERM.")] = 5.0
    slot_s: Annotated[Positive, Meta(description="Seconds in which a repeated request is the same prediction.")] = 60
    log: Annotated[
        Literal["available", "required"],
        Meta(description="With `required`, the response is 503 if the prediction log cannot be written."),
    ] = "available"
    max_body_bytes: Annotated[Positive, Meta(description="Largest request body in bytes.")] = 1 << 20
    max_n: Annotated[Positive, Meta(description="Largest number of items in one recommendation.")] = 1_000
    max_rows: Annotated[Positive, Meta(description="Most events or outcomes in one request.")] = 1_000
    max_in_flight: Annotated[
        Positive, Meta(description="Complete requests of one worker that wait for their response; more get 429.")
    ] = 512
    body_timeout_s: Annotated[Seconds, Meta(description="Seconds within which a request's body must arrive.")] = 10.0


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One profile of tidemill.toml, for example `laptop` or `production`. Paths are relative to the project.

    A store is a path, opened by the embedded back-end, or a URL whose scheme names another installed back-end.
    """

    engine: Annotated[
        str,
        Meta(description="Engine of the table functions: `polars`, `spark`, `spark://HOST:PORT?PROPERTIES`, `sc://…`."),
    ] = "polars"
    lake: Annotated[
        str,
        Meta(description="Folder, or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`, of the tables and their objects."),
    ] = "./.tidemill/lake"
    latest: Annotated[str, Meta(description="Folder or URL of the newest row of each key.")] = "./.tidemill/latest"
    ledger: Annotated[str, Meta(description="SQLite file or URL of the ledger.")] = "./.tidemill/ledger.sqlite"
    vault: Annotated[str, Meta(description="SQLite file or URL of sealed identities.")] = "./.tidemill/vault.sqlite"
    blobs: Annotated[
        str, Meta(description="Folder or URL of the bundles; if it is not set and the lake is on S3, they lie there.")
    ] = "./.tidemill/blobs"
    events: Annotated[str, Meta(description="Folder or URL of the log of posted events.")] = "./.tidemill/events"
    leases: Annotated[
        str, Meta(description="Folder of the lock files, or a URL: leases to ingest, train and promote.")
    ] = "./.tidemill"
    search: Annotated[str, Meta(description="Nearest-neighbour index: `faiss` (approximate, measured) or `exact`.")] = (
        "faiss"
    )
    keys: Annotated[
        str, Meta(description="Folder outside the project with a folder of keys for each mill. Back it up.")
    ] = "~/.tidemill/keys"
    mirror: Annotated[
        str, Meta(description="Tracking server that runs are copied to, for example `mlflow:sqlite:///mlflow.db`.")
    ] = ""
    sources: Annotated[dict[str, str], Meta(description="Source of each stream and snapshot: name = URL.")] = {}
    external: Annotated[
        dict[str, str],
        Meta(description="Place of each external table: name = `delta:…`, `iceberg:…` or `parquet:…`."),
    ] = {}
    source_roots: Annotated[
        tuple[str, ...], Meta(description="Folders or files outside the project that sources may read.")
    ] = ()
    serve: Annotated[Serve, Meta(description="Options of the server.")] = Serve()
    failpoint: Annotated[
        str, Meta(description="For tests: the failpoint `NAME` or `NAME:K` at which the process kills itself.")
    ] = ""


class Settings(Profile, frozen=True, kw_only=True):
    """The settings of one project under one profile."""

    project: Path
    profile: str
    #: Key, such as `serve.port` -> origin of its value; missing keys have their default.
    origins: dict[str, str]

    def origin(self, key: str) -> str:
        """The origin of the value of `key`: an argument, a variable, the file's profile, or `default`."""
        known = flatten(_values(self), empty=False)
        if key not in known:
            raise SettingError(f"there is no setting {key!r}", tip=nearest(key, known))
        return self.origins.get(key, "default")

    def rows(self) -> list[tuple[str, str, str]]:
        """`(key, value, origin)` of every setting, without secrets."""
        values = flatten(_values(self), empty=False)
        return [(key, redact(str(value), whole=True), self.origin(key)) for key, value in values.items()]

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value, _ in self.rows())
        return f"Settings({str(self.project)!r}, {self.profile!r}, {shown})"

    def keys_folder(self, mill_id: str) -> Path:
        """The folder of the keys of the mill with this id."""
        return self.project / Path(self.keys).expanduser() / mill_id


def load(
    project: Path,
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Load the settings of `project`: argument > variable > file > default.

    `overrides` are arguments by dotted key (`{"serve.port": 9000}`); `None` values are ignored. `environ` defaults to
    the process's environment. Raises `SettingError` for an unknown profile or key (with the nearest name) and for an
    invalid value.
    """
    given = os.environ if environ is None else environ
    file = _read(project / FILE)
    chosen = profile or given.get(f"{PREFIX}PROFILE") or DEFAULT_PROFILE
    if chosen not in file and chosen != DEFAULT_PROFILE:
        raise SettingError(f"{project / FILE} has no profile {chosen!r}", tip=nearest(chosen, {*file, DEFAULT_PROFILE}))
    for name, table in file.items():
        written = flatten(table, empty=False)
        _fitting(written, dict.fromkeys(written, f"{FILE} [{name}]"))
    layers = [
        (flatten(file.get(chosen, {}), empty=False), f"{FILE} [{chosen}]"),
        *(({key: value}, f"variable {name}") for key, value, name in _variables(given)),
        ({key: value for key, value in flatten(overrides or {}, empty=False).items() if value is not None}, "argument"),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer, origin in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    fitting = _fitting(values, origins)
    fields = {name: getattr(fitting, name) for name in Profile.__struct_fields__}
    return Settings(**fields, project=project, profile=chosen, origins=origins)


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of tidemill.toml, for editors."""
    (profile,), parts = msgspec.json.schema_components([Profile], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FILE,
        "description": "Profiles of a tidemill project; `laptop` is the default.",
        "type": "object",
        "additionalProperties": profile,
        "$defs": parts,
    }


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not valid TOML: {error}", tip="correct the file at that line") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingError(f"{path}: `{name}` is not in a profile", tip=f"put it under [{DEFAULT_PROFILE}]")
    return tables


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    for name in sorted(environ):
        rest = name.removeprefix(PREFIX)
        if rest != name and rest not in _NOT_SETTINGS:
            key = rest.lower().replace("__", ".")
            yield key, environ[name].split(os.pathsep) if key == "source_roots" else environ[name], name


def _values(settings: Profile) -> dict[str, Any]:
    found = {name: getattr(settings, name) for name in Profile.__struct_fields__}
    return found | {"serve": {name: getattr(settings.serve, name) for name in Serve.__struct_fields__}}


def _fitting(values: Mapping[str, Any], origins: Mapping[str, str]) -> Profile:
    """Convert `values` (by dotted key) to a profile; errors name the key, the value and its origin."""
    nested: dict[str, Any] = {}
    known = {*Profile.__struct_fields__, *(f"serve.{name}" for name in Serve.__struct_fields__)}
    known -= {"serve", *_BY_NAME}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if key not in known and not (section in _BY_NAME and name):
            names = {*known, *(f"{one}.NAME" for one in _BY_NAME)}
            raise SettingError(f"there is no setting `{key}` ({origins[key]})", tip=nearest(key, names))
        _try(key, value, origins[key])
        if section in ("serve", *_BY_NAME):
            nested.setdefault(section, {})[name] = value
        else:
            nested[key] = value
    return msgspec.convert(nested, Profile, strict=False)


def _try(key: str, value: Any, origin: str) -> None:
    section, _, name = key.partition(".")
    one = {section: {name: value}} if name else {key: value}
    try:
        msgspec.convert(one, Profile, strict=False)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at ")[0]
        raise SettingError(f"`{key} = {redact(str(value), whole=True)}` ({origin}) is not valid: {message}") from None
