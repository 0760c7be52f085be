"""`tidemill reproduce` and `tidemill versions` as a person types them, in a new environment from the index."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed_command import asked, tidemill

SHOP = "customers=300&items=80&days=90"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project over a simulated shop, with a release of its model."""
    base = tmp_path_factory.mktemp("reproduce")
    assert tidemill("init", "corner", at=base)[0] == 0
    project = base / "corner"
    (project / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{base / "keys"}"\n[laptop.sources]\n'
        f'reviews = "shop:reviews?{SHOP}"\nitems = "shop:items?{SHOP}"\n'
    )
    asked("run", "--backfill", "--until", "2026-03-25", at=project)
    asked("train", "for_you", at=project)
    return project


def test_a_release_comes_out_bitwise_in_a_new_environment(shop: Path) -> None:
    mill = shop / "mill.py"
    text = mill.read_text()
    mill.write_text("this is no Python any more (\n")  # the code was kept
    try:
        status, out, err = tidemill("reproduce", "for_you@1", at=shop)
    finally:
        mill.write_text(text)
    if "the recorded environment cannot be built" in out:
        pytest.skip(f"the package index cannot be reached: {out}")
    assert status == 0, out + err
    assert "for_you@1: bitwise: the bundle is" in out
    libraries = [line for line in out.splitlines() if "recorded " in line and "tidemill" not in line]
    assert libraries == []
    assert not any(one["problems"] for one in asked("verify", at=shop)["stores"])


def test_a_bundle_whose_data_changed_does_not_come_out(shop: Path) -> None:
    files = sorted((shop / ".tidemill" / "lake" / "ratings").glob("*.parquet"))
    kept = {file: file.read_bytes() for file in files}
    for file, content in kept.items():
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    status, out, _ = tidemill("reproduce", "for_you#1", "--here", at=shop)
    for file, content in kept.items():
        file.write_bytes(content)
    assert status == 1
    assert out.startswith("for_you@1: not reproduced:\n  data: table ratings version ")
    assert tidemill("reproduce", "for_you#1", "--here", at=shop)[0] == 0


def test_versions_are_one_table(shop: Path) -> None:
    asked("run", "--until", "2026-03-31", at=shop)
    asked("train", "for_you", at=shop)
    found = asked("versions", "for_you", at=shop)
    assert found["measure"] == "ndcg@10[all]"
    assert len(found["table"]["cells"]) == len(found["table"]["codes"]) * len(found["table"]["data"])
    status, out, _ = tidemill("versions", "for_you", "--measure", "recall@10[warm]", at=shop)
    assert status == 0
    assert "for_you: recall@10[warm] (95%)" in out
    assert "compare within a column" in out
