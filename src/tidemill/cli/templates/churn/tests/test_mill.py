"""The project's own tests: the graph is sound, and its features are what their names promise."""

from pathlib import Path

import numpy as np

from mill import billing, mill

PROJECT = Path(__file__).resolve().parent.parent


def test_the_graph_can_run() -> None:
    from tidemill.testing import check_project

    check_project(PROJECT)


def test_billing_is_what_was_paid_beside_what_the_charge_would_give() -> None:
    made = billing.function(np.array([10.0, 0.0]), np.array([20.0, 50.0]), np.array([150.0, np.nan]))
    assert made["charge_drift"][0] == -50 and made["paid_per_month"][0] == 15
    assert np.isnan(made["charge_drift"][1])


def test_what_people_are_is_looked_at_and_not_used() -> None:
    model = mill.models["churn"]
    assert set(model.fairness) == {"gender", "SeniorCitizen"}
    assert not set(model.fairness) & set(model.inputs)


def test_the_release_says_whom_it_serves_and_could_harm() -> None:
    assert mill.models["churn"].helps
    assert mill.models["churn"].could_harm
