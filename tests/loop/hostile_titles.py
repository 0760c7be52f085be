"""Titles that try to be markup, and a map of items that are called so."""

from __future__ import annotations

import numpy as np

from tidemill import models
from tidemill.loop.notebook.item_map_drawing import MapDrawing
from tidemill.loop.notebook.item_names import ItemNames
from tidemill.models import Interactions, item_map

HOSTILE = [
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "</title></svg><script>window.hacked=1</script>",
    "<!--",
    "<script>",
    "&lt;script&gt;",
    "\u2028\u2029'`${1}",
]


def hostile_drawing() -> MapDrawing:
    """A map of twelve items, each with a title that tries to be markup."""
    rng = np.random.default_rng(0)
    item, user = rng.integers(0, 12, 400).astype(np.int32), np.sort(rng.integers(0, 60, 400)).astype(np.int32)
    ids = [f"i{code:02}" for code in range(12)]
    told = Interactions([f"u{code}" for code in range(60)], ids, user, item, np.arange(400, dtype=np.int64))
    titles = {name: HOSTILE[code % len(HOSTILE)] for code, name in enumerate(ids)}
    return MapDrawing(item_map(models.learn(models.spectral(factors=4), told, 400)), ItemNames(titles, titles))
