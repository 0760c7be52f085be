"""Bundle inputs: a typical row and the training values of a tabular bundle, read and verified once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tidemill.console.state.console_stores import ConsoleStores, ReleaseReader
from tidemill.core.errors import BundleCorrupt
from tidemill.core.records.release import Release
from tidemill.models.tabular.input_ranges import InputRanges, read_input_ranges
from tidemill.models.tabular.typical_row import typical_row_of


class BundleInputs(NamedTuple):
    """What a bundle says of its inputs; empty for one that is damaged, which the page of the loop names."""

    typical: dict[str, Any]
    ranges: InputRanges


def bundle_inputs(stores: ConsoleStores, release: Release) -> BundleInputs:
    """The inputs of a release's bundle."""
    try:
        return _read(stores.releases, release.bundle)
    except BundleCorrupt:
        return BundleInputs({}, InputRanges())


@lru_cache(maxsize=64)
def _read(releases: ReleaseReader, sha256: str) -> BundleInputs:
    """A bundle never changes, and verifying it reads all of it: not for each view of a page."""
    bundle = releases.bundle(sha256)
    return BundleInputs(typical_row_of(bundle), read_input_ranges(bundle))
