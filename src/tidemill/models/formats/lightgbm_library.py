"""The LightGBM library, if installed: imported only when trees predict or are trained."""

from __future__ import annotations

from types import ModuleType

from tidemill.core.errors import BackendMissing


def lightgbm_library(otherwise: str) -> ModuleType:
    """The module; raises `BackendMissing` with the message `otherwise` if it is not installed."""
    try:
        import lightgbm  # noqa: PLC0415 - an optional library
    except ImportError as problem:
        raise BackendMissing(otherwise, tip="pip install 'tidemill[learn]'") from problem
    found: ModuleType = lightgbm
    return found
