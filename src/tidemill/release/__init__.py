"""What goes live? Sealed bundles, releases that pin everything they consist of, and one champion for each model.

Upstream: `models` and `training`, which write a folder, and the run, which records its inputs. Downstream: `serving`
reads the deployment that a promotion replaces, and opens the bundle that `verify_bundle` has verified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.release.blob_verification import verify_blobs as verify_blobs
    from tidemill.release.blob_verification import verify_releases as verify_releases
    from tidemill.release.bundle import BundleManifest as BundleManifest
    from tidemill.release.bundle import seal_bundle as seal_bundle
    from tidemill.release.bundle import verify_bundle as verify_bundle
    from tidemill.release.export import ExportSummary as ExportSummary
    from tidemill.release.export import export_tabular as export_tabular
    from tidemill.release.live_deployment import LIVE as LIVE
    from tidemill.release.live_deployment import Pointer as Pointer
    from tidemill.release.live_deployment import model_folder as model_folder
    from tidemill.release.live_deployment import module_sources as module_sources
    from tidemill.release.live_deployment import open_arm as open_arm
    from tidemill.release.live_deployment import read_deployment as read_deployment
    from tidemill.release.release_history import Promotion as Promotion
    from tidemill.release.release_store import Releases as Releases
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "bundle": "BundleManifest seal_bundle verify_bundle",
            "export": "ExportSummary export_tabular",
            "live_deployment": "LIVE Pointer model_folder module_sources open_arm read_deployment",
            "release_history": "Promotion",
            "release_store": "Releases",
            "blob_verification": "verify_blobs verify_releases",
        },
    )
