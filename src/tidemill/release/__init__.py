"""Whether it goes live: bundles that are what they were, releases that pin all they are made of, one champion.

Upstream: `models` and `training`, which leave a folder, and the run, which says what it was made of. Downstream:
`serving` reads the deployment that a promotion moves, and opens the bundle that `verify` has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.release.bundle import Manifest as Manifest
    from tidemill.release.bundle import seal as seal
    from tidemill.release.bundle import verify as verify
    from tidemill.release.export import Exported as Exported
    from tidemill.release.export import export_tabular as export_tabular
    from tidemill.release.pointer import Pointer as Pointer
    from tidemill.release.pointer import model_folder as model_folder
    from tidemill.release.pointer import module_sources as module_sources
    from tidemill.release.pointer import open_arm as open_arm
    from tidemill.release.pointer import read_deployment as read_deployment
    from tidemill.release.store import Promotion as Promotion
    from tidemill.release.store import Releases as Releases
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "bundle": "Manifest seal verify",
            "export": "Exported export_tabular",
            "pointer": "Pointer model_folder module_sources open_arm read_deployment",
            "store": "Promotion Releases",
        },
    )
