"""Imported trees as tabular models: LightGBM's text format, CatBoost's and XGBoost's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tidemill.core.errors import BackendMissing, NotPublishable, nearest
from tidemill.core.kinds import Kind
from tidemill.core.records.signature import InputField, Task
from tidemill.models.formats.lightgbm_text_check import checked_text
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import Encoder, NumberColumn, OnnxGraphMember, Ordinal, TreesMember
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.catboost_estimator import arrays_model
from tidemill.training.tabular.publish.fitted_trees import TreeSum, lightgbm_link, xgboost_trees
from tidemill.training.tabular.publish.lightgbm_estimator import FILE, categories_of, line_of, objective_of
from tidemill.training.tabular.publish.onnx_estimators import summed_nodes
from tidemill.training.tabular.publish.onnx_nodes import MATRIX, OnnxNodes
from tidemill.training.tabular.publish.publish_estimator import margins_of, recipe_of
from tidemill.training.tabular.publish.xgboost_file import read_xgboost

_GRAPH = "model.onnx"


def lightgbm_fields(text: str) -> tuple[InputField, ...]:
    """The inputs of a LightGBM text, in its order: category columns of a DataFrame are texts or integers.

    Raises `NotPublishable` if the names of its categories are missing.
    """
    return tuple(field for field, _ in _columns(text))


def lightgbm_task(text: str) -> Task:
    """The task that corresponds to the objective of a LightGBM text."""
    name = objective_of(text).split(maxsplit=1)[0]
    if name in ("binary", "cross_entropy"):
        return "binary"
    return "classes" if name.startswith("multiclass") else "count" if name == "poisson" else "number"


def lightgbm_text_model(text: str, examples: Examples) -> TabularModel:
    """A LightGBM text as a model over the inputs that it names; each of them must be a field of the examples."""
    columns = _columns(text)
    named([field.name for field, _ in columns], examples.fields)
    encoders = [
        NumberColumn(input=field.name) if codes is None else Ordinal(input=field.name, codes=codes)
        for field, codes in columns
    ]
    k = int(line_of(text, "num_tree_per_iteration"))
    if k != margins_of(examples):
        raise NotPublishable(f"the trees have {k} outputs, but the task {examples.task} needs {margins_of(examples)}")
    link = lightgbm_link(objective_of(text)) or "identity"
    member = TreesMember(name="lightgbm", file=FILE, columns=tuple(range(len(encoders))))
    parts = {FILE: checked_text(text.encode()).encode()}
    return TabularModel(recipe_of(examples, member, encoders=encoders, link=link), parts)


def _columns(text: str) -> list[tuple[InputField, dict[str, int] | None]]:
    """Each column of the text as a field, with the codes of its categories, if any."""
    try:
        checked_text(text.encode())
    except ValueError as refused:
        raise NotPublishable(f"the LightGBM model text cannot be used: {refused}") from refused
    names, about = line_of(text, "feature_names").split(" "), line_of(text, "feature_infos").split(" ")
    has_codes = [not info.startswith("[") and info != "none" for info in about]
    categories = categories_of(text)
    if sum(has_codes) != len(categories) and categories:
        raise NotPublishable(
            f"the trees split {sum(has_codes)} columns by category, but name the categories of {len(categories)}",
            tip="retrain with tm.auto() or on a DataFrame in which all categories occur",
        )
    if len(names) != len(about):
        raise NotPublishable(f"the trees name {len(names)} columns, but describe {len(about)}")
    kept = iter(categories)
    found: list[tuple[InputField, dict[str, int] | None]] = []
    for name, coded in zip(names, has_codes, strict=True):
        codes = next(kept, None) if coded else None  # without category names the codes themselves are the input
        whole = codes is not None and all(isinstance(one, int) for one in codes)
        if codes is not None and not whole and not all(isinstance(one, str) for one in codes):
            raise NotPublishable(f"the categories of {name!r} are neither strings nor integers")
        kind: Kind = "float" if codes is None else "int" if whole else "str"
        places = None if codes is None else {str(one): place for place, one in enumerate(codes)}
        found.append((InputField(name=name, kind=kind), places))
    return found


def named(asked: Sequence[str], fields: Sequence[InputField]) -> None:
    """Check that every requested name is a field; raises `NotPublishable` with the nearest name."""
    known = [field.name for field in fields]
    for name in asked:
        if name not in known:
            raise NotPublishable(f"the model reads {name!r}, which is not an input here", tip=nearest(name, known))


def catboost_model(file: Path, examples: Examples) -> TabularModel:
    """A CatBoost file without categories, over the inputs that it names (or all, in their order)."""
    try:
        import catboost  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing(
            f"reading {file.name} needs catboost, which is not installed", tip="pip install 'tidemill[learn]'"
        ) from problem
    model = catboost.CatBoost()
    model.load_model(str(file))
    if model.get_cat_feature_indices() or model.get_text_feature_indices():
        raise NotPublishable("CatBoost models with native categorical features cannot be published")
    return arrays_model(model, examples, _numbers(model.feature_names_, examples.fields))


def xgboost_model(file: Path, examples: Examples) -> TabularModel:
    """An XGBoost file (`.json` or `.ubj`), over the inputs that it names (or all, in their order)."""
    learner = read_xgboost(file).learner
    encoders, summed = _numbers(learner.feature_names, examples.fields), xgboost_trees(learner)
    if max(summed.trees.column, default=0) >= len(encoders):
        raise NotPublishable(f"the trees read more than the {len(encoders)} columns that the model has")
    if len(summed.start) != margins_of(examples):
        raise NotPublishable(
            f"the trees have {len(summed.start)} outputs, but the task {examples.task} needs {margins_of(examples)}"
        )
    return xgboost_graph(summed, encoders, examples)


def xgboost_graph(summed: TreeSum, encoders: Sequence[Encoder], examples: Examples) -> TabularModel:
    """XGBoost's trees over these columns as one node of a graph."""
    width = len(encoders)
    nodes = OnnxNodes((), width)
    raw = nodes.finish(summed_nodes(summed, nodes, MATRIX), margins_of(examples))
    member = OnnxGraphMember(name="xgboost", file=_GRAPH, output=nodes.answer, columns=tuple(range(width)))
    return TabularModel(recipe_of(examples, member, encoders=encoders), {_GRAPH: raw})


def _numbers(names: Sequence[str] | None, fields: Sequence[InputField]) -> list[Encoder]:
    """A column for each name; without names (or with CatBoost's numbers as names) for each field."""
    if not names or all(name.isdigit() for name in names):
        names = [field.name for field in fields]
    named(names, fields)
    kinds = {field.name: field.kind for field in fields}
    texts = [name for name in names if kinds[name] == "str"]
    if texts:
        raise NotPublishable(f"the trees read numbers, but {', '.join(texts)} are texts")
    return [NumberColumn(input=name) for name in names]
