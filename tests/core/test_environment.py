"""The machine's facts, and that the locks hold what pyproject.toml names."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from solesearch.core import environment
from solesearch.core.environment import short_cpu

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ON_CPU = ("tensorflow-cpu", "faiss-cpu")  # what the environment with CUDA has by other names


def pins(name: str) -> dict[str, tuple[str, str]]:
    """Return package -> (version, its other lines: hashes) of a lock; annotations are left out."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    entries = (entry.partition("==") for entry in re.split(r"(?m)^(?=[\w.-]+==)", lines)[1:])
    return {name: tuple(re.split(r"[\s;]", said, maxsplit=1)) for name, _, said in entries}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-gpu.lock"])
def test_a_lock_holds_what_pyproject_names_with_hashes_and_without_hosts(name):
    held, project = pins(name), PROJECT["project"]
    extras, cuda = project["optional-dependencies"], "gpu" in name
    wanted = [*project["dependencies"], *extras["test"], *extras["stores"], *extras["book"]]
    for line in map(Requirement, wanted + PROJECT["dependency-groups"]["gpu"] * cuda):
        if not (cuda and line.name in ON_CPU):
            assert line.specifier.contains(held[canonicalize_name(line.name)][0]), str(line)
    assert all("--hash=sha256:" in hashes for _, hashes in held.values())
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_the_two_locks_differ_in_nothing_but_cuda():
    cpu, gpu = pins("requirements.lock"), pins("requirements-gpu.lock")
    more = gpu.keys() - cpu.keys()
    assert cpu.keys() - gpu.keys() == set(ON_CPU)
    assert more == {"faiss-gpu", *(name for name in gpu if name.startswith("nvidia-"))} and len(more) > 8
    assert gpu["tensorflow"][0] == cpu["tensorflow-cpu"][0] and gpu["faiss-gpu"][0] == cpu["faiss-cpu"][0]
    differing = {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]}
    assert differing == {"tensorflow"} and cpu["tensorflow"][0] == gpu["tensorflow"][0]  # without its marker


def test_citation_agrees_with_pyproject():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for said, wanted in (("title", "name"), ("version", "version"), ("license", "license")):
        assert citation[said] == project[wanted]
    assert [len(reference["authors"]) for reference in citation["references"]] == [4, 2]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_dvc_never_copies_or_pushes_photographs_and_fetches_them_only_when_told():
    parsed = yaml.safe_load((ROOT / "data.dvc").read_text())
    [out], [dep] = parsed["outs"], parsed["deps"]
    assert parsed["frozen"] is True and dep["path"].endswith(Path(out["path"]).name)
    assert out["cache"] is False and out["push"] is False
    # below no profile's slot: `dvc repro` would fetch, or miss, what a stage depends on
    assert Path(out["path"]).parent == Path("data/ut-zap50k")


# --- faults, injected ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "short"),
    [
        ("Intel(R) Xeon(R) CPU E5-2628L v4 @ 1.90GHz", "Intel Xeon E5-2628L v4"),
        ("AMD EPYC 7B13 64-Core Processor", "AMD EPYC 7B13"),
        ("Apple M2", "Apple M2"),
        ("CPU @ 2 GHz", "unknown processor"),
    ],
)
def test_short_cpu(model, short):
    assert short_cpu(model) == short


def test_cpu_model_reads_the_first_processor_and_survives_its_absence(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU X\n\nmodel name\t: Other\n")
    assert environment.cpu_model(cpuinfo) == "Some CPU X"
    cpuinfo.write_text("processor: 0\n")
    assert environment.cpu_model(cpuinfo)
    assert environment.cpu_model(tmp_path / "none")


def test_machine_is_json_with_the_keys_that_the_report_reads():
    facts = json.loads(json.dumps(environment.machine()))
    assert sorted(facts) == ["cores", "cpu", "git_commit", "memory_gb", "platform", "python", "versions"]
    assert facts["cores"] >= 1
    assert facts["memory_gb"] > 0
    assert facts["versions"]["keras"].count(".") == 2
    label = environment.machine_label()
    assert label.startswith(short_cpu(facts["cpu"]))
    assert label.endswith(f"{int(facts['memory_gb'])} GiB") or facts["memory_gb"] % 1 > 0.9


def test_versions_are_read_without_importing(tmp_path):
    code = (
        "import sys; from solesearch.core.environment import machine; machine(); "
        "print([m for m in ('tensorflow', 'keras', 'faiss', 'numpy', 'dvc') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ended.stdout.strip() == "[]"


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.hooksPath=none"]
    command = ["git", *settings, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_git_commit_of_a_repository_a_zip_and_a_zip_inside_another_repository(tmp_path, monkeypatch):
    inner = tmp_path / "unpacked"
    inner.mkdir()
    for folder in (tmp_path, inner):
        (folder / "params.yaml").touch()
        (folder / "dvc.yaml").touch()
    monkeypatch.setenv("SOLESEARCH_ROOT", str(inner))
    assert environment.git_commit() == "no git"
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "one")
    assert environment.git_commit() == "no git"  # the commit of the repository around it is not its own
    monkeypatch.setenv("SOLESEARCH_ROOT", str(tmp_path))
    assert environment.git_commit() == git(tmp_path, "rev-parse", "HEAD")
    git(inner, "init", "--quiet")
    monkeypatch.setenv("SOLESEARCH_ROOT", str(inner))
    assert environment.git_commit() == "no commit yet"
    monkeypatch.setenv("PATH", "")
    assert environment.git_commit() == "no git"
