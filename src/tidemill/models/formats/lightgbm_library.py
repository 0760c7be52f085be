"""The LightGBM library, if installed: imported only when trees predict or are trained."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tidemill.core.errors import BackendMissing
from tidemill.models.formats.lightgbm_text_check import checked_text


def lightgbm_library(otherwise: str) -> ModuleType:
    """The module; raises `BackendMissing` with the message `otherwise` if it is not installed."""
    try:
        import lightgbm  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing(otherwise, tip="pip install 'tidemill[learn]'") from problem
    found: ModuleType = lightgbm
    return found


def lightgbm_booster(raw: bytes, otherwise: str) -> Any:
    """The booster of a model text, checked and written again.

    Raises `BackendMissing`, and `ValueError` with the reason if the text is refused or cannot be read.
    """
    library, text = lightgbm_library(otherwise), checked_text(raw)
    try:
        return library.Booster(model_str=text)
    except library.basic.LightGBMError as problem:
        raise ValueError(f"LightGBM cannot read it: {str(problem)[:300]}") from problem
