"""Tables without rows: equal to Arrow's own, and made without pandas."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa

from tidemill.core.empty_tables import empty_table

SCHEMA = pa.schema(
    [
        pa.field("_row", pa.int64(), nullable=False),
        ("at", pa.timestamp("us", "UTC")),
        ("name", pa.dictionary(pa.int32(), pa.string())),
        ("scores", pa.list_(pa.float64())),
    ],
    metadata={"by": "test"},
)


def test_it_is_what_arrow_makes() -> None:
    made = empty_table(SCHEMA)
    assert made.equals(SCHEMA.empty_table(), check_metadata=True)
    assert [column.num_chunks for column in made.columns] == [1] * 4


def test_pandas_is_not_loaded() -> None:
    program = (
        "import sys, pyarrow as pa; from tidemill.core.empty_tables import empty_table\n"
        "empty_table(pa.schema([('a', pa.string())])); print('pandas' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_a_source_loads_no_pandas() -> None:
    program = (
        "import sys, tidemill.sources.files.file_source, tidemill.loop.pipeline.run; print('pandas' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
