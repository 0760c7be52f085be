"""Ranker: boosted trees that score candidates by their features, stored as text, run natively on one thread.

Trained by LambdaMART (Burges 2010) with LightGBM (Ke et al. 2017), see `learners.lambdamart`. The bundle contains
LightGBM's text and the names of the features in order; it contains no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidemill.core.errors import BundleCorrupt, BundleRefused, FormatTooNew
from tidemill.core.record_format import decode_json
from tidemill.models.formats.lightgbm_library import lightgbm_booster
from tidemill.models.recommender.interactions import F32

FORMAT = 1
#: Message of `BackendMissing` if LightGBM is not installed.
NEEDED = "a ranker needs lightgbm"


class _RankerFile(msgspec.Struct, frozen=True, kw_only=True):
    """`ranker.json`."""

    format: int
    #: Names of the features, in the order of their columns.
    features: tuple[str, ...]
    #: Version of LightGBM that trained it.
    lightgbm: str


@dataclass(frozen=True, eq=False)
class Ranker:
    """Trees over the named `features`; `text` is LightGBM's text format, written by its version `made_with`."""

    features: tuple[str, ...]
    text: str
    made_with: str

    @cached_property
    def _booster(self) -> Any:
        return lightgbm_booster(self.text.encode(), NEEDED)

    def scores(self, features: F32) -> F32:
        """float32 (n), between 0 and 1, for features float32 (n, n_features): the logistic of the trees' sum.

        Higher is better; differences between scores are not calibrated probabilities.
        """
        if not len(features):
            return np.zeros(0, np.float32)
        if features.shape[1] != len(self.features):
            raise ValueError(f"the ranker has {len(self.features)} features, but got {features.shape[1]}")
        margin = self._booster.predict(np.ascontiguousarray(features), raw_score=True, num_threads=1)
        found: F32 = (1 / (1 + np.exp(-margin))).astype(np.float32)
        return found

    def importance(self) -> dict[str, float]:
        """Feature -> share of the total training gain, largest first; the shares sum to 1."""
        gain = np.asarray(self._booster.feature_importance("gain"), np.float64)
        shares = gain / gain.sum() if gain.sum() > 0 else gain
        order = np.argsort(-shares, kind="stable")
        return {self.features[place]: float(shares[place]) for place in order}

    def write(self, folder: Path) -> None:
        """Write `ranker.txt` and `ranker.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ranker.txt").write_text(self.text, encoding="utf-8", newline="\n")
        about = _RankerFile(format=FORMAT, features=self.features, lightgbm=self.made_with)
        (folder / "ranker.json").write_bytes(msgspec.json.format(msgspec.json.encode(about)))

    @classmethod
    def open(cls, folder: Path) -> Ranker:
        """Open what `write` wrote; LightGBM is loaded now, so that the first request does not wait for it.

        Raises `BackendMissing`, `BundleCorrupt`, `BundleRefused` if the text is not a valid model, and `FormatTooNew`.
        """
        about, raw = _about(folder / "ranker.json"), _read(folder / "ranker.txt")
        found = cls(about.features, raw.decode(errors="replace"), about.lightgbm)
        try:
            found._booster  # noqa: B018 - loaded now
        except ValueError as problem:
            raise BundleRefused(f"{folder / 'ranker.txt'}: {problem}") from problem
        if found._booster.num_model_per_iteration() != 1:
            raise BundleCorrupt(f"{folder / 'ranker.txt'} has several outputs; a ranker has one")
        if found._booster.feature_name() != list(about.features):
            raise BundleCorrupt(f"{folder}: ranker.json and ranker.txt name different features")
        return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem


def _about(file: Path) -> _RankerFile:
    try:
        raw = _read(file)
        number = decode_json(raw, dict[str, Any]).get("format")
        if isinstance(number, int) and number > FORMAT:
            raise FormatTooNew(f"{file} has format {number}; this tidemill reads formats up to {FORMAT}")
        return decode_json(raw, _RankerFile)
    except msgspec.DecodeError as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem
