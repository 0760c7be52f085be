"""Promotion of a release in lines of text: who promoted it, and what the gate found."""

from __future__ import annotations

from rich.console import Console

from tidemill.release import Promotion


def show_promotion(out: Console, promotion: Promotion, indent: str = "") -> None:
    """Print the account, the number of checks for each result, and every warning."""
    did = "Rolled back" if promotion.why == "rollback" else "Promoted"
    verdict = promotion.verdict
    out.print(
        f"{indent}{did} by {promotion.account}; {verdict.summary if verdict else 'its checks were not recorded'}."
    )
    for check in verdict.of("warning") if verdict else ():
        out.print(f"{indent}  Warning, {check.name}: {check.reason}.")
