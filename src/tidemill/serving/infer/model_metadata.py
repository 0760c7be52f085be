"""Model metadata and health by the Open Inference Protocol: `GET /v2`, `/v2/health/…`, `/v2/models/…`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

import tidemill
from tidemill.core.records.signature import InputField
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.infer.infer_route import InferRoute, require_version, tabular_predictor_of
from tidemill.serving.infer.tabular_predictor import TabularPredictor
from tidemill.serving.infer.tensor_values import DATATYPE

_NO_STORE = (("cache-control", "no-store"),)
PLATFORM = "tidemill_tabular"


class ModelMetadata:
    """Responses about one worker; `not_ready` returns the reasons why it is not ready."""

    def __init__(self, inferring: InferRoute, not_ready: Callable[[], list[str]]) -> None:
        self._inferring = inferring
        self._not_ready = not_ready

    def server(self, request: HttpRequest) -> HttpResponse:
        """Name, version and extensions."""
        return _json({"name": "tidemill", "version": tidemill.__version__, "extensions": ["binary_tensor_data"]})

    def live(self, request: HttpRequest) -> HttpResponse:
        """200 while the worker runs."""
        return _json({"live": True})

    def ready(self, request: HttpRequest) -> HttpResponse:
        """200 when every promoted model is live; else 400, because the protocol requires a 4xx status."""
        reasons = self._not_ready()
        return _json({"ready": not reasons, "reasons": reasons}, 400 if reasons else 200)

    def model(self, request: HttpRequest) -> HttpResponse:
        """The inputs and outputs of a tabular model."""
        predictor = tabular_predictor_of(self._inferring.model(request.parts[0]))
        require_version(predictor, request.parts[1:])
        return _json(metadata_of(predictor))

    def model_ready(self, request: HttpRequest) -> HttpResponse:
        """200 when the model's release (of the requested version, if any) is live and not switched off; else 400."""
        model = self._inferring.model(request.parts[0])
        if len(request.parts) > 1 and model.predictor is not None:
            require_version(tabular_predictor_of(model), request.parts[1:])
        ready = model.predictor is not None and not model.off
        return _json({"name": model.name, "ready": ready}, 200 if ready else 400)


def metadata_of(predictor: TabularPredictor) -> dict[str, Any]:
    """A model's metadata in the protocol's form; -1 stands for the number of rows."""
    release, signature = predictor.release, predictor.signature
    widths = {"probabilities": [-1, len(signature.classes)]}
    return {
        "name": release.model,
        "versions": [str(release.number)],
        "platform": PLATFORM,
        "inputs": [
            {"name": field.name, "datatype": DATATYPE[field.kind], "shape": [-1], "parameters": _about(field)}
            for field in signature.request
        ],
        "outputs": [
            {"name": field.name, "datatype": DATATYPE[field.kind], "shape": widths.get(field.name, [-1])}
            for field in signature.outputs
        ],
    }


def _about(field: InputField) -> dict[str, Any]:
    parameters: dict[str, Any] = {"kind": field.kind, "optional": field.optional}
    return parameters | {name: value for name, value in (("unit", field.unit), ("role", field.role)) if value}


def _json(body: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(body), _NO_STORE)
