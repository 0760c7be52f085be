"""A synthetic shop with groups of taste, so that a model that learns anything beats popularity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tidemill.models import Interactions

DAY = 86_400_000_000


def shop(n_users: int = 300, n_items: int = 60, n_groups: int = 6, n_days: int = 200, *, seed: int = 0) -> Interactions:
    """Each user belongs to one group and takes its items, popular ones first; users come and go over the days."""
    rng = np.random.default_rng(seed)
    share = (np.arange(n_items // n_groups) + 2.0) ** -0.8
    users, items, times = [], [], []
    for user in range(n_users):
        group = rng.integers(n_groups)
        taken = rng.choice(len(share), rng.integers(2, min(8, len(share))), replace=False, p=share / share.sum())
        start, length = rng.uniform(0, n_days * 0.8), rng.uniform(5, n_days)
        for item in taken:
            users.append(f"u{user:04}")
            items.append(f"i{group * (n_items // n_groups) + item:03}")
            times.append(int(rng.uniform(start, min(start + length, n_days)) * DAY))
    table = pa.table({"user": users, "item": items, "at": pa.array(times, pa.timestamp("us", tz="UTC"))})
    return Interactions.from_arrow(table, user="user", item="item", time="at")
