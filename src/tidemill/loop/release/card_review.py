"""Review of a model card before a promotion: unspecified use, no evaluation, not better than the baseline."""

from __future__ import annotations

from tidemill.core.records.release import Card

#: How a sentence of a card starts that nobody has written yet; the second is that of older projects.
UNSPECIFIED = ("Not specified", "Nobody has said yet")


def review_card(card: Card) -> tuple[str, ...]:
    """What speaks against making the model live, one sentence each; empty if nothing does.

    >>> review_card(Card(helps="Everybody.", could_harm="Not specified."))
    ('The card does not say whom the model could harm.', 'The model was not evaluated.')
    """
    unsaid = [
        what
        for what, said in (("helps", card.helps), ("could harm", card.could_harm))
        if not said.strip() or said.startswith(UNSPECIFIED)
    ]
    found = [f"The card does not say whom the model {' and whom it '.join(unsaid)}."] if unsaid else []
    if card.measured is None:
        return (*found, "The model was not evaluated.")
    if card.assessment is not None and card.assessment.scores:
        main = card.assessment.scores[0]
        if main.standing != "better":
            how = "is worse than" if main.standing == "worse" else "is not significantly better than"
            found.append(f"The model {how} its baseline ({card.assessment.baseline}) by {main.name.replace('_', ' ')}.")
    return tuple(found)
