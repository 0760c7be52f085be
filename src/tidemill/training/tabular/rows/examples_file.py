"""Examples as one Arrow file, so that another process can train on them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples

_TARGET, _TIME, _GROUP = "\x1ftarget", "\x1ftime", "\x1fgroup"
_ABOUT = b"tidemill"


class _ExamplesHeader(msgspec.Struct, frozen=True, kw_only=True):
    fields: tuple[InputField, ...]
    task: Task
    classes: tuple[str, ...]


def write_examples(examples: Examples, file: Path) -> None:
    """Write what is needed for training: inputs, target, times and groups, but not the attributes."""
    table = examples.inputs.select([field.name for field in examples.fields])
    table = table.append_column(_TARGET, pa.array(examples.target))
    for name, values in ((_TIME, examples.time), (_GROUP, examples.group)):
        if values is not None:
            table = table.append_column(name, pa.array(values))
    about = _ExamplesHeader(fields=examples.fields, task=examples.task, classes=examples.classes)
    table = table.replace_schema_metadata({_ABOUT: msgspec.json.encode(about)})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_examples(file: Path) -> Examples:
    """The examples in a file that `write_examples` wrote, memory-mapped."""
    table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    about = msgspec.json.decode(table.schema.metadata[_ABOUT], type=_ExamplesHeader)
    names = set(table.column_names)
    return Examples(
        fields=about.fields,
        inputs=table.select([field.name for field in about.fields]),
        target=table[_TARGET].to_numpy(),
        task=about.task,
        classes=about.classes,
        time=table[_TIME].to_numpy().astype(np.int64) if _TIME in names else None,
        group=table[_GROUP].to_numpy().astype(np.int64) if _GROUP in names else None,
    )
