"""`tidemill auto` promotes nothing that its card speaks against, and leaves a project that can be corrected."""

from __future__ import annotations

import json
import random
import shlex
from pathlib import Path

import pyarrow as pa
import pytest
from served_model import CHURN, churn_signature
from typed_command import tidemill

from tidemill.core.clock import SystemClock
from tidemill.core.errors import TargetUnfit, UsageError
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import Metric, MetricScore
from tidemill.core.records.release import Card
from tidemill.loop.auto.auto_from_file import AutoResult, auto_from_file
from tidemill.loop.auto.auto_project import AutoRequest
from tidemill.loop.auto.infer_schema import infer_schema
from tidemill.loop.release.card_review import review_card
from tidemill.models.tabular.typical_row import typical_row
from tidemill.serving.infer.infer_operation import curl_request
from tidemill.serving.infer.oip_request import InferRequestReader


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEMILL_KEYS", str(tmp_path / "keys"))
    return tmp_path


def rows(left: str = "") -> Path:
    """Whether they left is chance, or always `left`."""
    draw = random.Random(1)
    text = [f"{draw.random():.3f},{left or draw.choice(['yes', 'no'])}" for _ in range(120)]
    Path("m.csv").write_text("\n".join(["amount,left", *text, ""]))
    return Path("m.csv")


def made(file: Path, **more: str) -> AutoResult:
    asked = AutoRequest(name="p", file=infer_schema(file), target="left", minutes=0.01, **more)  # type: ignore[arg-type]
    return auto_from_file(Path.cwd() / "p", asked, clock=SystemClock())


def test_a_model_without_a_card_that_is_no_better_than_its_baseline_is_kept_and_not_live(here: Path) -> None:
    pytest.importorskip("lightgbm")
    found = made(rows())
    assert found.promotion is None and found.stores.releases.champion("p") is None
    assert found.stores.releases.get("p@1").name == found.learned.release.name == "p@1"
    unsaid, even = found.doubts
    assert unsaid == "The card does not say whom the model helps and whom it could harm."
    assert even == "The model is not significantly better than its baseline (prior) by log loss."
    _, out, _ = tidemill("status", at=here / "p")
    assert "p has no champion" in out and unsaid in out and "tidemill promote p@1" in out
    assert tidemill("promote", "p@1", at=here / "p")[0] == 0  # it can be promoted as it is
    _, out, _ = tidemill("status", at=here / "p")
    assert "p@1 is live although its card speaks against it" in out and even in out
    again = made(rows())  # the same request for the same file: nothing is trained
    assert not again.learned.anew and again.learned.release.name == "p@1"
    with pytest.raises(UsageError, match="has a project with a release"):
        made(rows(), helps="A.")


@pytest.mark.parametrize(
    ("card", "doubts"),
    [
        (Card(helps="A.", could_harm="B."), ("The model was not evaluated.",)),
        (Card(helps="Nobody has said yet: it was made by `tidemill auto`.", could_harm="B."), ("helps", "evaluated")),
        (Card(helps="A.", could_harm="Not specified: x."), ("could harm", "evaluated")),
    ],
)
def test_what_speaks_against_a_promotion(card: Card, doubts: tuple[str, ...]) -> None:
    found = review_card(card)
    assert len(found) == len(doubts) and all(word in said for word, said in zip(doubts, found, strict=True))


@pytest.mark.parametrize(("low", "high", "n"), [(-0.2, -0.1, 0), (-0.2, 0.1, 1), (0.1, 0.2, 1)])
def test_a_model_must_be_better_than_its_baseline_beyond_noise(low: float, high: float, n: int) -> None:
    score = MetricScore(name="log_loss", difference=Metric(value=(low + high) / 2, low=low, high=high))
    assert len(review_card(Card(helps="A.", could_harm="B.", assessment=Assessment(scores=(score,))))) == n


def test_a_project_that_failed_stays_and_is_written_again_unless_it_was_edited(here: Path) -> None:
    for _ in range(2):
        with pytest.raises(TargetUnfit, match="only one value"):
            made(rows("yes"))
        assert (here / "p" / ".tidemill").is_dir()
    code = here / "p" / "mill.py"
    code.write_text(code.read_text() + "# mine\n")
    with pytest.raises(UsageError, match=r"mill\.py or tidemill\.toml was edited"):
        made(rows())
    assert code.read_text().endswith("# mine\n")


def test_a_folder_of_something_else_is_left_alone(here: Path) -> None:
    with pytest.raises(TargetUnfit):
        made(rows("yes"))
    (here / "p" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        made(rows())


def test_the_request_to_paste_has_values_that_the_model_accepts() -> None:
    golden = pa.table(
        {
            "age": [20, 31, 90], "balance": [0.123456, 1.23456, None], "member": [True, False, True],
            "plan": ["it's gold", "never seen before", "it's gold"],
            "joined": pa.array([1_000_000, 2_000_000, 3_000_000], pa.timestamp("us", "UTC")),
        }
    )  # fmt: skip
    words = shlex.split(curl_request("http://127.0.0.1:8400", CHURN, churn_signature(), typical_row(golden)))
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8400/v2/models/churn/infer"]
    body = words[words.index("-d") + 1]
    read = InferRequestReader(churn_signature(), lambda _, raw: raw, 10).read(body.encode(), None)
    assert read.columns == [[31], [1.235], [True], ["it's gold"], [2_000_000]]
    assert json.loads(body)["inputs"][4]["data"] == ["1970-01-01T00:00:02+00:00"]
