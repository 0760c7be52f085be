"""Data validation: contracts of rows, expectations of increments, verdicts.

Upstream are the rows that a source read (validated against their contract) and the rows that an increment adds to a
table (validated against its expectations). A verdict lists every failure and decides nothing: the run does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.checks.contract import split_refused as split_refused
    from tidemill.checks.expectations import AnyExpectation as AnyExpectation
    from tidemill.checks.expectations import Expectation as Expectation
    from tidemill.checks.expectations import between as between
    from tidemill.checks.expectations import defaults as defaults
    from tidemill.checks.expectations import fresh as fresh
    from tidemill.checks.expectations import freshness as freshness
    from tidemill.checks.expectations import like_history as like_history
    from tidemill.checks.expectations import not_null as not_null
    from tidemill.checks.expectations import refused_share as refused_share
    from tidemill.checks.expectations import repeated_share as repeated_share
    from tidemill.checks.validate_expectations import validate as validate
    from tidemill.checks.verdict import evaluate as evaluate
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "contract": "split_refused",
            "expectations": (
                "AnyExpectation Expectation between defaults fresh freshness like_history not_null "
                "refused_share repeated_share"
            ),
            "validate_expectations": "validate",
            "verdict": "evaluate",
        },
    )
