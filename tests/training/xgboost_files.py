"""Files of XGBoost, as it writes them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np


def stump(place: Path, objective: str = "reg:squarederror", **tree: Any) -> Path:
    """XGBoost's JSON of one split: `x < 0.1` gives 1, else and where x is missing 2; the start is 0.5."""
    told = {
        "left_children": [1, -1, -1],
        "right_children": [2, -1, -1],
        "split_indices": [0, 0, 0],
        "split_conditions": [0.1, 1.0, 2.0],
        "default_left": [0, 0, 0],
        "split_type": [0, 0, 0],
    } | tree
    booster = {"name": "gbtree", "model": {"trees": [told], "tree_info": [0]}}
    learner = {
        "feature_names": ["x"],
        "gradient_booster": booster,
        "objective": {"name": objective},
        "learner_model_param": {"base_score": "[5E-1]", "num_class": "0"},
    }
    file = place / "model.json"
    file.write_text(json.dumps({"learner": learner, "version": [3, 2, 0]}))
    return file


def ubjson(value: Any) -> bytes:
    """As XGBoost writes it: 64-bit lengths, typed arrays of numbers."""
    if isinstance(value, dict):
        return b"{" + b"".join(ubjson(key)[1:] + ubjson(one) for key, one in value.items()) + b"}"
    if isinstance(value, str):
        return b"SL" + struct.pack(">q", len(value.encode())) + value.encode()
    if isinstance(value, int):
        return b"L" + struct.pack(">q", value)
    kind = "d" if any(isinstance(one, float) for one in value) else "l"
    if value and isinstance(value[0], int | float):
        numbers = np.asarray(value, ">f4" if kind == "d" else ">i4").tobytes()
        return f"[${kind}#L".encode() + struct.pack(">q", len(value)) + numbers
    return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(ubjson, value))
