"""Builds the peer's index, and prints its CPU seconds and how much of the true 200 nearest it finds.

    PYTHON hnsw_index.py FOLDER

Inner product, as the vectors ask for; M, ef_construction and ef are what many copy from a tutorial, the last doubled.
"""

import sys
import time
from pathlib import Path

import hnswlib
import numpy as np
from hnsw_search import nearest

POOL, ASKED = 200, 300
folder = Path(sys.argv[1])
encoder, items, starts, codes = (np.load(folder / f"{name}.npy") for name in ("encoder", "items", "starts", "codes"))
index = hnswlib.Index(space="ip", dim=items.shape[1])
index.init_index(len(items), M=16, ef_construction=200)
index.set_num_threads(1)
before = time.process_time()
index.add_items(items)
spent = time.process_time() - before
index.save_index(str(folder / "index.hnsw"))

found = []
for user in np.linspace(0, len(starts) - 2, ASKED).astype(int):
    history = codes[starts[user] : starts[user + 1]][::-1]
    vector = (np.arange(1, len(history) + 1) ** -0.3 @ encoder[history]).astype(np.float32)
    true = items @ vector
    pool = min(POOL, len(items))
    near = nearest(index, vector, pool)
    edge = np.partition(true, -pool)[-pool]
    found.append(np.count_nonzero(true[near] >= edge - 1e-6 * abs(edge)) / pool)
print(spent, np.mean(found))
