"""A network of PyTorch as a class with `fit` and `predict_proba` that leaves itself as ONNX: the documented pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Net:
    """Two layers over numbers; what is missing counts as the middle."""

    def __init__(self, width: int = 16, epochs: int = 60) -> None:
        self.width, self.epochs = width, epochs

    def fit(self, frame: Any, target: Any) -> Net:
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)
        x = torch.tensor(np.asarray(frame), dtype=torch.float32)
        middle, spread = torch.nanmean(x, 0), torch.from_numpy(np.nanstd(x.numpy(), 0)) + 1e-6
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], self.width), torch.nn.ReLU(), torch.nn.Linear(self.width, 2)
        )
        steps = torch.optim.Adam(net.parameters(), lr=0.01)
        scaled = torch.nan_to_num((x - middle) / spread)
        for _ in range(self.epochs):
            steps.zero_grad()
            torch.nn.functional.cross_entropy(net(scaled), torch.tensor(np.asarray(target))).backward()
            steps.step()

        class Whole(torch.nn.Module):  # type: ignore[misc]
            """Scaling and softmax belong into the graph, so that it answers rows as they come."""

            def __init__(self) -> None:
                super().__init__()
                self.net = net
                self.register_buffer("middle", middle)
                self.register_buffer("spread", spread)

            def forward(self, rows: Any) -> Any:
                scaled = (rows - self.middle) / self.spread
                return torch.softmax(self.net(torch.where(torch.isnan(scaled), 0.0, scaled)), 1)

        self.module_ = Whole().eval()
        return self

    def predict_proba(self, frame: Any) -> Any:
        import torch

        with torch.no_grad():
            return self.module_(torch.tensor(np.asarray(frame), dtype=torch.float32)).numpy()

    def predict(self, frame: Any) -> Any:
        return self.predict_proba(frame).argmax(1)

    def export_onnx(self, folder: Path) -> Path:
        import torch

        file = folder / "model.onnx"
        torch.onnx.export(
            self.module_,
            (torch.zeros(2, len(self.module_.middle)),),
            file,
            input_names=["rows"],
            output_names=["probabilities"],
            dynamic_shapes={"rows": {0: torch.export.Dim("n")}},
            dynamo=True,
            external_data=False,
        )
        return file
