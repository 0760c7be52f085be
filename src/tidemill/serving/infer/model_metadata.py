"""Model metadata and health by the Open Inference Protocol: `GET /v2`, `/v2/health/…`, `/v2/models/…`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

import tidemill
from tidemill.core.records.signature import InputField, Signature
from tidemill.serving.http.health_status import Liveness, Readiness
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.infer.infer_route import InferRoute, require_version, tabular_predictor_of
from tidemill.serving.infer.oip_response import classes_text
from tidemill.serving.infer.tabular_predictor import TabularPredictor
from tidemill.serving.infer.tensor_values import DATATYPE

_NO_STORE = (("cache-control", "no-store"),)
PLATFORM = "tidemill_tabular"
EXTENSIONS = ["binary_tensor_data", "model_configuration", "statistics"]


class ServerMetadata(msgspec.Struct, frozen=True):
    """Name, version and extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input or output of a model; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, str | bool] = {}


class TabularMetadata(msgspec.Struct, frozen=True):
    """A tabular model: its live release, inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReadiness(msgspec.Struct, frozen=True):
    """Whether a model is live and not switched off."""

    name: str
    ready: bool


class ModelMetadata:
    """Responses about one worker; `not_ready` returns the reasons why it is not ready."""

    def __init__(self, inferring: InferRoute, not_ready: Callable[[], list[str]]) -> None:
        self._inferring = inferring
        self._not_ready = not_ready

    def server(self, request: HttpRequest) -> HttpResponse:
        """Name, version and extensions."""
        return _json(ServerMetadata("tidemill", tidemill.__version__, EXTENSIONS))

    def live(self, request: HttpRequest) -> HttpResponse:
        """200 while the worker runs."""
        return _json(Liveness())

    def ready(self, request: HttpRequest) -> HttpResponse:
        """200 when every promoted model is live; else 400, because the protocol requires a 4xx status."""
        reasons = self._not_ready()
        return _json(Readiness(not reasons, reasons), 400 if reasons else 200)

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
        return _json(ModelReadiness(model.name, ready), 200 if ready else 400)


def metadata_of(predictor: TabularPredictor) -> TabularMetadata:
    """A model's metadata in the protocol's form."""
    release, signature = predictor.release, predictor.signature
    widths = {"probabilities": [-1, len(signature.classes)]}
    return TabularMetadata(
        name=release.model,
        versions=[str(release.number)],
        platform=PLATFORM,
        inputs=[TensorMetadata(field.name, DATATYPE[field.kind], [-1], _about(field)) for field in signature.request],
        outputs=[
            TensorMetadata(field.name, DATATYPE[field.kind], widths.get(field.name, [-1]), _classes(field, signature))
            for field in signature.outputs
        ],
    )


def _classes(field: InputField, signature: Signature) -> dict[str, str | bool]:
    has_classes = bool(signature.classes) and field.kind == "float"
    return {"classes": classes_text(signature.probability_classes)} if has_classes else {}


def _about(field: InputField) -> dict[str, str | bool]:
    parameters: dict[str, str | bool] = {"kind": field.kind, "optional": field.optional}
    return parameters | {name: value for name, value in (("unit", field.unit), ("role", field.role)) if value}


def _json(body: msgspec.Struct, status: int = 200) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(body), _NO_STORE)
