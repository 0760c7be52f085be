"""AutoML for tables compared with default LightGBM, FLAML and AutoGluon: score, CPU seconds and peak memory.

    python benchmarks/tabular.py [--only TABLE …] [--peers lightgbm flaml autogluon] [--skip-peers] [--seconds 120]
                                 [--folds 5] [--data FOLDER] [--cache FOLDER]

Adult, churn and taxi are what the portfolio was made on; the others are not. Each system runs in a process of its own
on one thread; FLAML and AutoGluon in environments that the benchmark makes under the cache folder the first time.
The score is log loss, absolute error, or Poisson deviance: less is better. AUC is printed as well where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from tabular_data import TABLES
from tidemill.core.records.signature import Task
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.automl.automl import choose_tabular
from tidemill.training.tabular.rows.examples_file import read_examples, write_examples

ROOT = Path(__file__).resolve().parent.parent
PEER = ROOT / "benchmarks" / "peers" / "tabular_peer.py"
CACHE = Path.home() / ".cache" / "tidemill-benchmarks"
#: What each environment needs.
NEEDS = {
    "flaml": ["flaml", "lightgbm", "xgboost-cpu", "catboost", "scikit-learn<1.7", "pandas<3", "pyarrow"],
    "autogluon": ["autogluon.tabular[lightgbm,catboost]", "pyarrow"],
}
ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def environment(name: str, cache: Path) -> str:
    """The Python of a peer, installed the first time. LightGBM is in our own."""
    if name == "lightgbm":
        return sys.executable
    folder, done = cache / name, cache / f"{name}.installed"
    python = str(folder / "bin" / "python")
    if not done.exists():
        print(f"installing {name} in {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        uv = Path(sys.executable).parent / "uv"  # pip alone searches AutoGluon's versions for longer than it may take
        install = [str(uv), "pip", "install", "--python", python] if uv.exists() else [python, "-m", "pip", "install"]
        subprocess.run([*install, "-q", *NEEDS[name]], check=True, timeout=600)
        done.touch()
    return python


def ours(folder: Path, seconds: float) -> None:
    """Choose, learn and answer, as a child of the benchmark."""
    train, test = read_examples(folder / "train.arrow"), read_examples(folder / "test.arrow")
    started = time.perf_counter()
    choice = choose_tabular(
        train, minutes=None, seconds=seconds, seed=0, place=folder / "auto", progress=lambda step, figures: None
    )
    model = choice.plan.fit(train, seed=0)
    wall_s = time.perf_counter() - started
    np.save(folder / "answers.npy", model.answer(test.inputs))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cost = {
        "wall_s": wall_s,
        "cpu_s": sum(one.ru_utime + one.ru_stime for one in used),
        "peak_mb": max(one.ru_maxrss for one in used) / 1024,
        "chosen": choice.plan.name,
        "members": [(one.name, one.state, one.score and round(one.score.value, 4)) for one in choice.members],
    }
    (folder / "cost.json").write_text(json.dumps(cost))


def scores(answers: Any, test: Examples) -> tuple[float, float | None]:
    """The score that decides, and AUC of two classes."""
    y, task = test.target, test.task
    if task in ("number", "count"):
        return (float(np.abs(answers - y).mean()) if task == "number" else deviance(answers, y)), None
    p = np.clip(np.column_stack([1 - answers, answers]) if task == "binary" else answers, 1e-15, 1)
    loss = float(-np.log(p[np.arange(len(y)), y.astype(int)] / p.sum(axis=1)).mean())
    return loss, auc(answers, y) if task == "binary" else None


def deviance(means: Any, y: Any) -> float:
    """Mean Poisson deviance."""
    means = np.maximum(means, 1e-6)
    return float(2 * (y * np.log(np.where(y > 0, y, 1) / means) - y + means).mean())


def auc(scored: Any, y: Any) -> float:
    """Area under the ROC curve."""
    n = y.sum()
    return float((rankdata(scored)[y == 1].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))


def measured(system: str, folder: Path, seconds: float, cache: Path) -> dict[str, Any]:
    """What one system did on the examples in `folder`."""
    if system == "tidemill":
        command = [sys.executable, str(Path(__file__)), "--ours", str(folder), "--seconds", str(seconds)]
    else:
        command = [environment(system, cache), str(PEER), system, str(folder), str(seconds)]
    done = subprocess.run(
        command, env=os.environ | ALONE, cwd=folder, timeout=5 * seconds + 300, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{system}: {done.stderr[-600:]}")
    found: dict[str, Any] = json.loads((folder / "cost.json").read_text())
    return found | {"answers": np.load(folder / "answers.npy")}


def row(table: str, system: str, settings: argparse.Namespace) -> str:
    """One line of the table: means over the outer folds."""
    all_scores, all_costs, chosen = [], [], []
    task: Task = "binary"
    for number, (train, test) in enumerate(TABLES[table](settings.data)):
        if number == settings.folds:
            break
        task = train.task
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_examples(train, folder / "train.arrow")
            write_examples(test, folder / "test.arrow")
            found = measured(system, folder, settings.seconds, settings.cache)
        all_scores.append(scores(found["answers"], test))
        all_costs.append([found[name] for name in ("cpu_s", "wall_s", "peak_mb")])
        chosen.append(found.get("chosen", ""))
        if settings.verbose:
            print(found.get("members"), flush=True)
    score = np.mean([one for one, _ in all_scores])
    area = f"{np.mean([one for _, one in all_scores]):.4f}" if all_scores[0][1] is not None else ""
    cpu_s, wall_s, peak_mb = np.mean(all_costs, axis=0)
    picked = ", ".join(sorted(set(chosen)))
    return (
        f"{table:14} {task:8} {system:10} {score:9.4f} {area:>7} {cpu_s:8.1f} {wall_s:8.1f} {peak_mb:8.0f}"
        f" {len(all_scores):5}  {picked}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--peers", nargs="+", choices=["lightgbm", *NEEDS], default=["lightgbm", *NEEDS])
    parser.add_argument("--skip-peers", action="store_true", help="only tidemill and default LightGBM")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--folds", type=int, default=5, help="outer folds of the small tables")
    data = os.environ.get("TIDEMILL_TEST_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--verbose", action="store_true", help="every member's score")
    settings = parser.parse_args()
    if settings.ours:
        ours(settings.ours, settings.seconds)
        return
    peers = ["lightgbm"] if settings.skip_peers else settings.peers
    print(
        f"{'table':14} {'task':8} {'system':10} {'score':>9} {'AUC':>7} {'CPU s':>8} {'wall s':>8} {'peak MB':>8} folds"
    )
    for table in settings.only:
        for system in ("tidemill", *peers):
            try:
                print(row(table, system, settings), flush=True)
            except (RuntimeError, subprocess.SubprocessError) as problem:
                print(f"{table:14} {system}: {problem}", flush=True)


if __name__ == "__main__":
    main()
