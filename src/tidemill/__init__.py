"""tidemill: from a stream of days to a versioned lake, to models, to answers, to outcomes, and an account of all of it.

    import tidemill as tm

    mill = tm.Mill("magazines")

The names below are what a project file (`mill.py`) needs. They are resolved when first used, so that importing the
package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tidemill.checks import between as between
    from tidemill.checks import fresh as fresh
    from tidemill.checks import freshness as freshness
    from tidemill.checks import like_history as like_history
    from tidemill.checks import not_null as not_null
    from tidemill.checks import refused_share as refused_share
    from tidemill.checks import repeated_share as repeated_share
    from tidemill.core.contract.contract import Event as Event
    from tidemill.core.contract.contract import event_time as event_time
    from tidemill.core.contract.contract import field as field
    from tidemill.core.contract.contract import item as item
    from tidemill.core.contract.contract import subject as subject
    from tidemill.core.search_space import grid as grid
    from tidemill.core.search_space import search as search
    from tidemill.loop.notebook.workbench import open_project as open_project
    from tidemill.loop.project.mill import Mill as Mill
    from tidemill.models import als as als
    from tidemill.models import auto as auto
    from tidemill.models import blend as blend
    from tidemill.models import cooccurrence as cooccurrence
    from tidemill.models import diverse as diverse
    from tidemill.models import ease as ease
    from tidemill.models import eligible as eligible
    from tidemill.models import item_knn as item_knn
    from tidemill.models import nearest as nearest
    from tidemill.models import popular as popular
    from tidemill.models import popularity as popularity
    from tidemill.models import relevance as relevance
    from tidemill.models import slate as slate
    from tidemill.models import spectral as spectral
    from tidemill.models import transitions as transitions
    from tidemill.models import trending as trending
    from tidemill.models import unseen as unseen
    from tidemill.models.formats.pretrained import pretrained as pretrained
    from tidemill.models.tabular.pyfunc import pyfunc as pyfunc
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "checks": "between fresh freshness like_history not_null refused_share repeated_share",
            "core.contract.contract": "Event event_time field item subject",
            "core.search_space": "grid search",
            "loop.notebook.workbench": "open_project",
            "loop.project.mill": "Mill",
            "models": (
                "als auto blend cooccurrence diverse ease eligible item_knn nearest popular popularity "
                "relevance slate spectral transitions trending unseen"
            ),
            "models.formats.pretrained": "pretrained",
            "models.tabular.pyfunc": "pyfunc",
        },
    )
