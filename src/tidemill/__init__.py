"""tidemill: from a stream of days to a versioned lake, to models, to answers, to outcomes, and an account of all of it.

    import tidemill as tm

    mill = tm.Mill("magazines")

The names below are what a project file (`mill.py`) needs. They are resolved when first used, so that importing the
package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.checks import between, fresh, like_history, not_null, refused_share, repeated_share
    from tidemill.core.schema import Event, event_time, field, item, subject
    from tidemill.core.space import grid, search
    from tidemill.loop.mill import Mill
    from tidemill.loop.workbench import open_project
    from tidemill.models import (
        als,
        auto,
        blend,
        cooccurrence,
        diverse,
        ease,
        eligible,
        item_knn,
        nearest,
        popular,
        popularity,
        relevance,
        slate,
        spectral,
        transitions,
        trending,
        unseen,
    )
    from tidemill.models.pretrained import pretrained
    from tidemill.models.tabular.pyfunc import pyfunc

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(["Event", "event_time", "field", "item", "subject"], "tidemill.core.schema"),
    **dict.fromkeys(["grid", "search"], "tidemill.core.space"),
    "Mill": "tidemill.loop.mill",
    "pretrained": "tidemill.models.pretrained",
    "pyfunc": "tidemill.models.tabular.pyfunc",
    "open_project": "tidemill.loop.workbench",
    **dict.fromkeys(
        ["between", "fresh", "like_history", "not_null", "refused_share", "repeated_share"], "tidemill.checks"
    ),
    **dict.fromkeys(
        [
            *["als", "auto", "blend", "cooccurrence", "diverse", "ease", "eligible", "item_knn", "nearest", "popular"],
            *["popularity", "relevance", "slate", "spectral", "transitions", "trending", "unseen"],
        ],
        "tidemill.models",
    ),
}

__all__ = [
    "Event",
    "Mill",
    "als",
    "auto",
    "between",
    "blend",
    "cooccurrence",
    "diverse",
    "ease",
    "eligible",
    "event_time",
    "field",
    "fresh",
    "grid",
    "item",
    "item_knn",
    "like_history",
    "nearest",
    "not_null",
    "open_project",
    "popular",
    "popularity",
    "pretrained",
    "pyfunc",
    "refused_share",
    "relevance",
    "repeated_share",
    "search",
    "slate",
    "spectral",
    "subject",
    "transitions",
    "trending",
    "unseen",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tidemill' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
