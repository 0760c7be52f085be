from __future__ import annotations

import re

import pytest

from tidemill.core.errors import TidemillError, all_errors, nearest

ERRORS = list(all_errors())
LEAVES = [error for error in ERRORS if not error.__subclasses__() and error.__mro__[1] is not TidemillError]


def test_codes_are_unique_and_follow_the_tree() -> None:
    def below(error: type[TidemillError]) -> list[type[TidemillError]]:
        return [error, *(found for sub in error.__subclasses__() for found in below(sub))]

    everything = below(TidemillError)
    codes = [error.code for error in everything]
    assert sorted(codes) == sorted(set(codes))  # two classes with one code would hide one of them
    assert len(ERRORS) == len(everything)
    assert all(re.fullmatch(r"TM\d{3}", code) for code in codes)
    for branch in TidemillError.__subclasses__():
        assert {error.code[:3] for error in below(branch)} == {branch.code[:3]}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_each_says_what_happened_its_code_and_a_tip(error: type[TidemillError]) -> None:
    made = error("it rained", tip="wait")
    assert str(made) == f"it rained [{error.code}]\n  tip: wait"
    assert str(error("it rained")) == f"it rained [{error.code}]"
    assert (made.message, made.tip) == ("it rained", "wait")
    assert error.__doc__ is not None
    assert error.__doc__ != (error.__mro__[1].__doc__ or "")


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_each_leaf_is_also_a_builtin(error: type[TidemillError]) -> None:
    plain = (Exception, BaseException, object)
    builtin = [base for base in error.__mro__ if base.__module__ == "builtins" and base not in plain]
    assert builtin, f"{error.__name__} is only a TidemillError"
    with pytest.raises(builtin[0]):
        raise error("it rained")


def test_every_branch_stands_in_the_drawn_tree() -> None:
    from tidemill.core import errors

    for branch in TidemillError.__subclasses__():
        assert re.search(rf"{branch.__name__}\s+{branch.code[:3]}xx", errors.__doc__), branch


def test_the_nearest_name() -> None:
    assert nearest("ratigns", ["ratings", "items"]) == "did you mean `ratings`?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
    assert nearest("zzz", []) == "none exist yet"
