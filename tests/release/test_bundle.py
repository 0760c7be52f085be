from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BundleCorrupt, BundleRefused, FormatTooNew
from tidemill.release import seal_bundle, verify_bundle


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", np.arange(12, dtype=np.float32).reshape(4, 3))
    (folder / "bundle.json").write_text('{"items": ["a", "b", "c", "d"]}')
    (folder / "index").mkdir(exist_ok=True)
    np.save(folder / "index" / "cells.npy", np.arange(4))
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make(tmp_path / "bundle")


def manifest_of(files: dict[str, bytes], /, **more: object) -> bytes:
    named = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}
    return json.dumps({"format": 1, "files": named} | more).encode()


def plant(folder: Path, files: dict[str, bytes], /, **more: object) -> str:
    """A bundle whose manifest agrees with it, as an attacker would make it, without `seal_bundle`."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        if not name.startswith("/") and ".." not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    body = manifest_of(files, **more)
    (folder / "manifest.json").write_bytes(body)
    return hashlib.sha256(body).hexdigest()


def test_a_sealed_bundle_verifies_and_names_its_files(bundle: Path) -> None:
    sha = seal_bundle(bundle)
    assert sorted(verify_bundle(bundle, sha).files) == ["bundle.json", "index/cells.npy", "vectors.npy"]
    assert verify_bundle(bundle, sha, deep=False) == verify_bundle(bundle, sha)


def test_the_name_depends_on_every_byte_and_on_nothing_else(tmp_path: Path, bundle: Path) -> None:
    again = make(tmp_path / "elsewhere" / "other")
    assert seal_bundle(bundle) == seal_bundle(again) == seal_bundle(bundle)
    (again / "bundle.json").write_text('{"items": ["a", "b", "c", "e"]}')
    assert seal_bundle(again) != seal_bundle(bundle)


@pytest.mark.parametrize("name", ["vectors.npy", "bundle.json", "index/cells.npy"])
def test_a_flipped_byte_is_found_and_its_file_named(bundle: Path, name: str) -> None:
    sha = seal_bundle(bundle)
    data = bytearray((bundle / name).read_bytes())
    data[-2] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(BundleCorrupt, match=name) as caught:
        verify_bundle(bundle, sha)
    assert not any(other in caught.value.message for other in {"vectors.npy", "bundle.json"} - {name})
    verify_bundle(bundle, sha, deep=False)  # the quick look cannot see it: that is why a promotion reads every byte


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_single_byte_can_change_unseen(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        bundle = make(Path(place) / "bundle")
        sha = seal_bundle(bundle)
        files = sorted(path for path in bundle.rglob("*") if path.is_file())
        path = data.draw(st.sampled_from(files))
        body = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(body)
        with pytest.raises((BundleCorrupt, BundleRefused)):
            verify_bundle(bundle, sha)


def test_the_law_catches_a_verify_that_compares_sizes_only(bundle: Path) -> None:
    """The wrong variant of the law above is our own quick look: it passes a flipped byte."""
    sha = seal_bundle(bundle)
    body = bytearray((bundle / "vectors.npy").read_bytes())
    body[-1] ^= 255
    (bundle / "vectors.npy").write_bytes(body)
    assert verify_bundle(bundle, sha, deep=False)
    with pytest.raises(BundleCorrupt):
        verify_bundle(bundle, sha)


def test_every_damaged_file_is_named_not_only_the_first(bundle: Path) -> None:
    sha = seal_bundle(bundle)
    (bundle / "vectors.npy").unlink()
    (bundle / "bundle.json").write_text("{")
    with pytest.raises(BundleCorrupt, match=r"bundle\.json has 1 bytes instead of .*vectors\.npy is missing"):
        verify_bundle(bundle, sha, deep=False)


def test_a_truncated_bundle_is_refused(bundle: Path) -> None:
    sha = seal_bundle(bundle)
    os.truncate(bundle / "vectors.npy", 100)
    for deep in (True, False):
        with pytest.raises(BundleCorrupt, match=r"vectors\.npy has 100 bytes"):
            verify_bundle(bundle, sha, deep=deep)


def test_a_manifest_that_is_gone_or_another_is_refused(bundle: Path) -> None:
    sha = seal_bundle(bundle)
    with pytest.raises(BundleCorrupt, match="was sealed"):
        verify_bundle(bundle, "0" * 64)
    (bundle / "manifest.json").unlink()
    with pytest.raises(BundleCorrupt, match=r"no readable manifest\.json"):
        verify_bundle(bundle, sha)
    with pytest.raises(BundleCorrupt):
        verify_bundle(bundle / "nowhere", sha)


def test_an_extra_file_is_refused(bundle: Path) -> None:
    sha = seal_bundle(bundle)
    (bundle / "index" / "more.json").write_text("{}")
    for deep in (True, False):
        with pytest.raises(BundleRefused, match=r"index/more\.json"):
            verify_bundle(bundle, sha, deep=deep)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "/etc/passwd.json",
        "index/../../outside.json",
        "a\\b.json",
        "a\0.json",
        "C:x.json",
        "./a.json",
        "a//b.json",
        "",
        "..%2fa.json",
        ".hidden.json",
        "manifest.json",
        "a/" * 9 + "b.json",
    ],
)
def test_a_path_outside_the_bundle_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.json").write_bytes(b"{}")
    folder = tmp_path / "bundle"
    folder.mkdir()
    body = manifest_of({name: b"{}"})
    (folder / "manifest.json").write_bytes(body)
    with pytest.raises(BundleRefused, match="not a plain name"):
        verify_bundle(folder, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("target", ["file", "folder", "manifest", "bundle"])
def test_links_are_refused(tmp_path: Path, bundle: Path, target: str) -> None:
    sha = seal_bundle(bundle)
    away = tmp_path / "away"
    if target == "file":
        (bundle / "vectors.npy").rename(away)
        (bundle / "vectors.npy").symlink_to(away)
    elif target == "folder":
        (bundle / "index").rename(away)
        (bundle / "index").symlink_to(away)
    elif target == "manifest":
        (bundle / "manifest.json").rename(away)
        (bundle / "manifest.json").symlink_to(away)
    else:
        bundle.rename(away)
        bundle.symlink_to(away)
    with pytest.raises(BundleRefused, match="it is a link"):
        verify_bundle(bundle, sha)


def test_a_second_name_and_a_device_are_refused_when_sealing(tmp_path: Path, bundle: Path) -> None:
    os.link(bundle / "vectors.npy", tmp_path / "second.npy")
    with pytest.raises(BundleRefused, match="hard link"):
        seal_bundle(bundle)
    (tmp_path / "second.npy").unlink()
    os.mkfifo(bundle / "pipe.json")
    with pytest.raises(BundleRefused, match="neither a file nor a folder"):
        seal_bundle(bundle)
    assert not (bundle / "manifest.json").exists()


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("name", ["m.pkl", "m.pt", "m.npy", "m.json", "m.safetensors", "m.arrow", "m.faiss", "m"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path: Path, name: str, protocol: int) -> None:
    data = pickle.dumps(Runs(), protocol=protocol)
    sha = plant(tmp_path / "bundle", {name: data})
    with pytest.raises(BundleRefused, match=name):
        verify_bundle(tmp_path / "bundle", sha)
    with pytest.raises(BundleRefused, match=name):
        seal_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"format": "x"}, "is not a valid manifest"),
        ({"files": {}}, "lists 0 files"),
    ],
)
def test_an_unknown_manifest_is_refused(tmp_path: Path, more: dict[str, object], says: str) -> None:
    sha = plant(tmp_path / "bundle", {"a.json": b"{}"}, **more)
    with pytest.raises(BundleRefused, match=says):
        verify_bundle(tmp_path / "bundle", sha)


def test_a_newer_manifest_is_refused_by_name_and_a_wider_one_is_read(tmp_path: Path) -> None:
    sha = plant(tmp_path / "newer", {"a.json": b"{}"}, format=2)
    with pytest.raises(FormatTooNew, match=r"bundle manifest .* has format 2, but this version .* reads up to 1"):
        verify_bundle(tmp_path / "newer", sha)
    sha = plant(tmp_path / "wider", {"a.json": b"{}"}, signed_by="a later tidemill")
    assert list(verify_bundle(tmp_path / "wider", sha).files) == ["a.json"]


def test_a_manifest_nested_without_end_is_refused(tmp_path: Path) -> None:
    body = b'{"format":1,"files":' + b'{"a":' * 200_000
    (tmp_path / "manifest.json").write_bytes(body)
    with pytest.raises(BundleRefused):
        verify_bundle(tmp_path, hashlib.sha256(body).hexdigest())
