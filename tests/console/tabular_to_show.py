"""A mill with tabular models, feature views and functions: real releases and rows, and files as a run leaves them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from runs_to_show import metric

from conftest import Mill
from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.core.clock import to_micros
from tidemill.core.records.assessment import (
    Assessment,
    CalibrationBin,
    CurvePoint,
    EnsembleMember,
    FeatureImportance,
    GroupGap,
    SliceScore,
)
from tidemill.core.records.evaluation_charts import EffectBin
from tidemill.core.records.quality import MetricScore
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import FeatureLookup, InputField, OnDemandFeature, Signature, Task, outputs_of
from tidemill.features.skew import FeatureSkew, ValueDifference
from tidemill.loop.online.feature_metadata_files import (
    DeclaredFeatures,
    DeclaredFunction,
    DeclaredView,
    Significance,
    SkewReport,
    write_declared,
    write_significance,
    write_skew,
)
from tidemill.models.tabular.input_ranges import InputRange, InputRanges, write_input_ranges
from tidemill.training.tabular.assess.evaluation_charts import evaluation_charts
from tidemill.training.tabular.assess.losses import RowAnswers

DAY_US = 86_400_000_000
RANGES = InputRanges(
    n_rows=7_043,
    inputs=(
        InputRange(name="tenure", low=0, high=72),
        InputRange(name="contract", texts=("monthly", "one year", "two years"), missing=True, outside=0.001),
    ),
)
VIEWS = ("zone_pace", "taste", "unused")


def score(name: str, value: float, base: float, *, higher: bool = False, half: float = 0.02) -> MetricScore:
    return MetricScore(
        name=name,
        higher_is_better=higher,
        model=metric(value, half),
        baseline=metric(base, half),
        difference=metric(value - base, half),
    )


def assessment(loss: float = 0.415, *, text: str = "", champion: float | None = None, **more: Any) -> Assessment:
    """An assessment of a binary model; `text` stands wherever a project's own words do."""
    n = 1_373
    bins = tuple(
        CalibrationBin(
            n=137, low=k / 10, high=k / 10 + 0.1, predicted=k / 10 + 0.05, observed=metric(k / 10 + 0.06, 0.03)
        )
        for k in range(10)
    )
    rng = np.random.default_rng(7)
    probability = rng.beta(1, 2.5, n)
    predictions = RowAnswers("binary", probability, (rng.random(n) < probability).astype(np.float64), 0.4)
    beside = () if champion is None else (score("log_loss", loss, champion),)
    given: dict[str, Any] = {
        "task": "binary",
        "measure": "log_loss",
        "baseline": "prior",
        "protocol": f"rows drawn by a fixed hash of their names are tested: 1,373 of 7,043 rows (19%) {text}",
        "split_at": None,
        "n_train": 5_670,
        "n_test": n,
        "scores": (
            score("log_loss", loss, 0.578),
            score("auc", 0.846, 0.5, higher=True),
            score("brier", 0.136, 0.194, half=0.01),
        ),
        "prevalence": 0.264,
        "bins": (*bins, CalibrationBin(n=4, low=1.0, high=1.0, predicted=0.991, observed=metric(0.5, 0.4))),
        "calibration_error": metric(0.007, 0.004),
        "curve": tuple(
            CurvePoint(share=rows / 5_670, n_rows=rows, score=metric(0.41 + 0.6 / rows**0.5, 0.02), cpu_s=0.1)
            for rows in (66, 180, 583, 1_718, 5_670)
        ),
        "curve_says": "Twice the rows would lower log_loss from 0.4151 by about 0.0031.",
        "parts": (
            _part("Contract", "Two year", 365, -0.3, 0.0001),
            _part("Contract", f"Month-to-month {text}", 754, 0.39, 0.0),
            _part("InternetService", "DSL", 480, 0.01, 0.8),
            _part("tenure", "missing", 11, 0.9, 0.08),
            _part("Partner", "few", 4, 0.9, 0.0),
        ),
        "worst": f"Worst where Contract is Month-to-month {text} (754 rows): log_loss 0.5913 against 0.2006 elsewhere.",
        "gaps": (
            _gap("gender", "selection rate", {"Female": 0.212, f"Male {text}": 0.208}, 0.05),
            _gap("senior", "selection rate", {"0": 0.18, "1": 0.364}, 0.06),
            _gap("tiny", "error", {"a": 0.1, "b": 0.9}, 0.06, n=4),
        ),
        "gaps_say": "The largest gap beyond noise: selection rate by senior.",
        "influences": (
            FeatureImportance(
                input="tenure",
                mean_abs=0.43,
                share=0.144,
                direction=-0.91,
                effect=(
                    *(EffectBin(n=100, at=12.0 * k, mean=1 - k, low=0.5 - k, high=1.5 - k) for k in range(3)),
                    EffectBin(n=12, value="missing", mean=0.2, low=0.1, high=0.3),
                ),
            ),
            FeatureImportance(
                input=f"Contract {text}",
                mean_abs=0.6,
                share=0.197,
                effect=(
                    EffectBin(n=700, value=f"monthly {text}".strip(), mean=0.5, low=0.4, high=0.6),
                    EffectBin(n=300, value="yearly", mean=-0.5, low=-0.6, high=-0.4),
                    EffectBin(n=4, value="seldom", mean=-9.0, low=-9.0, high=-9.0),
                ),
            ),
            FeatureImportance(input="charges", mean_abs=0.1, share=0.03, direction=0.1),
        ),
        "members": (
            EnsembleMember(
                name="prior", settings='{"plan":"naive"}', score=metric(0.579, 0.01), cpu_s=0.0, state="kept out"
            ),
            EnsembleMember(
                name=f"stack {text}", settings='{"a":1,"b":2}', score=metric(0.41, 0.01), cpu_s=1.0, state="chosen"
            ),
            EnsembleMember(
                name="slow", settings="{}", score=None, cpu_s=0.0, state="late", says="the deadline came first"
            ),
        ),
        "charts": evaluation_charts(predictions, ("No", f"Yes {text}".strip())),
        "beside_champion": beside,
        "champion": "churn@1" if beside else "",
        "warnings": (f"`billed` alone foretells the answer (AUC 0.999) {text}",) if text else (),
    }
    return Assessment(**(given | more))


def _part(column: str, value: str, n: int, worse: float, p: float) -> SliceScore:
    return SliceScore(
        column=column, value=value, n=n, score=metric(0.4 + worse, 0.03), difference=metric(worse, 0.05), p_holm=p
    )


def _gap(attribute: str, measure: str, groups: dict[str, float], half: float, n: int = 220) -> GroupGap:
    values = list(groups.values())
    return GroupGap(
        attribute=attribute,
        measure=measure,
        groups={name: metric(value, 0.02) for name, value in groups.items()},
        n=dict.fromkeys(groups, n),
        gap=metric(max(values) - min(values), half),
        significant=max(values) - min(values) > half,
        highest=max(groups, key=lambda name: groups[name]),
        lowest=min(groups, key=lambda name: groups[name]),
    )


def signature(task: Task = "binary", *, text: str = "") -> Signature:
    fields = (
        InputField(name="customer", kind="str", optional=False, role="subject"),
        InputField(name="tenure", kind="int", optional=False, unit=f"months {text}".strip()),
        InputField(name=f"Contract {text}".strip(), kind="str"),
        InputField(name="charges", kind="float"),
        InputField(name="senior", kind="bool"),
        InputField(name="at", kind="time", role="event_time"),
    )
    drift = (InputField(name="drift", kind="float"),)
    pace = {"pace": "zone_minutes"}
    return Signature(
        task=task,
        target=f"left {text}".strip(),
        request=fields,
        inputs=(*fields[1:5], InputField(name="pace", kind="float"), *drift),
        outputs=outputs_of(task),
        lookups=(FeatureLookup(view="zone_pace", entity="zone", columns=pace, ttl_us=3 * DAY_US),),
        computed=(
            OnDemandFeature(function="billing", module="features/billing.py", takes=("tenure", "charges"), gives=drift),
        ),
        classes=("No", f"Yes {text}".strip()) if task == "binary" else (),
    )


def learn_tabular(
    mill: Mill, found: Assessment | None, *, model: str = "churn", text: str = "", task: Task = "binary", **more: Any
) -> Release:
    """A release of a tabular model on a bundle of its own."""
    number = sum(line.about == f"model:{model}" for line in mill.ledger.find("release")) + 1
    folder = mill.root / f"made-{model}-{number}"
    folder.mkdir()
    np.save(folder / "weights.npy", np.full(4, number, np.float32))
    write_input_ranges(RANGES, folder)
    bundle = mill.releases.keep(folder)
    mill.ledger.append("learn", about=f"model:{model}", refs_out=[f"bundle:{model}@{bundle}"])
    given: dict[str, Any] = {
        "helps": f"Customers who would leave {text}",
        "could_harm": f"Those who are never called {text}",
        "learner": f"stack {text}",
        "parameters": {"plan": "auto", "members": [{"learner": "additive"}], "weights": [0.2, 0.8]},
        "n_users": 0,
        "n_items": 0,
    }
    card = Card(
        model=model,
        evaluation=None,
        assessment=found,
        data={"customers": 1},
        n_rows=7_043,
        learned_at=to_micros(mill.clock.now()),
        as_of=to_micros(mill.clock.now()),
        **(given | more),
    )
    return mill.releases.create(model, bundle, RuleSet(retrieve=()), card, signature=signature(task, text=text))


def declared(text: str = "") -> DeclaredFeatures:
    """Three views: one that counts for three days, one of people, and one that nobody uses or answers for."""

    def view(name: str, entity: str, columns: dict[str, str], **more: Any) -> DeclaredView:
        given: dict[str, Any] = {
            "personal": False, "hidden": (), "kind": "rows", "window_us": None, "every_us": None, "ttl_us": None,
            "owner": f"arrivals team {text}".strip(), "description": f"How long rides took {text}",
            "inputs": ("trips",), "consumers": ("churn",), "inputs_of": {},
        }  # fmt: skip
        return DeclaredView(name=name, entity=entity, columns=columns, **(given | more))

    return DeclaredFeatures(
        views=(
            view(
                "zone_pace", "zone", {"zone_minutes": "double", f"weather {text}".strip(): "string"},
                kind="window 28 days, every 1 day", window_us=28 * DAY_US, every_us=DAY_US, ttl_us=3 * DAY_US,
                inputs_of={"churn": {"zone_minutes": "pace"}},
            ),
            view("taste", "user_id", {"n": "int64", "friend": "string"}, personal=True, hidden=("user_id", "friend")),
            view("unused", "zone", {"x": "int64"}, owner="", consumers=()),
        ),
        functions=(
            DeclaredFunction(
                name="billing", owner="", description=f"What was paid {text}", takes=("tenure", "charges"),
                gives=(InputField(name="drift", kind="float"),), consumers=("churn",),
            ),
        ),
    )  # fmt: skip


def filled(mill: Mill, *, text: str = "", age: timedelta = timedelta(hours=1)) -> LmdbLatest:
    """The rows of the views, the newest `age` old, and what is declared and measured of them."""
    latest = LmdbLatest(mill.root / "latest")
    newest = to_micros(mill.clock.now() - age)
    n = 240
    rng = np.random.default_rng(3)
    minutes = pa.array(rng.gamma(4, 6, n), mask=np.arange(n) % 10 == 0)
    weather = [f"rain {text}".strip() if k % 3 else "sun" if k > 9 else f"rare {k}" for k in range(n)]
    zones = {
        "zone": [f"z{k:03}" for k in range(n)],
        "zone_minutes": minutes,
        f"weather {text}".strip(): weather,
        "_at": [newest - (k % 2) * 4 * DAY_US for k in range(n)],
    }
    people = {
        "user_id": [f"s{k:03}" for k in range(30)],
        "n": [1000 if k == 7 else k % 12 for k in range(30)],
        "friend": ["secret-surrogate"] * 30,
        "_at": [newest] * 30,
    }
    for name, key, rows in (("zone_pace", "zone", zones), ("taste", "user_id", people)):
        made = pa.table(rows)
        latest.write(name, key, made, f"version of {name}")
        mill.ledger.append(
            "features",
            about=f"view:{name}",
            refs_in=["table:trips@4", "table:other@2"],
            fingerprint="ab12cd34" * 8,
            details={"publication": mill.publications, "rows": made.num_rows},
        )
    write_declared(mill.serving, declared(text))
    at = to_micros(mill.clock.now())
    tests = {"pace": 1e-9, "drift": 0.2, "tenure": 0.0}
    write_significance(mill.serving, Significance(model="churn", target=f"left {text}", at=at, publication=1, p=tests))
    return latest


def skewed(mill: Mill, *, text: str = "", differing: int = 3) -> None:
    """A measured skew of `pace`, in which a row differs."""
    row = ValueDifference(
        prediction_id="p00042", as_of=to_micros(mill.clock.now()), logged=f"12.5 {text}".strip(), recomputed=None,
        logged_at=None, recomputed_at=None,
    )  # fmt: skip
    feature = FeatureSkew(
        feature="pace", view="zone_pace", n=200, differing=differing, behind=1, share=differing / 200,
        rows=(row,) if differing else (),
    )  # fmt: skip
    report = SkewReport(
        model="churn", release="churn@1", publication=1, predictions=200, first=1, last=2, features=(feature,)
    )
    write_skew(mill.serving, report, to_micros(mill.clock.now()))


def tabular_mill(root: Path, text: str = "") -> tuple[Mill, LmdbLatest]:
    """A mill with a tabular champion, a better candidate, and features."""
    root.mkdir(parents=True, exist_ok=True)
    mill = Mill(root, "calls")
    mill.open()
    mill.publish(mill.increment("customers", mill.clock.now().date(), 7_043))
    latest = filled(mill, text=text)
    mill.later(minutes=3)
    one = learn_tabular(mill, assessment(0.45, text=text), text=text)
    mill.promote(one.name)
    mill.later(minutes=30)
    learn_tabular(
        mill, assessment(0.415, champion=0.45), text=text, origin={"source": f"hf:calls {text}", "licence": ""}
    )
    mill.later(minutes=1)
    return mill, latest
