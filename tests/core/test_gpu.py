"""`make GPU=1`: the line that says what is seen, and where it stops; what speaks of GPUs is replaced."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from solesearch.core import gpu
from solesearch.core.errors import InputError

ROOT = Path(__file__).parents[2]
H200 = "NVIDIA H200"


@pytest.mark.parametrize(
    ("names", "memory", "line"),
    [
        ([], {}, "no GPU"),
        ([H200], {H200: 143_771}, "1 GPU (NVIDIA H200, 140 GiB)"),
        ([H200], {}, "1 GPU (NVIDIA H200)"),
        (["A", "A"], {"A": 24_576}, "2 GPUs (A, 24 GiB each)"),
        (["A", "B"], {"A": 24_576}, "2 GPUs (A, 24 GiB; B each)"),
    ],
)
def test_gpus_in_words(names, memory, line):
    assert gpu.described(names, memory) == line


def test_memory_is_nvidia_smis_and_nothing_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.memories() == {}
    program = tmp_path / "nvidia-smi"
    for script, found in (
        (f"printf '{H200}, 143771\\nNVIDIA A100, 40960\\n'", {H200: 143_771, "NVIDIA A100": 40_960}),
        ("echo Failed to initialize NVML; exit 18", {}),
        (f"echo '{H200}, [N/A]'", {}),
        ("echo", {}),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        assert gpu.memories() == found


def driver(version: int, *, status: int = 0):
    """Stands for libcuda.so.1, made for a CUDA such as 11040 (11.4)."""

    def answer(pointer) -> int:
        pointer._obj.value = version
        return status

    return lambda name: SimpleNamespace(cuDriverGetVersion=answer)


def no_driver(name: str):
    raise OSError("libcuda.so.1: cannot open shared object file")


@pytest.mark.parametrize(
    ("library", "hidden", "words"),
    [
        (no_driver, None, "there is no NVIDIA driver.*install it, 525 or newer.*--gpus all"),
        (driver(11_040), None, r"too old \(for CUDA 11\.4\): install 525"),
        (driver(0, status=999), None, "too old"),
        (driver(12_090), None, r"a driver is there; `nvidia-smi`"),
        (driver(12_090), "-1", "CUDA_VISIBLE_DEVICES=-1 hides every GPU"),
        (driver(12_090), "", "CUDA_VISIBLE_DEVICES= hides every GPU"),
    ],
)
def test_who_sees_none_is_told_why_and_the_way_out(monkeypatch, library, hidden, words):
    monkeypatch.setattr(ctypes, "CDLL", library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    with pytest.raises(InputError, match=f"^TensorFlow and FAISS see no GPU: .*{words}.*or leave GPU=1 out"):
        gpu.check_seen([], 0)
    with pytest.raises(InputError, match=r"^FAISS sees no GPU"):
        gpu.check_seen([H200], 0)
    gpu.check_seen([H200], 1)


class Built:
    """Stands for TensorFlow and FAISS as the environment with CUDA has them."""

    def __init__(self, monkeypatch, *, cuda: bool, gpus: int):
        details = SimpleNamespace(get_device_details=lambda one: {"device_name": H200})
        config = SimpleNamespace(list_physical_devices=lambda kind: ["x"] * gpus, experimental=details)
        tests = SimpleNamespace(is_built_with_cuda=lambda: cuda)
        tensorflow = SimpleNamespace(test=tests, config=config, __version__="2.21.0")
        faiss = SimpleNamespace(StandardGpuResources=1, get_num_gpus=lambda: gpus, __version__="1.15.1")
        monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
        monkeypatch.setitem(sys.modules, "faiss", faiss)
        monkeypatch.setattr(gpu, "memories", lambda: {H200: 143_771})


def test_the_line_and_where_it_stops(monkeypatch, capsys):
    Built(monkeypatch, cuda=True, gpus=1)
    gpu.look(needed=True)
    line = "TensorFlow 2.21.0: 1 GPU (NVIDIA H200, 140 GiB); FAISS 1.15.1: 1 GPU\n"
    assert capsys.readouterr().out == line
    Built(monkeypatch, cuda=True, gpus=0)
    with pytest.raises(InputError, match="TensorFlow and FAISS see no GPU"):
        gpu.look(needed=True)
    assert capsys.readouterr().out == "TensorFlow 2.21.0: no GPU; FAISS 1.15.1: no GPU\n"
    gpu.look(needed=False)
    assert "this goes on, on the processor: TensorFlow and FAISS see no GPU" in capsys.readouterr().out
    Built(monkeypatch, cuda=False, gpus=0)
    for needed in (True, False):
        with pytest.raises(InputError, match="is the environment without CUDA"):
            gpu.look(needed=needed)


def planned(*words: str) -> str:
    """Return what make would run in the environment with CUDA."""
    command = ["make", "--dry-run", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("words", "check"),
    [
        (["repro"], "--needed"),
        (["photos", "DATA=x"], "--needed"),
        (["add", "DATA=x"], "--needed"),
        (["speed"], "--needed"),
        (["verify", "FULL=1"], "--needed"),
        (["test"], ""),
        (["app"], ""),
        (["verify"], None),
        (["figures"], None),
    ],
)
def test_make_looks_before_it_computes(words, check):
    lines = planned(*words, "GPU=1").splitlines()
    pythons = [line for line in lines if "/bin/python -m " in line]
    assert all(line.startswith(".venv-gpu/bin/python -m ") for line in pythons)
    looked = [line.partition("core.gpu")[2].strip() for line in pythons if "core.gpu" in line]
    assert looked == ([] if check is None else [check])
    assert not looked or pythons.index(next(line for line in pythons if "core.gpu" in line)) == 0
    assert "venv-gpu" not in planned(*words) and "core.gpu" not in planned(*words)


def test_every_command_of_make_is_sorted_by_what_it_needs():
    """A new command that computes has to say whether it goes on without a GPU."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z]+):.*## ", makefile))
    looking = re.findall(r"(?m)^\$\(filter (.*),\$\(GOALS\)\): \w+-gpu", makefile)
    sorted_ones = set(re.findall(r"[a-z]+", " ".join(looking)))
    assert targets - sorted_ones == {
        *("help", "export", "figures", "book", "readme", "weights", "lint", "lock", "clean", "learn")
    }
