"""Folders of pre-trained models: resolved in the project, copied into the bundle, named on its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tidemill.loop.project.mill import Mill
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.models.formats.pretrained import CARD, PretrainedGraph
from tidemill.models.tabular.on_demand_arrays import PRETRAINED


def place_pretrained(mill: Mill, project: Path) -> None:
    """Resolve relative folders against the project, independent of the working directory."""
    for found in _used_by_functions(mill):
        for name, pretrained in _named(found).items():
            found[name] = pretrained.within(project)
    for name, model in mill.row_models.items():
        if isinstance(model.learn, PretrainedGraph):
            mill.models[name] = replace(model, learn=model.learn.within(project))


def take_from_bundle(mill: Mill, bundle: Path) -> None:
    """Use the pre-trained models of a model's bundle instead of those in the project's folder."""
    for found in _used_by_functions(mill):
        for name in _named(found):
            if (bundle / PRETRAINED / name).is_dir():
                found[name] = PretrainedGraph(bundle / PRETRAINED / name)
    for name, model in mill.row_models.items():
        if isinstance(model.learn, PretrainedGraph) and (bundle / CARD).is_file():
            mill.models[name] = replace(model, learn=PretrainedGraph(bundle))


def keep_pretrained(asking: SignatureSpec, bundle: Path) -> None:
    """Copy the pre-trained models of a model's functions into the bundle's folder, before it is sealed.

    If the model itself is pre-trained, the bundle already has the graph, and only its card is added.
    """
    if isinstance(asking.model.learn, PretrainedGraph):
        (bundle / CARD).write_bytes((asking.model.learn.place / CARD).read_bytes())
    for name, pretrained in asking.pretrained.items():
        pretrained.write(bundle / PRETRAINED / name)


def origins(asking: SignatureSpec) -> dict[str, str]:
    """Origins of pre-trained models, for the card: `mood source`, `mood licence`, `mood revision`, `mood sha256`."""
    return {
        f"{name} {what}": value
        for name, pretrained in asking.pretrained.items()
        for what, value in pretrained.origin.facts().items()
    }


def _used_by_functions(mill: Mill) -> list[dict[str, Any]]:
    """The global names of each file with on-demand features, for rebinding."""
    found = {id(names): names for node in mill.on_demands.values() if (names := _top(node.function)) is not None}
    return list(found.values())


def _top(function: Any) -> dict[str, Any] | None:
    return getattr(function, "__globals__", None)


def _named(names: dict[str, Any]) -> dict[str, PretrainedGraph]:
    return {name: value for name, value in names.items() if isinstance(value, PretrainedGraph)}
