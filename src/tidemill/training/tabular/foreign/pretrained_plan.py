"""Pre-trained models as plans: nothing is fitted, and the pinned file is published unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from tidemill.models.formats.pretrained import PretrainedGraph
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.pyfunc import Pyfunc
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.foreign.mlflow_model import MlflowFolder, mlflow_folder
from tidemill.training.tabular.publish.onnx_model import graph_model
from tidemill.training.tabular.publish.publish_estimator import fit_pair


@dataclass(frozen=True)
class PretrainedPlan:
    """The ONNX graph in a folder, over inputs with the same names, or as one matrix of numbers."""

    pretrained: PretrainedGraph
    name: str = "pretrained"

    @property
    def origin(self) -> dict[str, str]:
        """For `Card.origin`: source, licence, revision and sha256."""
        return self.pretrained.origin.facts()

    def settings(self) -> dict[str, Any]:
        """The origin, with the hash of the file: a different file is a different model."""
        return self.origin

    def fit(self, examples: Examples, *, seed: int = 0) -> TabularModel:
        """The graph over these fields; the rows are not used."""
        return graph_model(self.pretrained.raw, examples.fields, examples.task, examples.classes)


@dataclass(frozen=True)
class PyfuncPlan:
    """An MLflow model, published by its flavor."""

    pyfunc: Pyfunc
    name: str = "pyfunc"

    def settings(self) -> dict[str, Any]:
        """The source, the selected flavor, and the hash of its file."""
        folder = self._folder()
        return {"source": self.pyfunc.source, "flavor": folder.flavor, "sha256": folder.sha256}

    def fit(self, examples: Examples, *, seed: int = 0) -> TabularModel:
        """The published model; a pickle is checked on the rows."""
        return fit_pair(partial(self._folder().model, trust_pickle=self.pyfunc.trust_pickle), examples)

    def _folder(self) -> MlflowFolder:
        return mlflow_folder(self.pyfunc.source)
