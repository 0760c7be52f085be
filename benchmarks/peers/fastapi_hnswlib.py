"""What many would write by hand: FastAPI, hnswlib and numpy over the same item vectors, doing the same work.

    PYTHON -m uvicorn --app-dir benchmarks/peers fastapi_hnswlib:app

Reads the folder named in `PEER`: `encoder.npy`, `items.npy`, `popularity.npy`, `category.npy`, `in_stock.npy`, and the
histories of users as `starts.npy` and `codes.npy`. For each request: the user's vector from the history, 200 near items
by hnswlib, unseen and in stock only, blended with popularity, spread over categories, 20 of them with scores, and one
line of JSON in a log. No facts that move, no versions, no switch, no swap.
"""

import json
import os
import time
from pathlib import Path

import hnswlib
import numpy as np
from fastapi import FastAPI
from hnsw_search import nearest
from pydantic import BaseModel

FOLDER = Path(os.environ["PEER"])
encoder, items, popularity, category, in_stock, starts, codes = (
    np.load(FOLDER / f"{name}.npy")
    for name in ("encoder", "items", "popularity", "category", "in_stock", "starts", "codes")
)
index = hnswlib.Index(space="ip", dim=items.shape[1])
index.load_index(str(FOLDER / "index.hnsw"))
index.set_num_threads(1)
log = (FOLDER / "log.jsonl").open("a", buffering=1)
popular = np.argsort(-popularity, kind="stable")[:100]


class Asked(BaseModel):
    user: str
    n: int = 20
    context: dict = {}


class Item(BaseModel):
    item: str
    score: float
    reason: str


class Answer(BaseModel):
    items: list[Item]


app = FastAPI()


@app.get("/livez")
async def livez() -> dict:
    return {"ok": True}


@app.post("/v1/recommend/for_you")
async def recommend(asked: Asked) -> Answer:
    number = int(asked.user[4:])
    history = codes[starts[number] : starts[number + 1]][::-1]
    weights = np.arange(1, len(history) + 1) ** -0.3
    vector = (weights @ encoder[history]).astype(np.float32)
    drawn = np.union1d(nearest(index, vector, 200 + len(history)), popular)
    drawn = drawn[in_stock[drawn] & ~np.isin(drawn, history)]
    relevance = np.maximum(items[drawn] @ vector, 0)
    scores = 0.6 * relevance / max(relevance.max(), 1e-9) + 0.4 * popularity[drawn]
    best = np.argsort(-scores)[: 4 * asked.n]
    drawn, scores = drawn[best], scores[best]
    shown, worth, taken = [], [], {}
    left = list(range(len(drawn)))
    while left and len(shown) < asked.n:  # greedy: each further item of a category keeps .7 of its score
        pick = max(left, key=lambda i: scores[i] * 0.7 ** taken.get(int(category[drawn[i]]), 0))
        left.remove(pick)
        group = int(category[drawn[pick]])
        worth.append(float(scores[pick] * 0.7 ** taken.get(group, 0)))
        shown.append(int(drawn[pick]))
        taken[group] = taken.get(group, 0) + 1
    answer = Answer(
        items=[
            Item(item=f"item{code}", score=score, reason="near your taste")
            for code, score in zip(shown, worth, strict=True)
        ]
    )
    log.write(json.dumps({"user": asked.user, "at": time.time(), "items": shown, "scores": worth}) + "\n")
    return answer
