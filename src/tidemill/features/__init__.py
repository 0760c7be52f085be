"""What models and answers see: feature views, the newest row of each entity, and facts kept ready for a slate.

Upstream is the lake: a run makes the views from published tables and nothing else, and writes them into the Latest
store. Downstream, serving reads them there and only there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.features.history import view_at as view_at
    from tidemill.features.history import view_history as view_history
    from tidemill.features.joined_examples import Join as Join
    from tidemill.features.joined_examples import point_in_time as point_in_time
    from tidemill.features.joined_frames import join_frames as join_frames
    from tidemill.features.online import OnlineFacts as OnlineFacts
    from tidemill.features.online_values import Found as Found
    from tidemill.features.online_values import OnlineValues as OnlineValues
    from tidemill.features.view import FeatureView as FeatureView
    from tidemill.features.view import materialise as materialise
    from tidemill.features.view import newest as newest
    from tidemill.features.view_spec import ViewSpec as ViewSpec
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "history": "view_at view_history",
            "joined_examples": "Join point_in_time",
            "joined_frames": "join_frames",
            "online": "OnlineFacts",
            "online_values": "Found OnlineValues",
            "view": "FeatureView materialise newest",
            "view_spec": "ViewSpec",
        },
    )
