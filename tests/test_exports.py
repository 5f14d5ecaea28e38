"""`import facexcli` offers what its documentation says, and loads it only when it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import facexcli

DOCUMENTED = {
    "Analysis", "DeviceError", "Event", "Face", "FacexError", "InputError", "Interrupted", "MediaInfo", "NoFaceError",
    "OutputError", "Person", "PersonResult", "Reporter", "RunResult", "Settings", "Shot",
    "SilentReporter", "Track", "UsageError", "WeightsError", "__version__", "analyse", "reenact", "resolve", "swap",
    "write_report",
}  # fmt: skip


def test_all_is_the_documented_api() -> None:
    assert set(facexcli.__all__) == DOCUMENTED
    assert facexcli.__all__ == sorted(facexcli.__all__)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_export_exists_and_says_what_it_is(name: str) -> None:
    value = getattr(facexcli, name)
    if callable(value):
        assert inspect.getdoc(value), f"{name} has no documentation"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'swop'"):
        _ = facexcli.swop


def test_dir_lists_the_api() -> None:
    assert dir(facexcli) == sorted(DOCUMENTED)


def test_the_import_is_light() -> None:
    script = "import facexcli, sys\nprint([name for name in ('numpy', 'av', 'cv2', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
