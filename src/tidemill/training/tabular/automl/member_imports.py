"""Import of LightGBM for processes that fit members, without its interfaces to pandas and scikit-learn.

Members are fitted on arrays. The interfaces take 1.1 of the 2.1 s of CPU time that both tree libraries take to import.
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_absent = [name for name in ("pandas", "sklearn") if name not in _modules]
for _name in _absent:
    _modules[_name] = None  # as if it were not installed
try:
    import lightgbm  # noqa: F401 - fitted by `lightgbm_member`
finally:
    for _name in _absent:
        del _modules[_name]  # CatBoost needs pandas
