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
# From the shop's published data to a model that is worth a release: look at the data, split it by time, learn a few
# models, compare them, and look at what they have learned. Everything that is measured here becomes a run, so that
# `tidemill compare` and the console know it too.
#
# ```sh
# pip install 'tidemill[learn,notebook]'
# jupytext --to ipynb notebooks/model_development.py
# papermill notebooks/model_development.ipynb done.ipynb -p model for_you
# ```

# %% tags=["parameters"]
project = "."  # the folder with mill.py, or one below it
model = "for_you"
n_neighbours = 8  # how many neighbours are shown of an item
n_mapped = 600  # how many items are on the map, the most popular first

# %%
import polars as pl

import tidemill as tm

pl.Config(tbl_rows=20, tbl_cols=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True)
bench = tm.open_project(project)
bench

# %% [markdown]
# The data stand still while you work: they are those of one publication. What arrives meanwhile is seen when the project
# is opened again.
#
# ## The data
#
# Tables are Polars frames. People are surrogates everywhere; here they are cut short, because nobody reads them.

# %%
ratings = bench.tables["ratings"]
ratings.head(5).with_columns(pl.col("user_id").str.head(5) + "…")

# %%
bench.activity(model)

# %% [markdown]
# How much is known of a person decides what a model can do for him. Those with one item can only be shown what goes with
# that one, and nobody can be measured on whom nothing more is known.

# %%
events = bench.interactions(model)
per_user = ratings.group_by("user_id").agg(pl.len().alias("items taken"), pl.col("reviewed_at").max().alias("last"))
people = (
    per_user.group_by(pl.col("items taken").clip(upper_bound=5))
    .agg(pl.len().alias("people"))
    .sort("items taken")
    .with_columns((pl.col("people") / events.n_users).round(3).alias("share"))
)
print(f"{len(events):,} events of {events.n_users:,} people with {events.n_items:,} items (5 stands for 5 and more):")
people

# %% [markdown]
# ## Split by time
#
# One instant for all: a model learns from what came before it and is measured on what came after. So it never sees
# anybody's future, which a random split would show it.

# %%
split = bench.split(model)
print(f"learned from {len(split.train):,} events before, measured on {len(split.test):,} events after")

# %% [markdown]
# ## What has to be beaten
#
# The most taken items of the last 30 days. It is hard to beat for people of whom little is known.

# %%
baseline = bench.experiment(model, tm.popularity(days=30), split)
baseline

# %% [markdown]
# ## Models
#
# Settings that are left out are chosen on validation days before the split; the days after it are looked at once. Each
# line here is a run. Try your own: `tm.cooccurrence(damping=0.5)`, `tm.ease()`, `tm.als()`.

# %%
tried = [bench.experiment(model, learner, split) for learner in (tm.item_knn(), tm.spectral(), tm.transitions())]
for experiment in tried:
    print(experiment)

# %% [markdown]
# ## Which one?
#
# All were measured on the same people, so each can be held against the baseline person by person. `low` to `high` is
# where the difference lies with 95% certainty; where it holds 0, it may be chance. `p_holm` allows for having looked at
# many figures.

# %%
compared = bench.compare(baseline, *tried)
compared

# %%
best = max(tried, key=lambda experiment: experiment.run.metrics["ndcg@10[all]"].value)
print(f"{best.name} ({best.run.learner}) has the best ndcg@10")
print(best.measurement.evaluation.worst)
for warning in best.measurement.evaluation.warnings:
    print("mind:", warning)

# %% [markdown]
# ## What it has learned
#
# Items that the same people take lie near each other. Point at an item: its nearest are listed beside the map.

# %%
names = bench.names(model)
bench.map(model, best.recommender, at_most=n_mapped, neighbours=n_neighbours)

# %% [markdown]
# The nearest of one item, here the most popular one:

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
# ## The slate of one person, step by step
#
# What a person is shown is more than a model: candidates are drawn, filtered, scored, put in order and filled up, by the
# rules in `mill.py`. Here is each step for somebody with a few items, on the facts that the server reads.

# %%
few = per_user.filter(pl.col("items taken").is_between(3, 12))
somebody = (few if len(few) else per_user).sort("last", "user_id", descending=True)["user_id"][0]
slate = bench.slate(model, best.recommender)
now = round(bench.as_of.timestamp() * 1_000_000)
steps = slate.steps(*bench.history(model, somebody), 10, as_of=now)
print(f"for {somebody[:5]}…\n\n{steps.text(names.full)}")

# %% [markdown]
# ## What is live
#
# The same person, as the server answers today.

# %%
champion = bench.champion(model)
if champion is None:
    print(f"nothing is live yet: tidemill train {model}, then tidemill promote {model}@1")
else:
    live = champion.slate.answer(*bench.history(model, somebody), 10, as_of=now)
    both = len(set(live.items) & set(steps.answer.items))
    print(f"{champion.release.name} is live; {both} of its {len(live)} items are in the slate above too")

# %% [markdown]
# ## What to type next
#
# Every run of this model, newest first:

# %%
runs = bench.runs(model)
figures = [name for name in ("hit_rate@10[all]", "hit_rate@10[warm]", "ndcg@10[all]") if name in runs.columns]
runs.select("run", "kind", "learner", "began", pl.col("seconds").round(1), pl.col(figures).round(4))

# %% [markdown]
# To make the winner a release, write its learner into `mill.py` (`learn=…`), then
#
# ```sh
# tidemill train for_you        # learns it from all days, measures it, and says what to promote
# tidemill compare for_you      # the runs, these here among them
# tidemill promote for_you@2    # live within a second, if a server runs
# ```
