"""What models and answers see: feature views, the newest row of each entity, and facts kept ready for a slate.

Upstream is the lake: a run makes the views from published tables and nothing else, and writes them into the Latest
store. Downstream, serving reads them there and only there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.features.history import view_at, view_history
    from tidemill.features.joined_examples import Join, point_in_time
    from tidemill.features.joined_frames import join_frames
    from tidemill.features.online import OnlineFacts
    from tidemill.features.online_values import Found, OnlineValues
    from tidemill.features.view import FeatureView, materialise, newest
    from tidemill.features.view_spec import ViewSpec

__all__ = [
    "FeatureView",
    "Found",
    "Join",
    "OnlineFacts",
    "OnlineValues",
    "ViewSpec",
    "join_frames",
    "materialise",
    "newest",
    "point_in_time",
    "view_at",
    "view_history",
]

_HOMES = {
    "FeatureView": "view",
    "Found": "online_values",
    "Join": "joined_examples",
    "OnlineFacts": "online",
    "OnlineValues": "online_values",
    "ViewSpec": "view_spec",
    "join_frames": "joined_frames",
    "materialise": "view",
    "newest": "view",
    "point_in_time": "joined_examples",
    "view_at": "history",
    "view_history": "history",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
