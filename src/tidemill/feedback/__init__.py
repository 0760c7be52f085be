"""What happened after a prediction? Prediction log and outcomes as tables, and realised versus expected quality.

Upstream: `serving`, which logs each prediction before it is sent, and `lake`, which keeps the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.feedback.log_tables import current_outcomes as current_outcomes
    from tidemill.feedback.log_tables import current_predictions as current_predictions
    from tidemill.feedback.log_tables import outcome_schema as outcome_schema
    from tidemill.feedback.log_tables import prediction_schema as prediction_schema
    from tidemill.feedback.log_writer import LogWriter as LogWriter
    from tidemill.feedback.log_writer import WriteSummary as WriteSummary
    from tidemill.feedback.log_writer import damaged_records as damaged_records
    from tidemill.feedback.realised_quality import RealisedRate as RealisedRate
    from tidemill.feedback.realised_quality import realised_rates as realised_rates
    from tidemill.feedback.record_decoder import RecordDecoder as RecordDecoder
    from tidemill.feedback.segment_log import OUTCOMES as OUTCOMES
    from tidemill.feedback.segment_log import PREDICTIONS as PREDICTIONS
    from tidemill.feedback.segment_log import SegmentLog as SegmentLog
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "log_tables": "current_outcomes current_predictions outcome_schema prediction_schema",
            "log_writer": "LogWriter WriteSummary damaged_records",
            "realised_quality": "RealisedRate realised_rates",
            "record_decoder": "RecordDecoder",
            "segment_log": "OUTCOMES PREDICTIONS SegmentLog",
        },
    )
