"""Learns a table with a peer and leaves its answers for the test rows.

    PYTHON tabular_peer.py lightgbm|flaml|autogluon FOLDER SECONDS

FOLDER holds `train.arrow` and `test.arrow`; `answers.npy` and `cost.json` are written there. LightGBM with the settings
that it comes with, the others with theirs and so many seconds; one thread each.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

HIDDEN = "\x1f"


def read(file):
    """Inputs by name, target, and what the file says of itself."""
    table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    about = json.loads(table.schema.metadata[b"tidemill"])
    inputs = table.select([name for name in table.column_names if not name.startswith(HIDDEN)])
    return inputs, table[HIDDEN + "target"].to_numpy(), about


def matrices(train, test):
    """float64 matrices with texts as the number of the text in train, and which columns are texts."""
    columns, coded = [], []
    for at, name in enumerate(train.column_names):
        if pa.types.is_string(train[name].type):
            known = {text: code for code, text in enumerate(sorted(set(train[name].to_pylist()) - {None}))}
            columns.append(
                [np.asarray([known.get(text, np.nan) for text in rows[name].to_pylist()]) for rows in (train, test)]
            )
            coded.append(at)
        elif pa.types.is_timestamp(train[name].type):
            columns.append([rows[name].cast(pa.int64()).to_numpy() / 1e6 for rows in (train, test)])
        else:
            columns.append([rows[name].to_numpy().astype(float) for rows in (train, test)])
    return np.column_stack([a for a, _ in columns]), np.column_stack([b for _, b in columns]), coded


def lightgbm(train, target, test, task, seconds):
    """LightGBM as it comes: 100 rounds."""
    import lightgbm as lgb

    left, right, coded = matrices(train, test)
    objective = {"binary": "binary", "classes": "multiclass", "number": "regression", "count": "poisson"}[task]
    settings = {"objective": objective, "num_threads": 1, "verbosity": -1}
    if task == "classes":
        settings["num_class"] = int(target.max()) + 1
    return lgb.train(settings, lgb.Dataset(left, target, categorical_feature=coded)).predict(right, num_threads=1)


def frames(train, test):
    """pandas frames with categories for texts, and the parts of times beside them."""
    import pandas as pd

    left, right = train.to_pandas(), test.to_pandas()
    for name in train.column_names:
        if pa.types.is_string(train[name].type):
            dtype = pd.CategoricalDtype(sorted(left[name].dropna().unique()))
            left[name], right[name] = left[name].astype(dtype), right[name].astype(dtype)
        elif pa.types.is_timestamp(train[name].type):
            for frame in (left, right):
                times = frame.pop(name).dt
                frame[f"{name}_hour"], frame[f"{name}_weekday"], frame[f"{name}_day"] = (
                    times.hour,
                    times.weekday,
                    times.day,
                )
    return left, right


def flaml(train, target, test, task, seconds):
    """FLAML with its own split and its own learners."""
    from flaml import AutoML

    left, right = frames(train, test)
    kind = {"binary": "classification", "classes": "classification"}.get(task, "regression")
    metric = {"binary": "log_loss", "classes": "log_loss", "number": "mae"}.get(task, "rmse")
    found = AutoML()
    labels = target.astype(int) if kind == "classification" else target
    found.fit(left, labels, task=kind, metric=metric, time_budget=seconds, n_jobs=1, seed=0, verbose=0)
    if kind == "regression":
        return found.predict(right)
    return found.predict_proba(right)[:, 1] if task == "binary" else found.predict_proba(right)


def autogluon(train, target, test, task, seconds):
    """AutoGluon's medium quality."""
    from autogluon.tabular import TabularPredictor

    left, right = frames(train, test)
    kind = {"binary": "binary", "classes": "multiclass"}.get(task, "regression")
    metric = {"binary": "log_loss", "classes": "log_loss", "number": "mean_absolute_error"}.get(
        task, "root_mean_squared_error"
    )
    left["_target"] = target.astype(int) if kind != "regression" else target
    found = TabularPredictor("_target", problem_type=kind, eval_metric=metric, verbosity=0)
    found.fit(left, time_limit=seconds, num_cpus=1, presets="medium_quality")
    if kind == "regression":
        return found.predict(right).to_numpy()
    probabilities = found.predict_proba(right).to_numpy()
    return probabilities[:, 1] if task == "binary" else probabilities


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    rows, wanted, about = read(folder / "train.arrow")
    asked, _, _ = read(folder / "test.arrow")
    started = time.perf_counter()
    answers = {"lightgbm": lightgbm, "flaml": flaml, "autogluon": autogluon}[sys.argv[1]](
        rows, wanted, asked, about["task"], float(sys.argv[3])
    )
    np.save(folder / "answers.npy", np.asarray(answers, float))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cost = {
        "wall_s": time.perf_counter() - started,
        "cpu_s": sum(one.ru_utime + one.ru_stime for one in used),
        "peak_mb": max(one.ru_maxrss for one in used) / 1024,
    }
    (folder / "cost.json").write_text(json.dumps(cost))
