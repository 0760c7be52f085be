"""Without an optional library: what is missing, and the command that installs it."""

from __future__ import annotations

from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest
from tabular_rows import mixed

from tidemill.core.errors import BackendMissing
from tidemill.core.processes.failure_message import failure_message
from tidemill.core.records.assessment import EnsembleMember
from tidemill.loop.ops.doctor import doctor
from tidemill.training.tabular.assess.learning_curve import _of_time
from tidemill.training.tabular.automl import automl
from tidemill.training.tabular.automl.automl import choose_tabular

INSTALL = "pip install 'tidemill[learn]'"


def test_members_without_their_library_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = util.find_spec
    absent = ("lightgbm", "catboost")
    monkeypatch.setattr(automl.util, "find_spec", lambda name: None if name in absent else real(name))
    told: list[dict[str, Any]] = []
    choice = choose_tabular(
        mixed("binary", 80), minutes=1, seed=0, place=tmp_path, progress=lambda step, figures: told.append(figures)
    )
    failed = {one.name: one.says for one in choice.members if one.state == "failed"}
    assert failed == {
        "lightgbm_small": f"LightGBM is not installed: {INSTALL}",
        "lightgbm": f"LightGBM is not installed: {INSTALL}",
        "catboost": f"CatBoost is not installed: {INSTALL}",
    }
    assert f"lightgbm_small, lightgbm failed: LightGBM is not installed: {INSTALL}" in choice.notes
    assert {"name": "catboost", "state": "failed", "why": failed["catboost"]} in told
    assert any(one.name == "additive" and one.state != "failed" for one in choice.members)  # it needs no library


def test_a_task_in_another_process_says_what_to_install() -> None:
    missing = BackendMissing("blends need LightGBM, which is not installed", tip=INSTALL)
    assert failure_message(missing) == f"blends need LightGBM, which is not installed: {INSTALL}"


def test_more_time_is_not_said_to_change_nothing_if_a_library_is_missing() -> None:
    fitted = EnsembleMember(name="additive", state="chosen")
    missing = EnsembleMember(name="catboost", state="failed", says=f"CatBoost is not installed: {INSTALL}")
    said = _of_time([fitted, missing])
    assert (
        said == f"The deadline stopped nothing, but catboost could not be fitted: CatBoost is not installed: {INSTALL}."
    )
    assert "would change nothing" in _of_time([fitted])


def test_the_doctor_lists_every_optional_package_with_its_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "catboost":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("tidemill.loop.ops.doctor.metadata.version", version)
    found = {one.what: one for one in doctor(None, None, None)}
    required = [one for one in metadata.requires("tidemill") or () if "extra" in one and "'dev'" not in one]
    assert len(required) > 10
    for requirement in required:
        assert any(requirement.startswith(name) for name in found), requirement
    assert found["catboost"].state == "note" and found["catboost"].says.endswith(INSTALL)
    assert found["lightgbm"].state in ("well", "note")
