"""MLflow's scoring client against a real server, unchanged: it waits, and asks with a frame and a CSV."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from served_model import CHURN, churn, churn_signature, open_models

from tidemill import __version__
from tidemill.serving import start

SCRIPT = """
import http.client, json, sys
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

port = int(sys.argv[1])
client = ScoringServerClient("127.0.0.1", port)
client.wait_server_ready(timeout=10)
frame = pd.DataFrame({"plan": ["gold", "a,b", None], "age": [31, 55, 7], "balance": [1.5, None, -2e3]})
found = client.invoke(frame).get_predictions().to_dict("records")
connection = http.client.HTTPConnection("127.0.0.1", port)
connection.request("POST", "/invocations", frame.to_csv(index=False), {"Content-Type": "text/csv; charset=utf-8"})
table = json.loads(connection.getresponse().read())
print(json.dumps([client.get_version(), found, table]))
"""


@pytest.mark.slow
def test_its_client_waits_and_gets_the_same_answers_as_a_csv(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    made = open_models(tmp_path / "project", slot_s=3600)
    made.promote(CHURN, churn(), churn_signature())
    with start(made.plan()) as server:
        server.wait_ready(60)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(server.port)], capture_output=True, text=True, check=False, cwd=tmp_path,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, found, table = json.loads(done.stdout.splitlines()[-1])
    assert version == __version__
    assert [set(row) for row in found] == [{"probability", "label"}] * 3
    assert table["predictions"] == found and table["classes"] == ["yes"]
