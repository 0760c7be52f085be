"""What came of it: the prediction log and the outcomes as tables, and what was expected against what happened.

Upstream: `serving`, which hands each answer to the log before it leaves, and `lake`, which keeps the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.feedback.actual import Actual as Actual
    from tidemill.feedback.actual import expected_against_actual as expected_against_actual
    from tidemill.feedback.log import OUTCOMES as OUTCOMES
    from tidemill.feedback.log import PREDICTIONS as PREDICTIONS
    from tidemill.feedback.log import SegmentLog as SegmentLog
    from tidemill.feedback.record_decoder import RecordDecoder as RecordDecoder
    from tidemill.feedback.tables import current_outcomes as current_outcomes
    from tidemill.feedback.tables import current_predictions as current_predictions
    from tidemill.feedback.tables import outcome_schema as outcome_schema
    from tidemill.feedback.tables import prediction_schema as prediction_schema
    from tidemill.feedback.writer import LogWriter as LogWriter
    from tidemill.feedback.writer import Written as Written
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "actual": "Actual expected_against_actual",
            "log": "OUTCOMES PREDICTIONS SegmentLog",
            "record_decoder": "RecordDecoder",
            "tables": "current_outcomes current_predictions outcome_schema prediction_schema",
            "writer": "LogWriter Written",
        },
    )
