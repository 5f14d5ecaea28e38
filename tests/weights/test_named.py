"""What `--weights` and `--unet` may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from facexcli.errors import WeightsError
from facexcli.weights.catalog import Entry
from facexcli.weights.named import named_place
from facexcli.weights.store import Store


def entry(name: str, *files: str) -> Entry:
    return Entry(name, "diffusion", files, "MIT", "https://example.org", "tests", url="https://example.org/x")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    known = {item.name: item for item in (entry("one", "a.bin"), entry("two", "a.bin", "sub/b.bin"))}
    return Store(tmp_path / "store", known)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    (tmp_path / "given" / "sub").mkdir(parents=True)
    (tmp_path / "given" / "a.bin").write_bytes(b"a")
    (tmp_path / "given" / "sub" / "b.bin").write_bytes(b"b")
    return tmp_path / "given"


def test_a_name_is_what_was_pulled_under_it(store: Store, given: Path) -> None:
    store.add("one", given)
    store.add("two", given)
    assert named_place(Path("one"), store) == store.folder / "one" / "a.bin"
    assert named_place(Path("two"), store) == store.folder / "two"


def test_a_file_comes_before_a_name(store: Store, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add("one", given)
    monkeypatch.chdir(tmp_path)
    Path("one").write_bytes(b"mine")
    assert named_place(Path("one"), store) == Path("one")
    assert named_place(Path("nothing.safetensors"), store) == Path("nothing.safetensors")


def test_a_name_that_is_not_installed_or_was_altered_is_an_error(store: Store, given: Path) -> None:
    with pytest.raises(WeightsError, match="not installed") as caught:
        named_place(Path("one"), store)
    assert "facex models pull one" in caught.value.hint
    store.add("two", given)
    (store.folder / "two" / "sub" / "b.bin").write_bytes(b"other")
    with pytest.raises(WeightsError, match="altered"):
        named_place(Path("two"), store)
