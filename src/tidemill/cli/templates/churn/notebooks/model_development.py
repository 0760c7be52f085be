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
# # Developing a churn model
#
# From the published customers to a model for a release: explore the examples, train a few models, compare them on the same
# customers, and check their calibration and fairness. Every experiment is a run, so `tidemill compare` and the console show
# it too.
#
# ```sh
# pip install 'tidemill[learn,notebook]'
# jupytext --to ipynb notebooks/model_development.py
# papermill notebooks/model_development.ipynb done.ipynb -p model churn
# ```

# %% tags=["parameters"]
project = "."  # the folder with mill.py, or one below it
model = "churn"
minutes = 0.5  # time limit of tm.auto()

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
bench = tm.open_project(project)  # now the project's own modules can be imported
import mill as ours

bench

# %% [markdown]
# ## The examples
#
# One row per customer: the columns of a request, the features that are computed from them, and the target. The rows do
# not change while you work: they are those of one publication.

# %%
churn = bench.tabular(model)
rows = churn.frame
rows.head(5)

# %%
target = rows.columns[-1]
rows.group_by(target).agg(pl.len().alias("customers")).sort(target)

# %% [markdown]
# The features are computed by the project's own function, the same one that runs in the server for one row.

# %%
billing = ours.billing.function(
    *(rows[name].cast(pl.Float64).to_numpy() for name in ("tenure", "MonthlyCharges", "TotalCharges"))
)
np.testing.assert_array_equal(billing["charge_drift"], rows["charge_drift"].to_numpy())
rows.select("charge_drift", "paid_per_month").describe()

# %% [markdown]
# ## Split
#
# A fifth of the customers is the test set, selected by a fixed hash of the row key: the same customers every time, even if
# rows are added. If rows have times, the latest fifth is used.

# %%
split = churn.split()
print(split.protocol)

# %% [markdown]
# ## Models
#
# Any estimator with `fit` and `predict` works; `tm.auto()` tries a portfolio and selects the simplest model that is as good
# as the best. Each line is a run. Models are stored as data or as ONNX, never as a pickle.

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
# ## Comparison
#
# All were evaluated on the same customers, so each is compared with the first, customer by customer. `low` to `high` is the
# 95% confidence interval of the difference; if it contains 0, the difference is not significant.

# %%
compared = bench.compare(*tried)
compared

# %%
best = min(tried, key=lambda experiment: experiment.run.metrics["log_loss"].value)
found = best.assessment
print(f"{best.name} ({best.run.learner}) has the lowest log loss")
for sentence in (found.worst, found.gaps_say, found.curve_says, *found.warnings):
    print("-", sentence)

# %% [markdown]
# ## Calibration
#
# Customers in bins of similar predictions: the predicted and the observed churn rate.

# %%
pl.DataFrame(
    {
        "customers": [one.n for one in found.bins],
        "predicted": [round(one.predicted, 3) for one in found.bins],
        "observed": [round(one.observed.value, 3) for one in found.bins],
        "low": [round(one.observed.low, 3) for one in found.bins],
        "high": [round(one.observed.high, 3) for one in found.bins],
    }
)

# %% [markdown]
# ## Fairness
#
# These attributes are not inputs, but they are reported: another column may be a proxy for them.

# %%
pl.DataFrame(
    [
        {"attribute": gap.attribute, "measure": gap.measure, "gap": round(gap.gap.value, 3), "low": round(gap.gap.low, 3),
         "high": round(gap.gap.high, 3), "highest": gap.highest, "lowest": gap.lowest, "significant": gap.significant}
        for gap in found.gaps
    ]
)

# %% [markdown]
# ## Feature importance

# %%
pl.DataFrame({"input": [one.input for one in found.influences], "share": [round(one.share, 3) for one in found.influences]})

# %% [markdown]
# ## Next
#
# Write the best model into mill.py as `learn=`; then
#
# ```sh
# tidemill train churn      # evaluates it in the same way and creates a release
# tidemill promote churn@1  # makes it live
# ```
