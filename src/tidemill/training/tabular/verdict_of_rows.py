"""Whether a model is better than another one beyond noise, in a sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.core.assessment import Assessment, Score
from tidemill.training.tabular.scores import better, worse


@dataclass(frozen=True)
class RowVerdict:
    """What the model beats, a sentence for each; and why something stays, empty where nothing does."""

    beats: tuple[str, ...]
    stays: str


#: Nothing was measured.
UNKNOWN = RowVerdict((), "")


def verdict_of(assessment: Assessment) -> RowVerdict:
    """By the measure that decides, beside baseline and champion; better means that the interval leaves out zero."""
    others = [(f"the baseline ({assessment.baseline})", assessment.scores)]
    if assessment.beside_champion:
        others.append((f"the champion ({assessment.champion})", assessment.beside_champion))
    beats: list[str] = []
    stays: list[str] = []
    for name, scores in others:
        sentence = _sentence(name, scores)
        (beats if better(scores[0]) else stays).append(sentence)
    return RowVerdict(tuple(beats), " ".join(stays))


def _sentence(name: str, scores: Sequence[Score]) -> str:
    score = scores[0]
    difference = score.difference
    said = "beats" if better(score) else "is worse than" if worse(score) else "is not better beyond noise than"
    return (
        f"The model {said} {name}: {score.name.replace('_', ' ')} {score.model.value:.4g} against "
        f"{score.baseline.value:.4g}, a difference of {difference.value:+.2g} ({difference.low:+.2g} to "
        f"{difference.high:+.2g})."
    )
