"""Sources of a stream: the one named in the settings, and the events posted to the server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tidemill.core.errors import SettingError, UsageError, nearest
from tidemill.core.ports import Source
from tidemill.core.settings import Settings
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.stores import Stores
from tidemill.sources import FileSource, open_source
from tidemill.sources.posted_events import EventSource

#: The URL of a stream whose only source is the events posted to the server.
POSTED_ONLY = "events:"


def check_source_names(settings: Settings, streams: Iterable[str]) -> None:
    """Raise `SettingError` for a source of an unknown stream, such as a misspelt name."""
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
    posted = EventSource(PortOpener(stores.settings).events(), stream.name, stream.contract, unseal=stores.vault.unseal)
    return [*declared, posted]


def replacement_source(stores: Stores, stream: StreamDeclaration, file: Path) -> Source:
    """The source of a file that replaces a held increment, read like the stream's own files."""
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    url = stores.settings.sources.get(stream.name, "file:")
    query = url.partition("?")[2] if url.startswith("file:") else ""
    return FileSource(f"file:{file.resolve()}?{query}", stream.contract, stores.project)
