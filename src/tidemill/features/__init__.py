"""Feature store: feature views, the newest row of each entity, and item facts for slates.

Upstream is the lake: a run computes the views from published tables only, and writes them to the Latest store.
Downstream, serving reads them there and only there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.features.feature_history import view_at as view_at
    from tidemill.features.feature_history import view_history as view_history
    from tidemill.features.item_facts import ItemFacts as ItemFacts
    from tidemill.features.newest_rows import newest_by_key as newest_by_key
    from tidemill.features.online_lookup import LookupResult as LookupResult
    from tidemill.features.online_lookup import OnlineLookup as OnlineLookup
    from tidemill.features.point_in_time_join import PointInTimeJoin as PointInTimeJoin
    from tidemill.features.point_in_time_join import point_in_time as point_in_time
    from tidemill.features.view_spec import ViewSpec as ViewSpec
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "feature_history": "view_at view_history",
            "item_facts": "ItemFacts",
            "newest_rows": "newest_by_key",
            "online_lookup": "LookupResult OnlineLookup",
            "point_in_time_join": "PointInTimeJoin point_in_time",
            "view_spec": "ViewSpec",
        },
    )
