"""Tests of the project: the graph is valid, and features have the expected values."""

from pathlib import Path

import numpy as np

from mill import billing, mill

PROJECT = Path(__file__).resolve().parent.parent


def test_the_graph_can_run() -> None:
    from tidemill.testing import check_project

    check_project(PROJECT)


def test_charge_drift_is_the_paid_minus_the_expected_amount() -> None:
    features = billing.function(np.array([10.0, 0.0]), np.array([20.0, 50.0]), np.array([150.0, np.nan]))
    assert features["charge_drift"][0] == -50 and features["paid_per_month"][0] == 15
    assert np.isnan(features["charge_drift"][1])


def test_protected_attributes_are_reported_and_not_inputs() -> None:
    model = mill.models["churn"]
    assert set(model.fairness) == {"gender", "SeniorCitizen"}
    assert not set(model.fairness) & set(model.inputs)


def test_the_model_card_names_whom_it_helps_and_could_harm() -> None:
    assert mill.models["churn"].helps
    assert mill.models["churn"].could_harm
