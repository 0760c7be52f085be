# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Developing a model
#
# From the shop's published data to a model for a release: explore the data, split it by time, train a few models, compare
# them, and inspect what they have learned. Every experiment is a run, so `tidemill compare` and the console show it too.
#
# ```sh
# pip install 'tidemill[learn,notebook]'
# jupytext --to ipynb notebooks/model_development.py
# papermill notebooks/model_development.ipynb done.ipynb -p model for_you
# ```

# %% tags=["parameters"]
project = "."  # the folder with mill.py, or one below it
model = "for_you"
n_neighbours = 8  # number of neighbours of an item
n_mapped = 600  # number of items on the map, the most popular first

# %%
import polars as pl

import tidemill as tm

pl.Config(tbl_rows=20, tbl_cols=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True)
bench = tm.open_project(project)
bench

# %% [markdown]
# The data do not change while you work: they are those of one publication. Open the project again to see later ones.
#
# ## The data
#
# Tables are Polars frames. People are surrogates everywhere; here they are truncated.

# %%
ratings = bench.tables["ratings"]
ratings.head(5).with_columns(pl.col("user_id").str.head(5) + "…")

# %%
bench.activity(model)

# %% [markdown]
# A model works better for users with a longer history. For users with one item, only similar items can be recommended, and a
# user without later events cannot be evaluated.

# %%
events = bench.interactions(model)
per_user = ratings.group_by("user_id").agg(pl.len().alias("items taken"), pl.col("reviewed_at").max().alias("last"))
users = (
    per_user.group_by(pl.col("items taken").clip(upper_bound=5))
    .agg(pl.len().alias("users"))
    .sort("items taken")
    .with_columns((pl.col("users") / events.n_users).round(3).alias("share"))
)
print(f"{len(events):,} events of {events.n_users:,} users with {events.n_items:,} items (5 means 5 or more):")
users

# %% [markdown]
# ## Split by time
#
# One split time for all users: a model is trained on the events before it and evaluated on those after it. So it never sees
# the future of a user, which a random split would leak.

# %%
split = bench.split(model)
print(f"{len(split.train):,} training events before the split, {len(split.test):,} test events after it")

# %% [markdown]
# ## Baseline
#
# The most popular items of the last 30 days. It is hard to beat for users with a short history.

# %%
baseline = bench.experiment(model, tm.popularity(days=30), split)
baseline

# %% [markdown]
# ## Models
#
# Open settings are chosen on validation days before the split; the days after it are used once. Each line is a run. Try
# your own: `tm.cooccurrence(damping=0.5)`, `tm.ease()`, `tm.als()`.

# %%
tried = [bench.experiment(model, learner, split) for learner in (tm.item_knn(), tm.spectral(), tm.transitions())]
for experiment in tried:
    print(experiment)

# %% [markdown]
# ## Comparison
#
# All were evaluated on the same users, so each is compared with the baseline user by user. `low` to `high` is the 95%
# confidence interval of the difference; if it contains 0, the difference is not significant. `p_holm` is corrected for
# multiple tests.

# %%
compared = bench.compare(baseline, *tried)
compared

# %%
best = max(tried, key=lambda experiment: experiment.run.metrics["ndcg@10[all]"].value)
print(f"{best.name} ({best.run.learner}) has the best ndcg@10")
print(best.measurement.evaluation.worst)
for warning in best.measurement.evaluation.warnings:
    print("warning:", warning)

# %% [markdown]
# ## Item map
#
# Items that the same users take are close to each other. Hover over an item to list its nearest neighbours.

# %%
names = bench.names(model)
bench.map(model, best.recommender, at_most=n_mapped, neighbours=n_neighbours)

# %% [markdown]
# The nearest neighbours of one item, here the most popular one:

# %%
from tidemill.models import ItemVectors

vectors = ItemVectors.from_recommender(best.recommender)
favourite = best.recommender.items[int(best.recommender.popularity.argmax())]
print(f"near {names.full(favourite)}, by {vectors.source}:")
pl.DataFrame(
    [(names(item), item, names.group(item), round(cosine, 3)) for item, cosine in vectors.nearest(favourite, n_neighbours)],
    schema=["item", "id", "group", "cosine"],
    orient="row",
)

# %% [markdown]
# ## The slate of one user, step by step
#
# Recommendations need more than a model: candidates are retrieved, filtered, scored, ordered and filled up, by the rules in
# `mill.py`. Here is each step for a user with a few items, with the facts that the server reads.

# %%
few = per_user.filter(pl.col("items taken").is_between(3, 12))
user = (few if len(few) else per_user).sort("last", "user_id", descending=True)["user_id"][0]
slate = bench.slate(model, best.recommender)
now = round(bench.as_of.timestamp() * 1_000_000)
steps = slate.steps(*bench.history(model, user), 10, as_of=now)
print(f"for {user[:5]}…\n\n{steps.text(names.full)}")

# %% [markdown]
# ## The champion
#
# The same user, with the recommendations of the live release.

# %%
champion = bench.champion(model)
if champion is None:
    print(f"no champion yet: tidemill train {model}, then tidemill promote {model}@1")
else:
    live = champion.slate.answer(*bench.history(model, user), 10, as_of=now)
    both = len(set(live.items) & set(steps.answer.items))
    print(f"{champion.release.name} is live; {both} of its {len(live)} items are also in the slate above")

# %% [markdown]
# ## Next
#
# Every run of this model, newest first:

# %%
runs = bench.runs(model)
figures = [name for name in ("hit_rate@10[all]", "hit_rate@10[warm]", "ndcg@10[all]") if name in runs.columns]
runs.select("run", "kind", "learner", "began", pl.col("seconds").round(1), pl.col(figures).round(4))

# %% [markdown]
# To release the best one, write its learner into `mill.py` (`learn=…`), then
#
# ```sh
# tidemill train for_you        # trains it on all days, evaluates it, and creates a release
# tidemill compare for_you      # compares the runs, including these
# tidemill promote for_you@2    # live within a second, if a server runs
# ```
