"""LightGBM, where it is installed: imported when trees predict or are trained, and never before."""

from __future__ import annotations

from types import ModuleType

from tidemill.core.errors import BackendMissing


def lightgbm_library(otherwise: str) -> ModuleType:
    """The module; `BackendMissing` says `otherwise` where it is not installed."""
    try:
        import lightgbm  # noqa: PLC0415 - an optional library
    except ImportError as problem:
        raise BackendMissing(otherwise, tip="pip install 'tidemill[learn]'") from problem
    found: ModuleType = lightgbm
    return found
