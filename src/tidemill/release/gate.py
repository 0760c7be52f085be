"""Gate: the checks of a release before it goes live, each with a result and a reason.

A damaged bundle or an incomplete model card refuses the release. All other checks warn: a person decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tidemill.core.errors import BackendMissing, CardIncomplete, ReleaseError, message_of
from tidemill.core.formatting import count
from tidemill.core.library_errors import require_error
from tidemill.core.records.gate import CheckResult, GateCheck, GateVerdict
from tidemill.core.records.headline import Headline, headline, versus_champion
from tidemill.core.records.release import Card, Release
from tidemill.models import tabular
from tidemill.models.tabular.row_model import RowModel

#: Checks of a release's model family, made from the release and its verified bundle.
FurtherChecks = Callable[[Release, Path], Sequence[GateCheck]]
_STANDINGS = {"better": "better than", "even": "not significantly better than", "worse": "worse than"}
#: Number of evaluation warnings that a reason quotes.
_QUOTED = 3


class GateReport(msgspec.Struct, frozen=True):
    """The verdict, and the error of the first failed check; `None` if the release may go live."""

    verdict: GateVerdict
    error: ReleaseError | None = None


def run_gate(
    release: Release,
    champion: Release | None,
    verify: Callable[[], None],
    folder: Callable[[], Path],
    further: FurtherChecks | None = None,
) -> GateReport:
    """Check a release in place of `champion`.

    `verify` raises if the files differ from the release, `folder` is its bundle, and `further` are the checks of its
    model family, which reads no damaged bundle.
    """
    damaged, bundle = _refusing("bundle", verify, "every file has the hash that the release pins")
    incomplete, card = _refusing(
        "model card", lambda: require_card(release.card), "it says who is served and who could be harmed"
    )
    more = () if damaged or further is None else further(release, folder())
    checks = (bundle, card, *_evaluated(release.card), _compared(release, champion), *more)
    return GateReport(GateVerdict(checks=checks), damaged or incomplete)


def require_card(card: Card) -> None:
    """Raise `CardIncomplete` unless the card says who is served and who could be harmed."""
    questions = {"helps": "who is served", "could_harm": "who could be harmed"}
    missing = [name for name in questions if not getattr(card, name).strip()]
    if missing:
        raise CardIncomplete(
            f"the card of {card.model} does not say {' or '.join(questions[name] for name in missing)}",
            tip=f"set {' and '.join(f'`{name}=`' for name in missing)} on {card.model} in mill.py",
        )


def _refusing(name: str, check: Callable[[], None], passed: str) -> tuple[ReleaseError | None, GateCheck]:
    """A check that raises to refuse the release."""
    try:
        check()
    except ReleaseError as error:
        return error, GateCheck(name=name, result="failed", reason=error.message)
    return None, GateCheck(name=name, result="passed", reason=passed)


def row_model_checks(release: Release, opener: Callable[[Path], RowModel], folder: Path) -> tuple[GateCheck, ...]:
    """Open a model that predicts from a row: whether it fits the signature, and predicts its golden rows as before."""
    names = "signature", "golden rows"
    try:
        model = opener(folder)
        inputs, answers = tabular.read_golden(folder)
        apart = tabular.parity(model, (inputs, answers)) if len(inputs) else 0.0
    except BackendMissing as missing:
        return tuple(GateCheck(name=name, reason=missing.message) for name in names)
    except BaseException as error:  # a native library's too: the server would withdraw the release
        require_error(error)
        reason = message_of(error)
        return tuple(GateCheck(name=name, result="warning", reason=reason) for name in names)
    pinned = release.signature.inputs if release.signature else ()
    same = [field.name for field in model.inputs] == [field.name for field in pinned]
    signature = GateCheck(
        name=names[0],
        result="passed" if same else "warning",
        reason="the model's inputs are those of the signature" if same else "the model's inputs differ from it",
    )
    if not len(inputs):
        return signature, GateCheck(name=names[1], reason="the bundle has none")
    close = apart <= tabular.golden_tolerance(model, answers)  # false for NaN
    reason = f"the predictions of {count(len(inputs), 'row')} differ from those at training by at most {apart:.2g}"
    return signature, GateCheck(name=names[1], result="passed" if close else "warning", reason=reason)


def _evaluated(card: Card) -> tuple[GateCheck, ...]:
    """Whether the model was evaluated, is better than its baseline, and has metrics that can be trusted."""
    names = "evaluation", "baseline", "evaluation warnings"
    known = card.measured
    found = headline(card)
    if known is None or found is None:
        few = "too few rows or users were tested" if known else "it was not evaluated"
        return GateCheck(name=names[0], result="warning", reason=few), *(
            GateCheck(name=name, reason="it was not evaluated") for name in names[1:]
        )
    over = found.over or f"{found.users} users"
    origin = f", measured at the training of {card.refreshed.of}" if card.refreshed else ""
    doubts = known.warnings
    return (
        GateCheck(
            name=names[0],
            result="passed",
            reason=f"{_named(found)} {found.model.value:.4g} on {over}{origin}",
        ),
        GateCheck(name=names[1], result="passed" if found.standing == "better" else "warning", reason=_sentence(found)),
        GateCheck(
            name=names[2],
            result="warning" if doubts else "passed",
            reason="; ".join(one.rstrip(".") for one in doubts[:_QUOTED]) or "none",
        ),
    )


def _compared(release: Release, champion: Release | None) -> GateCheck:
    """The comparison with the champion that was made at the training, if it is still the champion."""
    name = "champion"
    if champion is None:
        return GateCheck(name=name, reason=f"{release.model} has no champion yet")
    found = versus_champion(release.card)
    if found is None or found.beside != champion.name:
        said = release.card.assessment
        known = said.champion_says if said is not None and said.champion == champion.name else ""
        reason = known.rstrip(".") or f"it was not compared with {champion.name} on the same rows"
        return GateCheck(name=name, reason=reason)
    result: CheckResult = "warning" if found.standing == "worse" else "passed"
    return GateCheck(name=name, result=result, reason=_sentence(found))


def _sentence(found: Headline) -> str:
    gap = found.difference
    return (
        f"{_STANDINGS[found.standing]} {found.beside}: {_named(found)} {found.model.value:.4g} against "
        f"{found.baseline.value:.4g}, a difference of {gap.value:+.2g} ({gap.low:+.2g} to {gap.high:+.2g})"
    )


def _named(found: Headline) -> str:
    return found.metric.replace("_", " ")
