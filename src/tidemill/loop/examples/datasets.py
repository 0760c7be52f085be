"""Datasets: pinned by table versions when a model is trained, and rebuilt cell by cell by time travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from tidemill.core.errors import DatasetChanged, UnknownName, nearest
from tidemill.core.identity.refs import parse_ref
from tidemill.core.ports import Lease
from tidemill.core.record_format import decode_record
from tidemill.core.records.dataset import Dataset
from tidemill.core.records.release import Release
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.loop.project.stores import Stores
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.rows.dataset_fingerprint import dataset_fingerprint


def pin_dataset(
    stores: Stores, graph: ProjectGraph, view: LakeSnapshot, model: str, examples: Examples, lease: Lease | None = None
) -> Dataset:
    """Record the sources of `examples` in the ledger; the same content of the same versions is one dataset."""
    asking = graph.askings[model]
    dataset = Dataset(
        model=model,
        number=0,
        publication=view.publication,
        as_of=view.as_of,
        tables={name: view.versions[name] for name in tables_read_by(graph, asking)},
        code=code_of(graph, asking),
        fields=examples.fields,
        target=asking.model.target,
        n_rows=len(examples),
        sample=asking.model.sample,
        mark=dataset_fingerprint(examples),
    )
    before = stores.ledger.find("dataset", about=f"model:{model}", fingerprint=dataset.mark)
    same = [found for found in map(_from_line_details, (line.details for line in before)) if _alike(found, dataset)]
    if same:
        return same[-1]
    last = stores.ledger.last("dataset", f"model:{model}")
    number = _from_line_details(last.details).number + 1 if last else 1
    dataset = msgspec.structs.replace(dataset, number=number)
    stores.ledger.append(
        "dataset",
        about=f"model:{model}",
        refs_in=[f"table:{table}@{version}" for table, version in sorted(dataset.tables.items())],
        refs_out=[f"dataset:{dataset.name}"],
        fingerprint=dataset.mark,
        details={"dataset": dataset.json()},
        lease=lease,
    )
    failpoint("dataset.ledger")
    return dataset


def datasets(stores: Stores, model: str) -> list[Dataset]:
    """The datasets that a model was trained on, oldest first."""
    return [_from_line_details(line.details) for line in stores.ledger.find("dataset", about=f"model:{model}")]


def dataset_named(stores: Stores, ref: str) -> Dataset:
    """The dataset `churn@3`; `churn@newest` is the last one."""
    wanted = parse_ref(ref, "dataset")
    known = datasets(stores, wanted.name)
    for found in known[::-1]:
        if wanted.version in (str(found.number), "newest"):
            return found
    raise UnknownName(f"there is no dataset {ref!r}", tip=nearest(ref, [found.name for found in known]))


def dataset_of(stores: Stores, release: Release) -> Dataset | None:
    """The dataset that a release was trained on; `None` for a model trained elsewhere."""
    for run in stores.runs.all(release.model):
        if run.artefacts.get("release") == f"release:{release.name}" and "dataset" in run.artefacts:
            return dataset_named(stores, run.artefacts["dataset"])
    return None


def changed_code(stores: Stores, graph: ProjectGraph, release: Release) -> list[str]:
    """Views whose code has changed since a release was trained, so that its served features differ."""
    asking, dataset = graph.askings.get(release.model), dataset_of(stores, release)
    if asking is None or dataset is None:
        return []
    now = code_of(graph, asking)
    # a function is shipped with its release; a view is looked up in its current form
    return sorted(name for name in asking.model.features if name in dataset.code and now[name] != dataset.code[name])


def rebuild_dataset(stores: Stores, graph: ProjectGraph, dataset: Dataset) -> Examples:
    """The examples of a dataset, rebuilt from its publication; raises `DatasetChanged` if they differ."""
    asking = graph.askings.get(dataset.model)
    if asking is None:
        raise UnknownName(f"no model {dataset.model!r}", tip=nearest(dataset.model, graph.askings))
    asking = replace(asking, model=replace(asking.model, sample=dataset.sample))
    examples = build_examples(graph, stores.lake.view(publication=dataset.publication), asking)
    if dataset_fingerprint(examples) != dataset.mark:
        code = code_of(graph, asking)
        changed = sorted(name for name in {*code, *dataset.code} if code.get(name) != dataset.code.get(name))
        why = f"the code of {', '.join(changed)} has changed" if changed else "its rows or columns differ"
        raise DatasetChanged(
            f"dataset {dataset.name} was rebuilt with {len(examples):,} rows and differs from what was pinned: {why}",
            tip="check out the commit of its run, or type `tidemill verify`",
        )
    return examples


def tables_read_by(graph: ProjectGraph, asking: SignatureSpec) -> list[str]:
    """The tables that a model's examples are built from."""
    views = graph.mill.features_views
    names = [asking.model.examples, *(lookup.view for lookup in asking.lookups)]
    found = {table for name in names for table in (views[name].inputs if name in views else (name,))}
    return sorted(found)


def code_of(graph: ProjectGraph, asking: SignatureSpec) -> dict[str, str]:
    """Fingerprints of all project code between the tables and the examples."""
    names = [asking.model.examples, *asking.model.features, *asking.model.on_demand]
    return {name: graph.codes[name] for name in names if name in graph.codes}


def _alike(found: Dataset, other: Dataset) -> bool:
    return msgspec.structs.replace(found, number=0) == other


def _from_line_details(details: Mapping[str, str]) -> Dataset:
    return decode_record(details["dataset"], Dataset)
