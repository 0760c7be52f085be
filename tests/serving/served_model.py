"""Tabular models in a house of their own, to be served: with known answers, lookups and an on-demand function."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from served_shop import turn

import tidemill.core.settings as settings_module
from tidemill.core.clock import SystemClock
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import FeatureLookup, InputField, OnDemandFeature, Signature, Task, outputs_of
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models.tabular import TabularModel, write_tabular
from tidemill.models.tabular.input_ranges import InputRanges, write_input_ranges
from tidemill.models.tabular.recipe import (
    AdditiveTerm,
    AdditiveTerms,
    DatePart,
    NumberColumn,
    OneHot,
    OnnxGraphMember,
    TabularRecipe,
)
from tidemill.serving import ServerPlan
from tidemill.serving.live.kill_switch import heal_switch

CHURN, PRICE, SPECIES, BUYER = "churn", "price", "species", "buyer"
#: The last boundary that the view `spending` has values of.
BOUNDARY = 1_780_000_000_000_000
DAY = 86_400_000_000
MODULE = "features/ratios.py"
SOURCE = b"""from __future__ import annotations

import numpy as np


def ratios(amount, spent):
    return {"ratio": np.divide(amount, spent)}
"""


@dataclass
class Served:
    stores: Stores
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.stores.serving_root

    def plan(self) -> ServerPlan:
        return serve_plan(self.stores.settings, overrides=self.overrides)

    def promote(
        self, model: str, made: TabularModel, signature: Signature, *, ranges: InputRanges | None = None, **more: Any
    ) -> Release:
        """A release of a model, made and taken live."""
        mark = hashlib.sha256(repr(made.recipe).encode()).hexdigest()[:16]
        folder = self.stores.state / f"made-{mark}"
        write_tabular(made, folder)
        if ranges is not None:
            write_input_ranges(ranges, folder)
        card = Card(
            model=model, helps="Everybody.", could_harm="Nobody.", learner="additive", parameters={}, evaluation=None,
            data={}, n_rows=1, n_users=0, n_items=0, learned_at=0, as_of=0,
        )  # fmt: skip
        release = self.stores.releases.create(model, folder, RuleSet(retrieve=()), card, signature=signature, **more)
        promoted = self.stores.releases.promote(release.name)
        heal_switch(self.root, model, self.stores.ledger)
        return promoted

    def turn(self, model: str, *, off: bool) -> None:
        """Use the kill switch while the ledger may be away."""
        turn(self.stores, model, off=off)


def line(column: int, slope: float, k: int = 1) -> AdditiveTerm:
    """slope · x between -1000 and 1000, 0 where x is missing; of several classes, more for the later ones."""
    ends = [tuple(slope * end * (1 + place) for place in range(k)) for end in (-1000.0, 1000.0)]
    return AdditiveTerm(column=column, knots=(-1000.0, 1000.0), values=tuple(ends), missing=(0.0,) * k)


def additive(
    task: Task,
    target: str,
    inputs: Sequence[InputField],
    slopes: Sequence[float],
    classes: Sequence[str] = (),
    **more: Any,
) -> TabularModel:
    """A model that is linear in its inputs; a text counts as 1 where it is `gold`, a time as its hour."""
    k = len(classes) if task == "classes" else 1
    link: Any = {"binary": "sigmoid", "classes": "softmax", "count": "exp", "number": "identity"}[task]
    terms = tuple(line(place, slope, k) for place, slope in enumerate(slopes))
    recipe = TabularRecipe(
        task=task, target=target, inputs=tuple(inputs), classes=tuple(classes),
        encoders=tuple(_encoder(one) for one in inputs),
        members=(AdditiveTerms(name="a", terms=terms, bias=(0.0,) * k),),
        weights=(1.0,), bias=(0.1,) * k, link=link, **more,
    )  # fmt: skip
    return TabularModel(recipe, {})


def _encoder(one: InputField) -> Any:
    if one.kind == "str":
        return OneHot(input=one.name, value="gold", known=("gold",))
    return DatePart(input=one.name, part="hour") if one.kind == "time" else NumberColumn(input=one.name)


CHURN_FIELDS = (
    InputField(name="age", kind="int", optional=False, unit="years"),
    InputField(name="balance", kind="float"),
    InputField(name="member", kind="bool"),
    InputField(name="plan", kind="str"),
    InputField(name="joined", kind="time"),
)


def churn(bias: float = 0.0) -> TabularModel:
    """Binary, with an input of each kind."""
    slopes = [0.02 + bias, -0.5, 0.3, 0.7, 0.01]
    return additive("binary", "left", CHURN_FIELDS, slopes, ("no", "yes"), threshold=0.6)


def churn_signature() -> Signature:
    return Signature(
        task="binary", target="left", request=CHURN_FIELDS, inputs=CHURN_FIELDS, outputs=outputs_of("binary"),
        classes=("no", "yes"),
    )  # fmt: skip


SIZES = (InputField(name="length", kind="float", optional=False), InputField(name="width", kind="float"))


def sized(task: Task, target: str, classes: tuple[str, ...] = ()) -> tuple[TabularModel, Signature]:
    """A model of two numbers."""
    signature = Signature(
        task=task, target=target, request=SIZES, inputs=SIZES, outputs=outputs_of(task), classes=classes
    )
    return additive(task, target, SIZES, [0.3, -0.2], classes), signature


def graph_of(task: Task, target: str, raw: bytes) -> tuple[TabularModel, Signature]:
    """A model of two numbers whose only member is an ONNX graph with the output `out`."""
    member = OnnxGraphMember(name="graph", file="graph.onnx", output="out", columns=(0, 1))
    recipe = TabularRecipe(
        task=task, target=target, inputs=SIZES, encoders=tuple(_encoder(one) for one in SIZES), members=(member,),
        weights=(1.0,), bias=(0.0,), link="identity",
    )  # fmt: skip
    return TabularModel(recipe, {"graph.onnx": raw}), sized(task, target)[1]


BUYER_INPUTS = (
    InputField(name="amount", kind="float", optional=False),
    InputField(name="spent", kind="float"),
    InputField(name="tier", kind="str"),
    InputField(name="ratio", kind="float"),
)


def buyer() -> tuple[TabularModel, Signature]:
    """A count: an amount from the request, two features of the person, and a ratio of both."""
    request = (
        InputField(name="customer", kind="str", role="subject"),
        BUYER_INPUTS[0],
        InputField(name="at", kind="time", role="event_time"),
    )
    lookup = FeatureLookup(
        view="spending", entity="customer", columns={"spent": "spent", "tier": "tier"}, ttl_us=30 * DAY
    )
    ratios = OnDemandFeature(function="ratios", module=MODULE, takes=("amount", "spent"), gives=(BUYER_INPUTS[3],))
    signature = Signature(
        task="count", target="orders", request=request, inputs=BUYER_INPUTS, outputs=outputs_of("count"),
        lookups=(lookup,), computed=(ratios,),
    )  # fmt: skip
    return additive("count", "orders", BUYER_INPUTS, [0.01, 0.002, 0.4, 0.05]), signature


def open_models(folder: Path, **serve: Any) -> Served:
    """A house without a project file; `serve` are settings of the server."""
    folder.mkdir(parents=True, exist_ok=True)
    overrides = {"keys": str(folder.parent / f"{folder.name}-keys")}
    overrides |= {
        f"serve.{name}": value for name, value in ({"port": 0, "workers": 1, "drain_s": 0.05} | serve).items()
    }
    settings = settings_module.load(folder, overrides=overrides, environ={})
    return Served(open_stores(folder, settings, SystemClock(), name="models"), overrides)


def publish_spending(served: Served, people: dict[str, tuple[float | None, str | None]]) -> None:
    """The view that `buyer` looks up, as a run leaves it."""
    rows = pa.table(
        {
            "customer": [served.stores.surrogates("customer", name) for name in people],
            "spent": pa.array([spent for spent, _ in people.values()], pa.float64()),
            "tier": pa.array([tier for _, tier in people.values()], pa.string()),
            "_at": pa.array([BOUNDARY] * len(people), pa.int64()),
        }
    )
    served.stores.latest.write("spending", "customer", rows, "1")
