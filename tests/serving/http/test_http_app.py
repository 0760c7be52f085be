"""The HTTP application: whatever a handler raises is an answer, also a panic of a native library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tidemill.core.processes.pool_task import run_task
from tidemill.core.storage.verification import Verification
from tidemill.serving.http.http_app import App
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.metrics import Counters
from tidemill.serving.http.routes import Operation, Route, Routes


def panic(*given: Any) -> Any:
    """A panic of Polars, which is no `Exception`."""
    return str(pl.Series([2**31 - 1]).cast(pl.Date).max())


async def awaited_panic(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(200, panic())


def answered(tmp_path: Path, handler: Callable[..., Any]) -> HttpResponse:
    app = App(
        Routes([Route("metrics", "GET", "/it", handler, Operation("It"))]),
        lambda route, headers: "user",
        Counters(tmp_path, 0),
    )

    async def ask() -> HttpResponse:
        answer = app(HttpRequest("GET", "/it"))
        return answer if isinstance(answer, HttpResponse) else await answer

    return asyncio.run(ask())


@pytest.mark.parametrize("handler", [panic, awaited_panic])
def test_a_panic_is_an_answer_like_any_failure(handler: Callable[..., Any], tmp_path: Path) -> None:
    answer = answered(tmp_path, handler)
    assert answer.status == 500
    assert b"TM700" in answer.body


def test_the_end_of_a_process_is_no_answer(tmp_path: Path) -> None:
    def ending(request: HttpRequest) -> HttpResponse:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        answered(tmp_path, ending)


def test_a_panic_fails_a_task_or_a_verification_not_its_process() -> None:
    outcome = run_task(panic, None, lambda value: None)
    assert outcome.state == "failed"
    assert "PanicException" in outcome.says
    found = Verification("lake")
    with found.attempt("a.parquet"):
        panic()
    (problem,) = found.report().problems
    assert "PanicException" in problem.text
