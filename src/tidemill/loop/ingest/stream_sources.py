"""Sources of a stream: the one that the settings name, and the events posted to the server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tidemill.core.backend import BackendContext, split_scheme
from tidemill.core.errors import SettingError, UsageError, nearest
from tidemill.core.ports import Source
from tidemill.core.settings import Settings, masked
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.stores import Stores
from tidemill.sources import FileSource, open_source
from tidemill.sources.posted_events import EventSource

#: The URL of a stream that has no source but the events posted to the server.
POSTED_ONLY = "events:"


def check_source_names(settings: Settings, streams: Iterable[str]) -> None:
    """Raise `SettingError` for a source of a stream that the project does not have, such as a misspelt name."""
    known = list(streams)
    for name in settings.sources:
        if name not in known:
            raise SettingError(
                f"the setting `sources.{name}` ({settings.origin(f'sources.{name}')}) names no stream of mill.py",
                tip=nearest(name, known),
            )


def sources_of(stores: Stores, stream: StreamDeclaration) -> list[Source]:
    """Every source of a stream: the declared one, and the posted events."""
    url = stores.settings.sources.get(stream.name)
    if url is None:
        raise SettingError(
            f"no source for the stream {stream.name!r} in profile {stores.settings.profile!r}",
            tip=f'write {stream.name} = "file:data/…" (or "{POSTED_ONLY}") under [{stores.settings.profile}.sources]',
        )
    declared = [] if url == POSTED_ONLY else [open_source(url, stream.contract, stores.project)]
    posted = _segments_of(stores.settings) / stream.name
    return [*declared, EventSource(posted, stream.contract, unseal=stores.vault.unseal)]


def _segments_of(settings: Settings) -> Path:
    """The folder of the segments of posted events; a run reads them directly, not through the port."""
    if split_scheme(settings.events)[0] not in ("", "segments"):
        raise SettingError(
            f"events = {masked(settings.events)!r}: a run reads posted events from segments only",
            tip='set events = "./.tidemill/events"',
        )
    return BackendContext(project=settings.project).path(settings.events)


def replacement_source(stores: Stores, stream: StreamDeclaration, file: Path) -> Source:
    """The source of a file that replaces a held increment, read as the stream's own files are."""
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    url = stores.settings.sources.get(stream.name, "file:")
    query = url.partition("?")[2] if url.startswith("file:") else ""
    return FileSource(f"file:{file.resolve()}?{query}", stream.contract, stores.project)
