"""Contract suite of `Blobs` back-ends. Override `make`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.core.errors import NoSuchBlob, TidemillError
from tidemill.core.ports import Blobs


def finished(folder: Path, **files: str) -> str:
    """A complete folder with some files, one of them in a subfolder, to be stored."""
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "empty").write_bytes(b"")
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(folder)


class BlobsSuite:
    """One test per guarantee of the port."""

    def make(self, root: Path) -> Blobs:
        """A store under `root`."""
        raise NotImplementedError

    def test_nothing_is_there_at_first(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path / "blobs")
        assert blobs.keys("") == []
        with pytest.raises(NoSuchBlob):
            blobs.folder("a")

    def test_a_stored_folder_is_there_whole_and_its_source_is_gone(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path / "blobs")
        source = finished(tmp_path / "made", one="1")
        blobs.put_folder("a", source)
        place = Path(blobs.folder("a"))
        assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == [
            "below",
            "below/empty",
            "one",
        ]
        assert (place / "one").read_text() == "1"
        assert not Path(source).exists()

    def test_a_known_key_is_left_alone(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path / "blobs")
        for text in ("first", "second"):
            blobs.put_folder("a", finished(tmp_path / text, one=text))
            assert not (tmp_path / text).exists()
        assert (Path(blobs.folder("a")) / "one").read_text() == "first"

    def test_other_openers_see_it(self, tmp_path: Path) -> None:
        self.make(tmp_path / "blobs").put_folder("a", finished(tmp_path / "made", one="1"))
        assert self.make(tmp_path / "blobs").keys("") == ["a"]

    def test_keys_are_listed_by_prefix_sorted_and_as_given(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path / "blobs")
        given = ["b", "a/2", "a/10", "a@3", "a", "ü b", "100%", "a%2F2"]
        for number, key in enumerate(given):
            blobs.put_folder(key, finished(tmp_path / f"made{number}", one=key))
        assert blobs.keys("") == sorted(given)
        assert blobs.keys("a/") == ["a/10", "a/2"]
        assert all((Path(blobs.folder(key)) / "one").read_text() == key for key in given)

    @pytest.mark.parametrize("key", ["", ".", "..", "../a", ".hidden", "x" * 300])
    def test_keys_that_lead_elsewhere_are_refused(self, tmp_path: Path, key: str) -> None:
        blobs = self.make(tmp_path / "blobs")
        source = finished(tmp_path / "made", one="1")
        with pytest.raises(TidemillError):
            blobs.put_folder(key, source)
        assert blobs.keys("") == []
        assert (tmp_path / "made" / "one").exists()

    def test_an_absolute_key_stays_inside(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path / "blobs")
        blobs.put_folder("/etc", finished(tmp_path / "made", one="1"))
        assert Path(blobs.folder("/etc")).is_relative_to(tmp_path)

    def test_a_removed_key_is_gone_and_may_come_again(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path / "blobs")
        for text in ("first", "second"):
            blobs.put_folder("a", finished(tmp_path / text, one=text))
            blobs.put_folder(f"a {text}", finished(tmp_path / f"other {text}", one=text))
            assert (Path(blobs.folder("a")) / "one").read_text() == text
            blobs.remove("a")
            blobs.remove("a")
            assert self.make(tmp_path / "blobs").keys("a") == ["a first", "a second"][: 1 if text == "first" else 2]
            with pytest.raises(NoSuchBlob):
                blobs.folder("a")

    def test_links_are_refused(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path / "blobs")
        source = finished(tmp_path / "made", one="1")
        (Path(source) / "below" / "link").symlink_to("/etc/passwd")
        with pytest.raises(TidemillError):
            blobs.put_folder("a", source)
        assert blobs.keys("") == []
