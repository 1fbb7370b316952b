"""Files and settings: whole or not at all, and one clear line for bad input."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import load_parameters, load_section


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old")

    def full(*_: object) -> int:
        with Path("/dev/full").open("wb", buffering=0) as disk:
            return disk.write(b"x")

    monkeypatch.setattr(os, "fsync", full)  # the kernel's own "no space left", at the moment of flushing
    with pytest.raises(OSError, match="No space left") as raised:
        files.write_text(path, "new")
    assert raised.value.errno == errno.ENOSPC
    assert path.read_text() == "old"


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old")
    script = f"""
        import os, signal
        from pathlib import Path
        from solesearch.core import files
        with files.replacing(Path({str(path)!r})) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -9
    assert path.read_text() == "old"


def test_same_arrays_same_bytes(tmp_path: Path) -> None:
    arrays = {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}
    files.write_arrays(tmp_path / "one.npz", arrays)
    files.write_arrays(tmp_path / "two.npz", arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert files.read_arrays(tmp_path / "one.npz")["b"].tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not an archive"])
def test_damaged_archives_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"state\.npz: damaged"):
        files.read_arrays(path)


def test_truncated_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pixels.npy"
    files.write_array(path, np.zeros((100, 4)))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"pixels\.npy: damaged .* run stage prepare again"):
        files.read_array(path, made_by="stage prepare", memory_map=True)


def test_tables_are_stable_text(tmp_path: Path) -> None:
    files.write_table(tmp_path / "t.csv", pd.DataFrame({"k": [1], "value": [1 / 3]}))
    assert (tmp_path / "t.csv").read_text() == "k,value\n1,0.333333\n"
    with pytest.raises(InputError, match="stage evaluate writes it"):
        files.read_table(tmp_path / "none.csv", made_by="stage evaluate")


def test_root_is_found_from_below_and_missing_root_is_said(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert Paths.of("sample").results == workspace / "results" / "sample"
    monkeypatch.delenv("SOLESEARCH_ROOT")
    (workspace / "notebooks").mkdir()
    monkeypatch.chdir(workspace / "notebooks")
    assert repository_root() == workspace.resolve()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(InputError, match="run from inside the repository"):
        repository_root()


def test_sections_and_unknown_names(workspace: Path) -> None:
    assert load_section("smoke", "gan")["steps"] == 8
    with pytest.raises(InputError, match="no section for profile 'shoes'; there are sample"):
        load_section("shoes", "gan")
    with pytest.raises(InputError, match="has no section 'gun'; it has catalog, gan"):
        load_section("smoke", "gun")


def test_broken_yaml_names_the_line(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("profiles: [sample\nsmoke: {}\n")
    with pytest.raises(InputError, match=r"params\.yaml, line \d+: not valid YAML"):
        load_parameters()
