"""An export that left out on-demand functions, and answered rows that lack their columns without a word.

Every answer of an exported model, by its own program and as an MLflow model, is compared with the server's answer to
the same rows: equal predictions, or both refuse and name the column.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from served_model import Served, additive, open_models, publish_spending

from tidemill.core.errors import ReleaseError, RuleRefused
from tidemill.core.records.release import Release
from tidemill.core.records.signature import FeatureLookup, InputField, OnDemandFeature, Signature, outputs_of
from tidemill.loop.serve.server_processes import _stores
from tidemill.models.tabular import TabularModel
from tidemill.models.tabular.input_ranges import InputRange, InputRanges
from tidemill.release import export_tabular, read_deployment
from tidemill.serving.http.access import LoopbackAccess
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.live.state_files import write_state
from tidemill.serving.process.worker_site import WorkerSite

MODULE = "features/derived.py"
SOURCE = b"""from __future__ import annotations

import numpy as np

RATES = {"gold": 0.2, "basic": 0.9}


def derived(age, balance, plan, member, at, coins):
    hour = (at - at.astype("datetime64[D]")) / np.timedelta64(1, "h")
    return {
        "hour": hour,
        "per_year": balance / (1 + age),
        "rate": np.array([RATES.get(text, -1.0) for text in plan]),
        "tier": np.array(["gold" if text == "gold" and yes == 1 else "other" for text, yes in zip(plan, member)]),
        "coins_left": np.where(np.isnan(coins), -7, coins * 2).astype("int64"),
        "rich": np.nan_to_num(balance) > 10,
    }
"""
REQUEST = (
    InputField(name="age", kind="int", optional=False, unit="years"),
    InputField(name="balance", kind="float"),
    InputField(name="plan", kind="str"),
    InputField(name="member", kind="bool"),
    InputField(name="at", kind="time", role="event_time"),
    InputField(name="coins", kind="float"),  # only the function takes it
)
MADE = tuple(
    InputField(name=name, kind=kind)
    for name, kind in (
        ("hour", "float"), ("per_year", "float"), ("rate", "float"), ("tier", "str"), ("coins_left", "int"),
        ("rich", "bool"),
    )
)  # fmt: skip
LOOKED_UP = (InputField(name="spent", kind="float"), InputField(name="tier_of", kind="str"))
CUSTOMER = InputField(name="customer", kind="str", role="subject")
TASKS: dict[str, tuple[str, ...]] = {"binary": ("no", "yes"), "classes": ("a", "b", "c"), "number": (), "count": ()}
#: What the training rows of each model had; a bundle that was written before has no ranges.
SEEN = (
    InputRange(name="age", low=0, high=100),
    InputRange(name="balance", low=-9.5, high=1e6, missing=True),
    InputRange(name="plan", texts=("basic", "gold"), missing=True),
    InputRange(name="tier", texts=("gold", "other")),
    InputRange(name="coins_left", low=-7, high=100),
)
RANGES = dict.fromkeys(TASKS, InputRanges(inputs=SEEN)) | {"count": None}
AT = "2026-03-01T10:30:00Z"
ROW: dict[str, Any] = {"age": 41, "balance": 12.5, "plan": "gold", "member": True, "at": AT, "coins": 3.0}
COMPUTED = OnDemandFeature(
    function="derived", module=MODULE, takes=("age", "balance", "plan", "member", "at", "coins"), gives=MADE
)
#: Rows -> the column that both refuse, or nothing.
ROWS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "plain": ([ROW, ROW | {"age": 12, "balance": -2, "plan": "basic"}], ""),
    "reordered": ([dict(reversed(ROW.items()))], ""),
    "a category never seen": ([ROW | {"plan": "never seen"}], ""),
    "blanks at the ends of a category": ([ROW | {"plan": " gold\t"}, ROW | {"plan": " x "}], ""),
    "a number out of range": ([ROW | {"age": 200}, ROW], ""),
    "missing values": ([ROW | dict.fromkeys(("balance", "plan", "member", "coins"))], ""),
    "optional columns left out": ([{"age": 30, "at": AT}], ""),
    "flags as numbers, integers as floats": ([ROW | {"member": 1, "age": 41.0}], ""),
    "a time in microseconds": ([ROW | {"at": 1_772_361_000_000_000}], ""),
    "many rows": ([ROW | {"age": age} for age in range(40)], ""),
    "a required column is left out": ([{name: ROW[name] for name in ROW if name != "age"}], "age"),
    "a required value is missing": ([ROW, ROW | {"age": None}], "age"),
    "a column that the model does not use": ([ROW | {"height": 3}], "height"),
    "a column under another name": ([ROW | {"Balance": 3}], "Balance"),
    "a computed column": ([ROW | {"per_year": 3.5}], "per_year"),
    "text for a number": ([ROW | {"balance": "12.5"}], "balance"),
    "a fraction for an integer": ([ROW | {"age": 41.5}], "age"),
    "text for a flag": ([ROW | {"member": "no"}], "member"),
    "a number for text": ([ROW | {"plan": 5}], "plan"),
    "a time without a zone": ([ROW | {"at": "2026-03-01T10:30:00"}], "at"),
    "no number at all": ([ROW | {"balance": 2**70 + 1}], "balance"),
}  # fmt: skip


def model_of(task: Any, inputs: tuple[InputField, ...]) -> TabularModel:
    return additive(task, "y", inputs, [0.01 * (1 + place) for place in range(len(inputs))], TASKS[task])


def signed(task: Any, request: tuple[InputField, ...], inputs: tuple[InputField, ...], **more: Any) -> Signature:
    return Signature(
        task=task, target="y", request=request, inputs=inputs, outputs=outputs_of(task), classes=TASKS[task], **more
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    made = open_models(tmp_path_factory.mktemp("exports") / "project", slot_s=3600)
    inputs = (*REQUEST[:4], *MADE)
    for task in TASKS:
        signature = signed(task, REQUEST, inputs, computed=(COMPUTED,))
        made.promote(f"{task}_model", model_of(task, inputs), signature, modules={MODULE: SOURCE}, ranges=RANGES[task])
    looked = signed(
        "number", (CUSTOMER, *REQUEST), (*inputs, *LOOKED_UP), computed=(COMPUTED,),
        lookups=(FeatureLookup(view="spending", entity="customer", columns={"spent": "spent", "tier_of": "tier"}),),
    )  # fmt: skip
    made.promote("looked_up", model_of("number", (*inputs, *LOOKED_UP)), looked, modules={MODULE: SOURCE})
    publish_spending(made, {"ann": (250.0, "gold"), "bob": (None, "silver")})
    for name in (*(f"{task}_model" for task in TASKS), "looked_up"):  # as the supervisor does
        live = read_deployment(made.root, name, made.stores.keys.public)
        write_state(made.root / name / "serving.json", live)
    return made


@pytest.fixture(scope="module")
def site(served: Served) -> Iterator[WorkerSite]:
    stores = served.stores
    made = WorkerSite(_stores(stores.settings), stores.settings.serve, LoopbackAccess([8400]), place=0)
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def exports(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    for name in (*(f"{task}_model" for task in TASKS), "looked_up"):
        export(served, served.stores.releases.get(f"{name}@1"), folder / name)
    return folder


def export(served: Served, release: Release, folder: Path) -> None:
    releases = served.stores.releases
    export_tabular(release, releases.bundle(release.bundle), releases.modules(release), folder)


def ask(site: WorkerSite, model: str, rows: list[dict[str, Any]]) -> tuple[int, Any]:
    headers = {"content-type": "application/json", "host": "127.0.0.1:8400"}
    body = msgspec.json.encode({"dataframe_records": rows})
    found: Any = site.server.application(
        HttpRequest("POST", "/invocations", query=f"model={model}", headers=headers, body=body)
    )
    answer = found if isinstance(found, HttpResponse) else asyncio.run(found)
    return answer.status, json.loads(answer.body)


def reading(folder: Path) -> dict[str, Any]:
    return runpy.run_path(str(folder / "reading.py"), run_name="exported")


def same(found: Any, expected: Any) -> None:
    """Predictions in the form of `/invocations`."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, dict):
            assert one.keys() == other.keys() and one["label"] == other["label"]
            one, other = (next(value for name, value in row.items() if name != "label") for row in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("task", TASKS)
def test_an_export_answers_rows_as_the_server_does(site: WorkerSite, exports: Path, task: str, case: str) -> None:
    rows, refused = ROWS[case]
    status, answer = ask(site, f"{task}_model", rows)
    model = reading(exports / f"{task}_model")["Model"](exports / f"{task}_model" / "model")
    if refused:
        assert status == 400
        with pytest.raises(ValueError, match=f"'{refused}'"):
            model.predict(rows)
    else:
        assert status == 200, answer
        same(model.predict(rows), answer["predictions"])
        assert {str(row): names for row, names in model.unseen(rows).items()} == answer.get("unseen", {})


@pytest.mark.parametrize("task", TASKS)
def test_an_export_as_an_mlflow_flavour_answers_as_the_server_does(site: WorkerSite, exports: Path, task: str) -> None:
    pandas = pytest.importorskip("pandas")
    data = exports / f"{task}_model" / "mlflow" / "data"
    flavour = runpy.run_path(str(exports / f"{task}_model" / "reading.py"))["_load_pyfunc"](data)
    rows = [ROW, ROW | {"balance": None, "plan": "x", "member": None}, ROW | {"age": 7, "coins": None, "plan": None}]
    expected = ask(site, f"{task}_model", rows)[1]["predictions"]
    found = flavour.predict(pandas.DataFrame(rows, index=[5, 6, 9]))
    same(found.to_dict("records") if hasattr(found, "to_dict") else found.tolist(), expected)
    bare = flavour.predict(pandas.DataFrame({"age": [30], "at": [AT]}))
    assert len(bare) == 1


def test_what_the_server_looks_up_has_to_be_given(site: WorkerSite, exports: Path) -> None:
    model = reading(exports / "looked_up")["Model"](exports / "looked_up" / "model")
    status, answer = ask(site, "looked_up", [ROW | {"customer": "ann"}, ROW | {"customer": "bob"}])
    assert status == 200
    given = [ROW | {"spent": 250.0, "tier_of": "gold"}, ROW | {"spent": None, "tier_of": "silver", "customer": "bob"}]
    same(model.predict(given), answer["predictions"])
    with pytest.raises(ValueError, match="the rows lack 'spent', 'tier_of'"):
        model.predict([ROW, ROW | {"customer": "ann"}])


def test_the_command_names_every_column_that_is_wrong(exports: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"balance": 1.0, "height": 2, "hour": 3.0}]))
    program = str(exports / "binary_model" / "predict.py")
    done = subprocess.run([sys.executable, program, str(rows)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the rows lack 'age'; the model computes 'hour' by `derived`: leave it out;")
    assert "the model does not use 'height'; it takes age, balance, plan, member, at, coins" in done.stderr
    rows.write_text(json.dumps([ROW, ROW | {"plan": "x"}]))
    done = subprocess.run([sys.executable, program, str(rows)], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["classes"] == ["yes"] and found["predictions"][0].keys() == {"probability", "label"}
    assert found["unseen"] == {"1": ["plan"]}


def test_a_function_with_other_content_is_not_run(exports: Path, served: Served, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    export(served, served.stores.releases.get("number_model@1"), folder)
    source = folder / "model" / MODULE
    source.write_text(source.read_text() + "\n# changed\n")
    with pytest.raises(ValueError, match=r"does not match the hash that request\.json pins"):
        reading(folder)["Model"](folder / "model")


def test_a_release_whose_module_is_changed_is_not_exported(served: Served, tmp_path: Path) -> None:
    release = served.stores.releases.get("number_model@1")
    changed = tmp_path / "modules" / MODULE
    changed.parent.mkdir(parents=True)
    changed.write_bytes(SOURCE + b"\n")
    with pytest.raises(RuleRefused, match="does not match the hash that the release pins"):
        export_tabular(
            release, served.stores.releases.bundle(release.bundle), tmp_path / "modules", tmp_path / "refused"
        )


def test_a_function_of_a_persons_surrogate_is_not_exported(served: Served, tmp_path: Path) -> None:
    signature = signed(
        "number", (CUSTOMER,), (InputField(name="x", kind="float"),),
        computed=(OnDemandFeature(function="f", module="features/f.py", takes=("customer",), gives=()),),
    )  # fmt: skip
    release = msgspec.structs.replace(served.stores.releases.get("number_model@1"), signature=signature)
    with pytest.raises(ReleaseError, match="surrogate of 'customer'"):
        export(served, release, tmp_path / "refused")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "classes", "number"])
def test_mlflow_and_its_scoring_server_answer_as_the_server_does(
    site: WorkerSite, exports: Path, tmp_path: Path, task: str
) -> None:
    pytest.importorskip("mlflow")
    cases = {name: rows for name, (rows, refused) in ROWS.items() if not refused}
    script = tmp_path / "ask.py"
    script.write_text(
        "import json, sys, mlflow, pandas as pd\n"
        "from mlflow.pyfunc.scoring_server import invocations\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "schema, found = model.metadata.get_input_schema(), {}\n"
        "for name, rows in json.load(open(sys.argv[2])).items():\n"
        "    answer = model.predict(pd.DataFrame(rows))\n"
        "    answer = answer.to_dict('records') if hasattr(answer, 'to_dict') else answer.tolist()\n"
        "    body = json.dumps({'dataframe_records': rows}).encode()\n"
        "    served = invocations(body, 'application/json', model, schema)\n"
        "    found[name] = [answer, json.loads(served.response)]\n"
        "try:\n"
        "    model.predict(pd.DataFrame([{'balance': 1.0, 'height': 2}]))\n"
        "except Exception as error:\n"
        "    found['refused'] = str(error)\n"
        "found['classes'] = model.metadata.metadata['classes']\n"
        "print(json.dumps(found))\n"
    )
    given = tmp_path / "cases.json"
    given.write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, str(script), str(exports / f"{task}_model" / "mlflow"), str(given)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name, rows in cases.items():
        expected = ask(site, f"{task}_model", rows)[1]["predictions"]
        loaded, scored = found[name]
        same(loaded, expected)
        assert "predictions" in scored, (name, scored)
        same(scored["predictions"], expected)
    assert "age" in found["refused"] and "height" in found["refused"]
    assert found["classes"] == list({"binary": ("yes",), "classes": ("a", "b", "c")}.get(task, ()))
