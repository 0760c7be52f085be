"""ONNX graphs that do not end."""

from __future__ import annotations

import multiprocessing
import threading
import time

import numpy as np
import pytest
from small_graphs import endless

from tidemill.core.errors import AnswerFailed
from tidemill.models.formats import onnx_deadline
from tidemill.models.formats.onnx_check import onnx_session

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

GOOD, BAD = ({"in": np.full((1, 2), value, np.float32)} for value in (1.0, 101.0))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LIMIT_S": 0.4, "ROW_S": 0.001, "_NEXT_LIMIT_S": 0.1, "_LOOK_S": 0.02}.items():
        monkeypatch.setattr(onnx_deadline, name, value)


def test_a_run_that_does_not_end_is_stopped_and_the_next_one_sooner() -> None:
    session = onnx_session(endless())
    assert session.run(["out"], GOOD)[0].tolist() == [[2.0]]
    for least, most in ((0.4, 1.5), (0.1, 0.4)):
        begun = time.monotonic()
        with pytest.raises(AnswerFailed, match="did not end within"):
            session.run(["out"], BAD)
        assert least <= time.monotonic() - begun < most
        assert session.run(["out"], GOOD)[0].tolist() == [[2.0]]
    assert not onnx_deadline._watchdog.runs


def test_each_run_has_its_own_deadline() -> None:
    session = onnx_session(endless())
    failed: list[Exception] = []

    def ask() -> None:
        try:
            session.run(["out"], BAD)
        except AnswerFailed as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert session.run(["out"], GOOD)[0].tolist() == [[2.0]]
    assert len(failed) == 3


def _in_a_fork() -> None:
    session = onnx_session(endless())
    with pytest.raises(AnswerFailed):
        session.run(["out"], BAD)


def test_a_forked_process_has_a_watchdog_of_its_own() -> None:
    onnx_deadline._watchdog.wake()
    child = multiprocessing.get_context("fork").Process(target=_in_a_fork)
    child.start()
    child.join(20)
    ended = child.exitcode
    child.kill()
    assert ended == 0


def test_another_error_of_the_runtime_stays_what_it_is() -> None:
    with pytest.raises(Exception, match="INVALID_ARGUMENT") as caught:
        onnx_session(endless()).run(["out"], {"in": np.zeros((1, 3), np.float32)})
    assert not isinstance(caught.value, AnswerFailed)
