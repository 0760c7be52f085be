"""Triton's extensions of the Open Inference Protocol: model configuration, repository index and statistics.

Standard: triton-inference-server/server, `docs/protocol/`, and `ModelConfig` of `model_config.proto` as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from tidemill.core.settings import Serve
from tidemill.serving.http import requests
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.infer.infer_route import require_version, tabular_predictor_of
from tidemill.serving.infer.model_metadata import PLATFORM, TensorMetadata, metadata_of
from tidemill.serving.infer.model_statistics import ModelStatistics, ModelStats
from tidemill.serving.infer.tabular_predictor import TabularPredictor
from tidemill.serving.live.live_model import LiveModel, served_model

_NO_STORE = (("cache-control", "no-store"),)
#: Names of the protocol's datatypes in a model configuration.
_TYPES = {"BYTES": "TYPE_STRING"}


class ConfigInput(msgspec.Struct, frozen=True):
    """An input; the first of `dims` is the number of rows."""

    name: str
    data_type: str
    dims: list[int]
    optional: bool
    format: str = "FORMAT_NONE"


class ConfigOutput(msgspec.Struct, frozen=True):
    """An output."""

    name: str
    data_type: str
    dims: list[int]


class InstanceGroup(msgspec.Struct, frozen=True):
    """The workers, each with the model."""

    name: str
    count: int
    kind: str = "KIND_CPU"


class ModelParameter(msgspec.Struct, frozen=True):
    """A further fact."""

    string_value: str


class ModelConfig(msgspec.Struct, frozen=True):
    """A model's configuration. The number of rows is part of the shapes, so `max_batch_size` is 0."""

    name: str
    platform: str
    version_policy: dict[str, dict[str, list[int]]]
    input: list[ConfigInput]
    output: list[ConfigOutput]
    instance_group: list[InstanceGroup]
    parameters: dict[str, ModelParameter]
    backend: str = "tidemill"
    max_batch_size: int = 0


class IndexBody(msgspec.Struct, frozen=True):
    """Which models to list: with `ready` only those that answer."""

    repository_name: str | None = None
    ready: bool | None = None


class IndexedModel(msgspec.Struct, frozen=True):
    """A model, its live release, and whether it answers."""

    name: str
    version: str
    state: str
    reason: str


_decoder = msgspec.json.Decoder(IndexBody)


class TritonExtensions:
    """Responses about the tabular models of a worker."""

    def __init__(self, models: Mapping[str, LiveModel], statistics: ModelStatistics, settings: Serve) -> None:
        self._models, self._statistics, self._settings = models, statistics, settings

    def config(self, request: HttpRequest) -> HttpResponse:
        """The configuration of a model."""
        predictor = self._predictor(request)
        about, release = metadata_of(predictor), predictor.release
        optional = {field.name: field.optional for field in predictor.signature.request}
        facts = {"release": release.name, "max_rows": str(self._settings.max_rows)}
        facts |= {f"classes.{one.name}": str(one.parameters["classes"]) for one in about.outputs if one.parameters}
        return _json(
            ModelConfig(
                name=release.model,
                platform=PLATFORM,
                version_policy={"specific": {"versions": [release.number]}},
                input=[ConfigInput(one.name, _type(one), one.shape, optional[one.name]) for one in about.inputs],
                output=[ConfigOutput(one.name, _type(one), one.shape) for one in about.outputs],
                instance_group=[InstanceGroup(f"{release.model}_workers", self._settings.workers)],
                parameters={name: ModelParameter(value) for name, value in facts.items()},
            )
        )

    def index(self, request: HttpRequest) -> HttpResponse:
        """Every tabular model, and models that have no live release."""
        body = requests.decoded(_decoder, request.body) if request.body.strip() else IndexBody()
        found = [one for one in self._indexed() if one.state == "READY" or not body.ready]
        return HttpResponse(200, msgspec.json.encode(found), _NO_STORE)

    def _indexed(self) -> Iterator[IndexedModel]:
        for name, model in sorted(self._models.items()):
            predictor = model.predictor
            if predictor is None:
                yield IndexedModel(name, "", "UNAVAILABLE", "it has no live release")
            elif isinstance(predictor, TabularPredictor):
                state, reason = ("UNAVAILABLE", "it is switched off") if model.off else ("READY", "")
                yield IndexedModel(name, str(predictor.release.number), state, reason)

    def stats(self, request: HttpRequest) -> HttpResponse:
        """The statistics of a model's live release."""
        return _json(ModelStats([self._statistics.read(self._predictor(request).release)]))

    def all_stats(self, request: HttpRequest) -> HttpResponse:
        """The statistics of all live releases."""
        live = [model.predictor for _, model in sorted(self._models.items())]
        return _json(
            ModelStats([self._statistics.read(one.release) for one in live if isinstance(one, TabularPredictor)])
        )

    def _predictor(self, request: HttpRequest) -> TabularPredictor:
        predictor = tabular_predictor_of(served_model(self._models, request.parts[0]))
        require_version(predictor, request.parts[1:])
        return predictor


def _type(tensor: TensorMetadata) -> str:
    return _TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")


def _json(body: msgspec.Struct) -> HttpResponse:
    return HttpResponse(200, msgspec.json.encode(body), _NO_STORE)
