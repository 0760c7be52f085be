"""On-demand function of a release: maps columns to columns at request time, as in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidemill.core.errors import AnswerFailed
from tidemill.core.kinds import KINDS, Kind
from tidemill.core.library_errors import require_error
from tidemill.core.records.signature import InputField, OnDemandFeature, Signature
from tidemill.models.formats.pretrained import PretrainedGraph
from tidemill.models.formats.source_modules import load_shipped
from tidemill.models.tabular.on_demand_arrays import FOLDER, PRETRAINED, array_of_values, values_of_array


def kinds_of(signature: Signature) -> dict[str, Kind]:
    """The kind of every possible argument of an on-demand function."""
    given = [field for computed in signature.computed for field in computed.gives]
    return {field.name: field.kind for field in (*signature.inputs, *given, *signature.request)}


class OnDemandFunction:
    """One function of a release: `taken` has the kinds of its arguments, `sources` the release's modules by path.

    The pre-trained models that it uses are opened from the folder `bundle` on the first call, with one thread each.
    """

    def __init__(
        self,
        computed: OnDemandFeature,
        taken: Mapping[str, Kind],
        sources: Mapping[str, bytes],
        hashes: Mapping[str, str],
        bundle: Path,
    ) -> None:
        self._name = computed.function
        self._takes = [(name, taken[name]) for name in computed.takes]
        self._gives = computed.gives
        used = {name: PretrainedGraph(bundle / PRETRAINED / name) for name in computed.pretrained}
        self._function: Callable[..., Any] = load_shipped(
            computed.module, computed.function, FOLDER, sources, hashes, used
        )

    def __call__(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add the function's results to each row, a dict of name -> value; `AnswerFailed` where it fails."""
        try:
            result = self._function(
                *[array_of_values([row.get(name) for row in rows], kind) for name, kind in self._takes]
            )
        except BaseException as error:  # its message may quote a value
            require_error(error)
            raise AnswerFailed(f"on-demand features {self._name!r} raised a {type(error).__name__}") from error
        if not isinstance(result, dict):
            raise AnswerFailed(f"on-demand features {self._name!r} did not return a dict")
        for field in self._gives:
            for row, value in zip(rows, self._values(result, field, len(rows)), strict=True):
                row[field.name] = value

    def _values(self, result: Mapping[str, Any], field: InputField, n: int) -> list[Any]:
        array = np.asarray(result.get(field.name))
        if array.shape != (n,):
            raise AnswerFailed(
                f"on-demand features {self._name!r}: {field.name!r} does not have one value for each row"
            )
        try:
            return values_of_array(array, field.kind)
        except (TypeError, ValueError, OverflowError) as error:
            raise AnswerFailed(
                f"on-demand features {self._name!r}: {field.name!r} has a value that is not {KINDS[field.kind].words}"
            ) from error
