"""Churn: predicts which customers leave, from their contract and usage."""

from datetime import datetime

import numpy as np

import tidemill as tm

mill = tm.Mill("{name}")


class Customer(tm.Event):  # the contract of the file
    customerID: str = tm.subject()  # a person: replaced by a surrogate everywhere, never an input
    gender: str | None = None
    SeniorCitizen: int | None = None
    Partner: str | None = None
    Dependents: str | None = None
    tenure: int = tm.field(ge=0, le=1200, unit="months")
    PhoneService: str | None = None
    MultipleLines: str | None = None
    InternetService: str | None = None
    OnlineSecurity: str | None = None
    OnlineBackup: str | None = None
    DeviceProtection: str | None = None
    TechSupport: str | None = None
    StreamingTV: str | None = None
    StreamingMovies: str | None = None
    Contract: str | None = None
    PaperlessBilling: str | None = None
    PaymentMethod: str | None = None
    MonthlyCharges: float = tm.field(ge=0, le=10_000, unit="dollars")
    TotalCharges: float | None = None  # blank in a customer's first month
    Churn: str | None = None  # the target; missing where it is not known yet
    seen_at: datetime = tm.event_time(zone="UTC")  # the file has no time: the time of arrival is used


customers = mill.snapshot("customers", Customer, key="customerID")
mill.check(customers, tm.not_null("Contract", share=0.99), tm.like_history("row_count"))


@mill.on_demand(owner="churn team")  # the same code in training and in serving
def billing(tenure, MonthlyCharges, TotalCharges):
    """The amount paid compared with the current charge times tenure: indicates changes of the contract."""
    expected = tenure * MonthlyCharges
    return {
        "charge_drift": TotalCharges - expected,
        "paid_per_month": TotalCharges / np.maximum(tenure, 1),
    }


churn = mill.model(
    "churn",
    examples=customers,
    target="Churn",
    positive="Yes",
    inputs=[  # neither gender nor age: they are only in the fairness report
        "Partner", "Dependents", "tenure", "PhoneService", "MultipleLines", "InternetService", "OnlineSecurity",
        "OnlineBackup", "DeviceProtection", "TechSupport", "StreamingTV", "StreamingMovies", "Contract",
        "PaperlessBilling", "PaymentMethod", "MonthlyCharges", "TotalCharges",
    ],
    features=[billing],
    learn=tm.auto(minutes=1),  # or any estimator with fit and predict
    slices=["Contract", "InternetService"],
    fairness=["gender", "SeniorCitizen"],
    helps="Customers who would leave for a reason that can be fixed: they are called first.",
    could_harm="Those who are never called, or offered less, because the model is wrong about people like them.",
)
