"""A lake that an earlier release wrote opens as it is, and its names on disk are the ones still written."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest
from play import play, sound, told
from shop_lake import Shop, increment

from tidemill.core.errors import NoSuchObject

OLD = Path(__file__).parent.parent / "formats" / "1" / "lake" / "lake.tar.gz"


@pytest.fixture
def old(tmp_path: Path) -> Shop:
    """The lake of format 1: killed in its second publication, between the commits of two tables."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return Shop(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Shop:
    (tmp_path / "new").mkdir()
    made = Shop(tmp_path / "new")
    play(made)
    return made


def names(shop: Shop) -> list[str]:
    """The files beside the tables; the hash in a name is that of the content."""
    own = shop.root / "lake" / "_tidemill"
    found = (path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file())
    return sorted(re.sub("-[0-9a-f]{16}[.]", "-HASH.", name) for name in found)


def test_an_interrupted_lake_of_an_earlier_release_is_finished(old: Shop, new: Shop) -> None:
    assert old.lake.view().publication == 1
    assert any("publication 2 was interrupted" in says for says in old.lake.verify())
    kept = {path: path.read_bytes() for path in (old.root / "lake").rglob("*.parquet")}
    assert play(old) == ["completed publication 2, which was interrupted"]
    sound(old)
    assert told(old) == told(new)
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_names_on_disk_are_those_of_the_earlier_release(old: Shop, new: Shop) -> None:
    assert names(old) == [
        "intents/0000000002.json",
        "manifests/ratings/1.json",
        "manifests/ratings/2.json",
        "manifests/reviews/1.json",
        "manifests/reviews/2.json",
        "quarantine/reviews/0000000001.parquet",
        "quarantine/reviews/0000000002.parquet",
    ]
    play(old)
    assert names(old) == names(new)
    assert names(new) == [
        "held/reviews-3-HASH.parquet",
        *(f"manifests/predictions/{version}.json" for version in (1, 2)),
        *(f"manifests/{table}/{version}.json" for table in ("ratings", "reviews") for version in (1, 2, 3, 4)),
        *(f"quarantine/reviews/{number:010d}.parquet" for number in range(1, 7)),
    ]


class _MemoryObjects:
    """Objects in memory: there is no path to go round the port by."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}

    def put(self, name: str, body: bytes) -> bool:
        if name in self.bodies:
            return False
        self.bodies[name] = body
        return True

    def get(self, name: str) -> bytes:
        if name not in self.bodies:
            raise NoSuchObject(name)
        return self.bodies[name]

    def list(self, prefix: str) -> list[str]:
        return sorted(name for name in self.bodies if name.startswith(prefix))

    def delete(self, name: str) -> None:
        self.bodies.pop(name, None)


def test_nothing_goes_round_the_port(tmp_path: Path, new: Shop) -> None:
    objects = _MemoryObjects()
    shop = Shop(tmp_path, objects=objects)
    play(shop)
    assert told(shop) == told(new)
    sound(shop)
    assert {path.name for path in (tmp_path / "lake").iterdir()} == {"reviews", "ratings", "predictions"}
    assert objects.list("") == new.objects.list("_tidemill/")


def test_what_a_killed_write_of_an_earlier_release_left_is_not_read(old: Shop, new: Shop) -> None:
    """That release wrote beside the name: `NAME.PID.partial`."""
    own = old.root / "lake" / "_tidemill"
    (own / "held").mkdir()
    for name in ("intents/0000000009.json", "held/reviews-9-ab.parquet", "quarantine/reviews/0000000009.parquet"):
        (own / f"{name}.77.partial").write_bytes(b"half")
    said = play(old)
    assert "deleted 1 files of a hold that was never recorded" in said
    assert told(old) == told(new)
    assert old.lake.held("reviews", 3).increment == increment(3)
