"""Serves one row of 20 numbers with a peer, until it is stopped.

    PYTHON tabular_servers.py raw|fastapi|mlserver|litserve|bentoml|mlflow PORT FOLDER [TREES]

TREES is a LightGBM model's text file; without it the answer is a constant, so that only the server costs. FOLDER is for
the files that a peer wants. Each peer has one worker, in its own process where it has that choice, and logs nothing.
"""

import json
import os
import sys
from pathlib import Path

WIDTH = 20
NAMES = [f"x{i:02d}" for i in range(WIDTH)]


def predictor(trees):
    """From a row, a list of numbers, to its probability."""
    if not trees:
        return lambda row: 0.3
    import lightgbm
    import numpy as np

    booster = lightgbm.Booster(model_file=trees)
    return lambda row: float(booster.predict(np.array([row]), num_threads=1)[0])


def run(app, port):
    import uvicorn

    uvicorn.run(app, port=port, log_level="error", access_log=False, http="httptools", loop="uvloop")


def raw(port, folder, trees):
    """ASGI without a framework: the body of the Open Inference Protocol, decoded by msgspec."""
    import msgspec

    predict, decode = predictor(trees), msgspec.json.decode

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body")
        row = [tensor["data"][0] for tensor in decode(body)["inputs"]]
        content = msgspec.json.encode({"outputs": [{"name": "probability", "data": [predict(row)]}]})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    run(app, port)


def fastapi(port, folder, trees):
    """FastAPI with a pydantic model of the row."""
    from fastapi import FastAPI
    from pydantic import create_model

    predict, app = predictor(trees), FastAPI()
    row_model = create_model("Row", **dict.fromkeys(NAMES, (float, ...)))

    @app.post("/predict")
    async def answer(row: row_model) -> dict:
        return {"probability": predict([getattr(row, name) for name in NAMES])}

    run(app, port)


def mlserver(port, folder, trees):
    """MLServer with an own model in the server's process (`parallel_workers` 0), without metrics, gzip or log."""
    (folder / "peer_model.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from mlserver import MLModel\n"
        "from mlserver.types import InferenceResponse, ResponseOutput\n"
        "from tabular_servers import predictor\n"
        "class Peer(MLModel):\n"
        "    async def load(self):\n"
        f"        self.one = predictor({trees!r})\n"
        "        return True\n"
        "    async def predict(self, payload):\n"
        "        found = self.one([tensor.data[0] for tensor in payload.inputs])\n"
        "        out = ResponseOutput(name='probability', shape=[1], datatype='FP64', data=[found])\n"
        "        return InferenceResponse(model_name='m', outputs=[out])\n"
    )
    about = {"name": "m", "implementation": "peer_model.Peer"}
    (folder / "model-settings.json").write_text(json.dumps(about))
    free = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    plain = {"parallel_workers": 0, "debug": False, "metrics_endpoint": None, "gzip_enabled": False}
    (folder / "settings.json").write_text(json.dumps(free | plain))
    os.environ["PYTHONPATH"] = str(folder)
    command = str(Path(sys.executable).parent / "mlserver")
    os.execv(command, [command, "start", str(folder)])


def litserve(port, folder, trees):
    """LitServe with one worker: one process for HTTP, one for the model, as it has no fewer."""
    (folder / "peer_api.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import litserve\n"
        "from tabular_servers import NAMES, predictor\n"
        "class Peer(litserve.LitAPI):\n"
        "    def setup(self, device):\n"
        f"        self.one = predictor({trees!r})\n"
        "    def decode_request(self, request):\n"
        "        return [request[name] for name in NAMES]\n"
        "    def predict(self, row):\n"
        "        return self.one(row)\n"
        "    def encode_response(self, found):\n"
        "        return {'probability': found}\n"
        "if __name__ == '__main__':\n"
        "    server = litserve.LitServer(Peer(), accelerator='cpu', devices=1, workers_per_device=1)\n"
        f"    server.run(port={port}, num_api_servers=1, log_level='error', generate_client_file=False)\n"
    )
    os.execv(sys.executable, [sys.executable, str(folder / "peer_api.py")])


def bentoml(port, folder, trees):
    """BentoML with one worker and an API on the event loop (`async`), without access log, metrics and telemetry."""
    (folder / "service.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import bentoml\n"
        "from tabular_servers import predictor\n"
        "@bentoml.service(workers=1, logging={'access': {'enabled': False}}, metrics={'enabled': False})\n"
        "class Peer:\n"
        "    def __init__(self):\n"
        f"        self.one = predictor({trees!r})\n"
        "    @bentoml.api\n"
        "    async def predict(self, row: list[float]) -> dict:\n"
        "        return {'probability': self.one(row)}\n"
    )
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.chdir(folder)
    command = str(Path(sys.executable).parent / "bentoml")
    os.execv(command, [command, "serve", "service:Peer", "--port", str(port)])


def mlflow(port, folder, trees):
    """MLflow's scoring server with one worker and a pyfunc model without a signature, so that rows stay NumPy.

    The server is uvicorn, which reads its options from the environment too: no access log.
    """
    import mlflow as library

    class Peer(library.pyfunc.PythonModel):
        def load_context(self, context):
            self.one = predictor(trees)

        def predict(self, context, model_input, params=None):
            return [self.one(row) for row in model_input.tolist()]

    if not (folder / "model").exists():
        library.pyfunc.save_model(
            str(folder / "model"), python_model=Peer(), pip_requirements=[], code_paths=[str(Path(__file__))]
        )
    os.environ |= {"UVICORN_ACCESS_LOG": "false", "UVICORN_LOG_LEVEL": "error", "MLFLOW_DISABLE_TELEMETRY": "true"}
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = str(Path(sys.executable).parent / "mlflow")
    given = ["models", "serve", "-m", str(folder / "model"), "--env-manager", "local", "-p", str(port), "-w", "1"]
    os.execv(command, [command, *given])


if __name__ == "__main__":
    name, port, folder, *more = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    globals()[name](int(port), Path(folder), more[0] if more else "")
