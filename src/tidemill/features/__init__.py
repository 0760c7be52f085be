"""What models and answers see: feature views, the newest row of each entity, and facts kept ready for a slate.

Upstream is the lake: a run makes the views from published tables and nothing else, and writes them into the Latest
store. Downstream, serving reads them there and only there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.features.online import OnlineFacts
    from tidemill.features.view import FeatureView, materialise, newest

__all__ = ["FeatureView", "OnlineFacts", "materialise", "newest"]

_HOMES = {"FeatureView": "view", "OnlineFacts": "online", "materialise": "view", "newest": "view"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
