"""A job in a new interpreter: a record in, a value out, errors of the same class, and an end with the parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pooled_work
import pytest
from pooled_work import Attempt, SumAnswer, SumRequest, attempts, shouts, total
from test_process_pool import gone

from tidemill.core.errors import BundleRefused, NotReady, ProcessFailed
from tidemill.core.processes.subprocess_job import run_job

FOLDER = str(Path(pooled_work.__file__).parent)
ENV = os.environ | {"PYTHONPATH": FOLDER}


def run(job: SumRequest, timeout_s: float | None = 30) -> SumAnswer:
    return run_job(total, job, timeout_s=timeout_s, env=ENV)


def test_the_value_comes_back_whatever_is_printed(tmp_path: Path) -> None:
    assert run(SumRequest(1, 2)).total == 3
    assert run(SumRequest(1, 2, "loud")).total == 3
    elsewhere = run_job(total, SumRequest(3, 4), cwd=tmp_path, env=ENV)
    assert (elsewhere.total, elsewhere.folder) == (7, str(tmp_path))
    assert elsewhere.pid != os.getpid()


def test_an_error_is_raised_again_and_of_a_foreign_one_only_its_type() -> None:
    with pytest.raises(NotReady, match="not yet") as refused:
        run(SumRequest(1, 2, "refuse"))
    assert refused.value.tip == "wait"
    with pytest.raises(ProcessFailed, match=r"^ValueError in pooled_work.py, line \d+ "):
        run(SumRequest(1, 2, "raise"))


def test_every_way_to_have_no_result_is_said() -> None:
    with pytest.raises(ProcessFailed, match=r"status 3 and no result \[TM006\]\n.*: out of luck$"):
        run(SumRequest(1, 2, "die"))
    with pytest.raises(ProcessFailed, match=r"longer than 0\.5 seconds"):
        run(SumRequest(1, 2, "hang"), timeout_s=0.5)
    with pytest.raises(ProcessFailed, match="No module named 'pooled_work'"):
        run_job(total, SumRequest(1, 2), isolated=True, env=ENV)
    with pytest.raises(ProcessFailed, match="No such file"):
        run_job(total, SumRequest(1, 2), python="/nowhere/python")
    with pytest.raises(ProcessFailed, match=r"status 1 and no result \["):
        run_job(total, SumRequest(1, 2), python="/bin/false")


def test_a_job_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "from pooled_work import SumRequest, total\nfrom tidemill.core.processes.subprocess_job import run_job\n"
        "run_job(total, SumRequest(1, 2, 'tell'))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], env=ENV, cwd=tmp_path)
    end = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_confined_process_has_no_network_no_environment_and_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "secret").write_text("s")
    monkeypatch.setenv("TIDEMILL_SECRET", "s")
    monkeypatch.setenv("PYTHONPATH", FOLDER)
    with socket.create_server(("127.0.0.1", 0)) as server:
        (own / "port").write_text(str(server.getsockname()[1]))
        found = run_job(attempts, Attempt(str(own), str(other)), confined=own)
    unconfined = " ".join(record.getMessage() for record in caplog.records)
    assert found.pop("own") == "" and found.pop("environment") == "KeyError"
    if "Landlock" in unconfined:
        pytest.skip(unconfined)
    assert all(found.pop(name) for name in ("other", "truncate", "remove", "read", "list", "start"))
    if "network" not in unconfined:
        assert found["connect"]
    assert (other / "secret").read_text() == "s"


def test_an_error_of_a_process_loses_its_control_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", FOLDER)
    with pytest.raises(BundleRefused) as found:
        run_job(shouts, Attempt("", ""))
    assert found.value.message == "\ufffd[2Jevil\ufffd\n\ufffd"
    assert found.value.tip == "\ufffd]0;title\ufffd"
