"""Synthetic customers: a file with the columns of the real one, to test and to try out the project.

    python tests/made_up.py data/customers.csv
"""

import csv
import sys
from pathlib import Path

import numpy as np


def write(path: Path, n: int = 3_000, seed: int = 7) -> None:
    """Write `n` customers. Short tenure, a monthly contract and a high charge increase churn."""
    draw = np.random.default_rng(seed)
    choose = lambda *values, p=None: draw.choice(values, n, p=p)
    tenure = np.minimum(draw.geometric(0.03, n) - 1, 72)
    contract = choose("Month-to-month", "One year", "Two year", p=[0.55, 0.21, 0.24])
    internet = choose("DSL", "Fiber optic", "No", p=[0.34, 0.44, 0.22])
    monthly = np.round(20 + 30 * (internet != "No") + 25 * (internet == "Fiber optic") + draw.normal(0, 8, n), 2).clip(18)
    score = -1.1 + 1.3 * (contract == "Month-to-month") + 0.7 * (internet == "Fiber optic") - 0.045 * tenure + 0.008 * monthly
    columns = {
        "customerID": [f"{i:04d}-MADEUP" for i in range(n)],
        "gender": choose("Female", "Male"),
        "SeniorCitizen": choose(0, 1, p=[0.84, 0.16]),
        "Partner": choose("Yes", "No"),
        "Dependents": choose("Yes", "No", p=[0.3, 0.7]),
        "tenure": tenure,
        "PhoneService": choose("Yes", "No", p=[0.9, 0.1]),
        "MultipleLines": choose("Yes", "No", "No phone service"),
        "InternetService": internet,
        **{name: choose("Yes", "No", "No internet service") for name in (
            "OnlineSecurity", "OnlineBackup", "DeviceProtection", "TechSupport", "StreamingTV", "StreamingMovies")},
        "Contract": contract,
        "PaperlessBilling": choose("Yes", "No"),
        "PaymentMethod": choose("Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)"),
        "MonthlyCharges": monthly,
        "TotalCharges": [" " if months == 0 else round(months * charge, 2) for months, charge in zip(tenure, monthly)],
        "Churn": np.where(draw.random(n) < 1 / (1 + np.exp(-score)), "Yes", "No"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(zip(*columns.values()))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
