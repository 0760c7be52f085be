"""A tabular bundle: a folder with `tabular.json`, the files of its members, and golden rows with predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import BundleCorrupt, BundleRefused, FormatTooNew
from tidemill.core.record_format import decode_json
from tidemill.core.records.signature import InputField
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.formats.arrow_tables import read_arrow
from tidemill.models.tabular.design_matrix import inputs_of
from tidemill.models.tabular.recipe import FORMAT, Member, ObliviousTreesMember, TabularRecipe
from tidemill.models.tabular.recipe_validation import check_names, check_recipe, files_of
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_model import TabularModel

ABOUT = "tabular.json"
GOLDEN = "golden.arrow"
#: The column of `golden.arrow` with the predictions, next to the inputs.
ANSWER = "_answer"
#: The text of golden rows that stands for one that no training row has.
UNSEEN_TEXT = "never seen before"
Golden = tuple[pa.Table, NDArray[np.float64]]


def write_tabular(model: TabularModel, folder: Path, golden: Golden | None = None) -> None:
    """Write the model into `folder`: `.json`, `.npy`, `.txt` and `.onnx`; no pickles.

    `golden` are a few rows of inputs and their predictions, float64 (n) or (n, k), stored as `golden.arrow` for
    `parity`, on this machine and on others. They must not contain inputs that identify a person: such
    fields raise `BundleRefused`. The same model writes the same bytes.
    """
    check_recipe(model.recipe, model.parts)
    folder.mkdir(parents=True, exist_ok=True)
    for member in model.recipe.members:
        for name in files_of(member):
            part = model.parts.get(name)
            if isinstance(part, np.ndarray):
                write_array(folder / name, part)
            elif part is not None:
                (folder / name).write_bytes(part)
    (folder / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(model.recipe, enc_hook=_plain)))
    if golden is not None:
        write_golden(model.inputs, folder, golden)


def open_tabular(folder: Path) -> TabularModel:
    """Open what `write_tabular` wrote: arrays memory-mapped, libraries loaded, so that no request waits for them.

    Raises `BundleCorrupt` if parts are missing or do not match, `BundleRefused` for invalid trees or an invalid graph,
    `FormatTooNew`, and `BackendMissing` if a member's library is missing.
    """
    recipe = _recipe(folder / ABOUT)
    check_names(recipe)
    parts: dict[str, Any] = {}
    for member in recipe.members:
        for name in files_of(member):
            if (folder / name).exists() or not name.endswith(".counts.npy"):
                parts[name] = _part(folder / name, member)
    return TabularModel(recipe, parts)


class BundleFormat(NamedTuple):
    """How a model is stored in a folder: `write` into an empty one, without golden rows, and `open`."""

    write: Callable[[Any, Path], None]
    open: Callable[[Path], RowModel]


TABULAR = BundleFormat(write_tabular, open_tabular)


def _part(file: Path, member: Member) -> Any:
    if isinstance(member, ObliviousTreesMember):
        return open_array(file)
    return _read(file)


def parity(model: RowModel, golden: Golden | Path) -> float:
    """The largest difference from the golden predictions, for the table and row by row; 0 without golden rows.

    `golden` are inputs and predictions, or the folder of a bundle with `golden.arrow`.
    """
    inputs, answers = read_golden(golden) if isinstance(golden, Path) else golden
    if not len(inputs):
        return 0.0
    bulk = np.abs(model.answer(inputs) - answers).max()
    rows = np.asarray([model.predict_row(row) for row in rows_of(model.inputs, inputs)])
    return float(max(bulk, np.abs(rows.reshape(np.shape(answers)) - answers).max()))


def golden_tolerance(model: RowModel, predictions: NDArray[np.float64]) -> float:
    """The largest difference from golden `predictions` that another machine may have."""
    return model.tolerance * max(1.0, float(np.abs(predictions).max()))


def rows_of(fields: Sequence[InputField], inputs: pa.Table) -> list[list[Any]]:
    """The rows of a table as `predict_row` reads them: values in input order, times int microseconds."""
    columns = inputs_of(inputs, fields)
    plain = [
        (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for column in columns.values()
    ]
    return [list(row) for row in zip(*plain, strict=True)]


def read_golden(folder: Path) -> Golden:
    """The golden rows of a bundle and their predictions float64 (n) or (n, k); no rows if it has none."""
    file = folder / GOLDEN
    if not file.exists():
        return pa.table({}), np.zeros(0)
    table = read_arrow(file)
    try:
        answers = table.column(ANSWER).combine_chunks()
        is_list = pa.types.is_list(answers.type)
        flat = np.asarray(answers.flatten() if is_list else answers, np.float64)
        return table.drop_columns([ANSWER]), flat.reshape((len(table), -1) if is_list else (len(table),))
    except (pa.ArrowException, KeyError, TypeError, ValueError) as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem


def write_golden(fields: Sequence[InputField], folder: Path, golden: Golden) -> None:
    """Store rows of inputs and a model's predictions for them in its bundle; see `write_tabular`."""
    inputs, answers = golden
    people = [field.name for field in fields if field.role == "subject"]
    if people:
        raise BundleRefused(f"golden rows would store {people[0]!r}, which identifies people", tip="leave `golden` out")
    columns: dict[str, Any] = dict(inputs_of(inputs, fields))
    columns[ANSWER] = pa.array(np.asarray(answers, np.float64).tolist())
    table = pa.table(columns)
    with pa.OSFile(str(folder / GOLDEN), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _plain(value: Any) -> Any:
    """NumPy scalars of a recipe as Python numbers."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} in a recipe")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem


def _recipe(file: Path) -> TabularRecipe:
    try:
        raw = _read(file)
        number = decode_json(raw, dict[str, Any]).get("format")
        if isinstance(number, int) and number > FORMAT:
            raise FormatTooNew(f"{file} has format {number}; this tidemill reads formats up to {FORMAT}")
        return decode_json(raw, TabularRecipe)
    except msgspec.DecodeError as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem
