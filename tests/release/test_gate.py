"""The gate: what refuses a release, what only warns, and what cannot be said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tabular_worlds as worlds

from tidemill.core.errors import BundleCorrupt, CardIncomplete, ReleaseError
from tidemill.core.record_format import decode_record
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.gate import CheckResult, GateCheck, GateVerdict
from tidemill.core.records.quality import Evaluation, Metric, MetricScore, SliceResult
from tidemill.core.records.release import Card, RefreshOrigin, Release
from tidemill.core.records.signature import Signature, outputs_of
from tidemill.models.tabular import TabularModel, open_tabular, write_tabular
from tidemill.release.gate import GateReport, row_model_checks, run_gate


def nothing() -> None:
    pass


def refused(error: ReleaseError) -> Callable[[], None]:
    def verify() -> None:
        raise error

    return verify


CARD = Card(model="m", helps="Readers.", could_harm="Small publishers.", learner="auto")
RELEASE = Release(model="m", number=2, bundle="b" * 64, card=CARD)


def gate(folder: Path, release: Release = RELEASE, champion: Release | None = None, **more: Any) -> GateReport:
    return run_gate(release, champion, more.pop("verify", nothing), lambda: folder, **more)


def check(report: GateReport, name: str) -> GateCheck:
    (found,) = [one for one in report.verdict.checks if one.name == name]
    return found


def with_card(**fields: Any) -> Release:
    return msgspec.structs.replace(RELEASE, card=msgspec.structs.replace(CARD, **fields))


def metric(value: float) -> Metric:
    return Metric(value=value, low=value - 0.05, high=value + 0.05)


def evaluated(difference: float, n_users: int = 50, **more: Any) -> Evaluation:
    part = SliceResult(
        users="warm",
        n_users=n_users,
        model={"ndcg@10": metric(0.9), "hit_rate@10": metric(0.4)},
        baseline={"ndcg@10": metric(0.1), "hit_rate@10": metric(0.4 - difference)},
        difference={"ndcg@10": metric(0.8), "hit_rate@10": metric(difference)},
    )
    return Evaluation(model="m", baseline="popularity", k=10, slices=(part,), **more)


def assessed(versus_champion: float, champion: str) -> Assessment:
    def score(difference: float) -> MetricScore:
        return MetricScore(
            name="log_loss", model=metric(0.5), baseline=metric(0.5 - difference), difference=metric(difference)
        )

    return Assessment(
        measure="log_loss", baseline="prior", n_test=40, scores=(score(-0.2),), champion=champion,
        beside_champion=(score(versus_champion),),
    )  # fmt: skip


def test_a_damaged_bundle_and_an_incomplete_card_are_both_named_and_the_first_is_raised(tmp_path: Path) -> None:
    damaged = BundleCorrupt("vectors.npy is missing")
    report = gate(tmp_path, with_card(helps=" "), verify=refused(damaged))
    assert report.error is damaged
    assert [(one.name, one.reason) for one in report.verdict.of("failed")] == [
        ("bundle", "vectors.npy is missing"),
        ("model card", "the card of m does not say who is served"),
    ]
    assert isinstance(gate(tmp_path, with_card(helps=" ")).error, CardIncomplete)
    assert gate(tmp_path).error is None


def test_a_card_that_became_incomplete_is_refused_when_promoted(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("tidemill.release.release_store.require_card", lambda card: None)
        made = shelf.create(1, card=shelf.card(could_harm=""))
    with pytest.raises(CardIncomplete, match="who could be harmed") as caught:
        shelf.releases.promote(made.name)
    assert "set `could_harm=` on for_you" in str(caught.value.tip)
    assert (shelf.live(), shelf.ledger.find("promote")) == (None, [])


@pytest.mark.parametrize(
    ("difference", "result", "says"),
    [
        (0.1, "passed", "better than popularity: hit rate@10 0.4 against 0.3, a difference of +0.1 (+0.05 to +0.15)"),
        (0.01, "warning", "not significantly better than popularity"),
        (-0.1, "warning", "worse than popularity"),
    ],
)
def test_a_model_that_does_not_beat_its_baseline_is_warned_of(
    tmp_path: Path, difference: float, result: CheckResult, says: str
) -> None:
    report = gate(tmp_path, with_card(evaluation=evaluated(difference)))
    assert check(report, "evaluation").reason == "hit rate@10 0.4 on warm users"
    found = check(report, "baseline")
    assert found.result == result and found.reason.startswith(says)
    assert report.error is None


@pytest.mark.parametrize(
    ("card", "says"),
    [({}, "it was not evaluated"), ({"evaluation": evaluated(0.1, 3)}, "too few rows or users were tested")],
)
def test_a_model_that_was_not_evaluated_is_warned_of(tmp_path: Path, card: dict[str, Any], says: str) -> None:
    report = gate(tmp_path, with_card(**card))
    assert check(report, "evaluation") == GateCheck(name="evaluation", result="warning", reason=says)
    assert check(report, "baseline").result == "not applicable"


def test_a_refreshed_model_s_evaluation_is_that_of_its_training(tmp_path: Path) -> None:
    card = with_card(evaluation=evaluated(0.1), refreshed=RefreshOrigin(of="m@1"))
    assert check(gate(tmp_path, card), "evaluation").reason.endswith("measured at the training of m@1")


def test_warnings_of_the_evaluation_are_quoted(tmp_path: Path) -> None:
    card = with_card(evaluation=evaluated(0.1, warnings=("One.", "two.", "three", "four")))
    assert check(gate(tmp_path, card), "evaluation warnings") == GateCheck(
        name="evaluation warnings", result="warning", reason="One; two; three"
    )


CHAMPION = msgspec.structs.replace(RELEASE, number=1)


@pytest.mark.parametrize(
    ("difference", "compared", "champion", "result", "says"),
    [
        (-0.1, "m@1", CHAMPION, "passed", "better than m@1: log loss 0.5 against 0.6"),
        (0.0, "m@1", CHAMPION, "passed", "not significantly better than m@1"),
        (0.1, "m@1", CHAMPION, "warning", "worse than m@1"),
        (0.1, "m@0", CHAMPION, "not applicable", "it was not compared with m@1 on the same rows"),
        (0.1, "m@1", None, "not applicable", "m has no champion yet"),
    ],
)
def test_the_comparison_with_the_champion_counts_while_it_is_the_champion(
    tmp_path: Path, difference: float, compared: str, champion: Release | None, result: CheckResult, says: str
) -> None:
    found = check(gate(tmp_path, with_card(assessment=assessed(difference, compared)), champion), "champion")
    assert found.result == result and found.reason.startswith(says)


# ---- a tabular model


@pytest.fixture
def model() -> TabularModel:
    pytest.importorskip("lightgbm")
    trees, parts = worlds.boosted(k=1)
    return TabularModel(worlds.recipe((trees,), "number"), parts)


def opened(release: Release, folder: Path) -> tuple[GateCheck, ...]:
    return row_model_checks(release, open_tabular, folder)


def tabular_release(**more: Any) -> Release:
    given = {"inputs": worlds.FIELDS, **more}
    signature = Signature(task="number", target="y", request=worlds.FIELDS, outputs=outputs_of("number"), **given)
    return msgspec.structs.replace(RELEASE, signature=signature)


@pytest.mark.parametrize(("shift", "result"), [(0.0, "passed"), (1e-3, "warning"), (np.nan, "warning")])
def test_golden_rows_that_are_predicted_otherwise_are_warned_of(
    tmp_path: Path, model: TabularModel, shift: float, result: CheckResult
) -> None:
    table = worlds.table(worlds.rows(30))
    write_tabular(model, tmp_path / "bundle", (table, model.answer(table) + shift))
    report = gate(tmp_path / "bundle", tabular_release(), further=opened)
    assert check(report, "golden rows").result == result
    assert check(report, "signature").result == "passed"
    assert "index recall" not in {one.name for one in report.verdict.checks}


def test_a_signature_that_is_not_the_model_s_is_warned_of(tmp_path: Path, model: TabularModel) -> None:
    write_tabular(model, tmp_path / "bundle")
    report = gate(tmp_path / "bundle", tabular_release(inputs=worlds.FIELDS[:2]), further=opened)
    assert check(report, "signature").result == "warning"
    assert check(report, "golden rows") == GateCheck(name="golden rows", reason="the bundle has none")


def test_a_bundle_that_cannot_be_opened_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "tabular.json").write_text("{")
    report = gate(tmp_path, tabular_release(), further=opened)
    assert [check(report, name).result for name in ("signature", "golden rows")] == ["warning", "warning"]


# ---- kept records


def test_an_entry_of_an_older_version_has_no_verdict(shelf: Any) -> None:
    made = shelf.create(1)
    shelf.ledger.append(
        "promote", about="model:for_you", refs_out=[f"release:{made.name}"],
        details={"from": "", "why": "promote", "deployment": "0" * 16},
    )  # fmt: skip
    (change,) = shelf.releases.history("for_you")
    assert (change.verdict, change.release, change.account.name) == (None, made.name, "tester")
    assert shelf.releases.recover() == ["for_you: the pointer was set to for_you@1, the champion in the ledger"]


def test_a_deployment_of_an_older_version_is_signed(shelf: Any) -> None:
    shelf.releases.promote(shelf.create(1).name)
    path = shelf.serving / "for_you" / "live.json"
    before = path.read_bytes()
    older = msgspec.json.decode(before)
    del older["entry"], older["entry_hash"], older["signature"]
    path.write_bytes(msgspec.json.encode(older))
    assert "is not signed" in shelf.releases.pointer_problems()[0]
    assert shelf.releases.recover() == ["for_you: the pointer was set to for_you@1, the champion in the ledger"]
    assert path.read_bytes() == before and shelf.releases.pointer_problems() == []


def test_a_pointer_of_an_earlier_promotion_of_the_same_release_is_corrected(shelf: Any) -> None:
    first, second = shelf.create(1), shelf.create(2)
    shelf.releases.promote(first.name)
    path = shelf.serving / "for_you" / "live.json"
    before = path.read_bytes()
    shelf.releases.promote(second.name)
    shelf.releases.rollback("for_you")
    after = path.read_bytes()
    path.write_bytes(before)
    assert shelf.releases.recover() != [] and path.read_bytes() == after


def test_a_verdict_is_read_back_and_counted() -> None:
    verdict = GateVerdict(
        checks=(
            GateCheck(name="a", result="passed"),
            GateCheck(name="b", result="warning"),
            GateCheck(name="c"),
            GateCheck(name="d"),
        )
    )
    assert decode_record(verdict.json(), GateVerdict) == verdict
    assert verdict.summary == "1 check passed, 1 warning, 2 not applicable"
    assert decode_record("{}", GateVerdict).checks == ()
