"""The blob store of a project for the server's supervisor, which verifies bundles and opens no other store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.core.ports import Blobs
from tidemill.core.settings import load
from tidemill.loop.project.open_port import PortOpener


def open_blobs(project: str, profile: str, overrides: Mapping[str, Any]) -> Blobs:
    """The store with the bundles of `project`."""
    return PortOpener(load(Path(project), profile=profile, overrides=overrides)).blobs()
