"""The limit of one thread holds inside, in whatever is called, and is gone afterwards."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tidemill import models
from tidemill.core.processes.single_thread import single_thread
from tidemill.models import Interactions
from tidemill.models.learners import spectral


def threads() -> set[int]:
    np.linalg.norm(np.eye(2))  # its library is loaded
    return {one["num_threads"] for one in threadpool_info()}


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    with threadpool_limits(2):
        before = threads()
        with single_thread():
            assert threads() == {1}
        assert threads() == before == {2}


def test_a_learner_in_this_process_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = spectral.truncated_svd

    def counted(*given: object, **named: object) -> object:
        seen.append(threads())
        return original(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(spectral, "truncated_svd", counted)
    events = Interactions(["a", "b"], ["x", "y", "z"], np.int32([0, 0, 1]), np.int32([0, 1, 2]), np.zeros(3, np.int64))
    with threadpool_limits(2):
        models.learn(models.spectral(factors=1, popularity_share=0.0), events, 1)
        assert threads() == {2}
    assert seen == [{1}]
