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
# # Developing a model of churn
#
# From the published customers to a model that is worth a release: look at the examples, learn a few models, compare them
# on the same customers, and look at whom they serve worse. Everything that is measured here becomes a run, so that
# `tidemill compare` and the console know it too.
#
# ```sh
# pip install 'tidemill[learn,notebook]'
# jupytext --to ipynb notebooks/model_development.py
# papermill notebooks/model_development.ipynb done.ipynb -p model churn
# ```

# %% tags=["parameters"]
project = "."  # the folder with mill.py, or one below it
model = "churn"
minutes = 0.5  # how long tm.auto() may choose

# %%
import lightgbm
import numpy as np
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import tidemill as tm

pl.Config(tbl_rows=20, tbl_cols=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True)
bench = tm.open_project(project)  # from here on the project's own modules can be imported
import mill as ours

bench

# %% [markdown]
# ## The examples
#
# A row for each customer: what a request will bring, what is computed from it, and what is to be foretold. The rows stand
# still while you work: they are those of one publication.

# %%
churn = bench.tabular(model)
rows = churn.frame
rows.head(5)

# %%
target = rows.columns[-1]
rows.group_by(target).agg(pl.len().alias("customers")).sort(target)

# %% [markdown]
# The features are made by the project's own function, the same one that runs in the server for one row.

# %%
billing = ours.billing.function(
    *(rows[name].cast(pl.Float64).to_numpy() for name in ("tenure", "MonthlyCharges", "TotalCharges"))
)
np.testing.assert_array_equal(billing["charge_drift"], rows["charge_drift"].to_numpy())
rows.select("charge_drift", "paid_per_month").describe()

# %% [markdown]
# ## Split
#
# A fifth of the customers is kept apart, drawn by a fixed hash of each row's name: the same ones every time, however many
# are added. Where rows have times, the latest fifth is kept.

# %%
split = churn.split()
print(split.protocol)

# %% [markdown]
# ## Models
#
# Any estimator with `fit` and `predict` will do, and `tm.auto()` tries a portfolio and keeps the simplest that is as good
# as the best. Each line is a run. What is learned is kept as data or as ONNX, and answers without a pickle.

# %%
numbers, texts = ["tenure", "MonthlyCharges", "TotalCharges"], ["Contract", "InternetService", "PaymentMethod"]
plain = make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers), (OneHotEncoder(handle_unknown="ignore"), texts)
    ),
    LogisticRegression(max_iter=1000),
)
tried = [churn.experiment(learn) for learn in (plain, lightgbm.LGBMClassifier(n_estimators=80, num_leaves=8, verbose=-1))]
tried.append(churn.experiment(tm.auto(minutes=minutes)))
for experiment in tried:
    print(experiment)

# %% [markdown]
# ## Which one?
#
# All were measured on the same customers, so each can be held against the first, customer by customer. `low` to `high` is
# where the difference lies with 95% certainty; where it holds 0, it may be chance.

# %%
compared = bench.compare(*tried)
compared

# %%
best = min(tried, key=lambda experiment: experiment.run.metrics["log_loss"].value)
found = best.assessment
print(f"{best.name} ({best.run.learner}) has the least log loss")
for sentence in (found.worst, found.gaps_say, found.curve_says, *found.warnings):
    print("-", sentence)

# %% [markdown]
# ## Can its probabilities be believed?
#
# Customers in bins of similar predictions: how many were foretold to leave, and how many did.

# %%
pl.DataFrame(
    {
        "customers": [one.n for one in found.bins],
        "foretold": [round(one.predicted, 3) for one in found.bins],
        "left": [round(one.observed.value, 3) for one in found.bins],
        "low": [round(one.observed.low, 3) for one in found.bins],
        "high": [round(one.observed.high, 3) for one in found.bins],
    }
)

# %% [markdown]
# ## Whom does it serve worse?
#
# What people are is no input here, and is looked at all the same: another column may stand for it.

# %%
pl.DataFrame(
    [
        {"attribute": gap.attribute, "measure": gap.measure, "gap": round(gap.gap.value, 3), "low": round(gap.gap.low, 3),
         "high": round(gap.gap.high, 3), "highest": gap.highest, "lowest": gap.lowest}
        for gap in found.gaps
    ]
)

# %% [markdown]
# ## What moves its answers?

# %%
pl.DataFrame({"input": [one.input for one in found.influences], "share": [round(one.share, 3) for one in found.influences]})

# %% [markdown]
# ## Next
#
# Write the winner into mill.py as `learn=`; then
#
# ```sh
# tidemill train churn      # measured the same way, and a release
# tidemill promote churn@1  # live, as soon as somebody says so
# ```
