"""The machine's facts, and that requirements.lock holds what pyproject.toml names."""

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
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_lock_holds_what_pyproject_names_with_hashes_and_without_hosts():
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)", LOCK)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for line in (*project["dependencies"], *extras["test"], *extras["stores"]):
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        found = [version for pin, version in pins if canonicalize_name(pin) == name]
        assert found and all(wanted.specifier.contains(version) for version in found), line
    entries = re.split(r"(?m)^(?=[\w.-]+==)", LOCK)[1:]
    assert len(entries) == len(pins) and all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCK


def test_citation_agrees_with_pyproject():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for said, wanted in (("title", "name"), ("version", "version"), ("license", "license")):
        assert citation[said] == project[wanted]
    assert [len(reference["authors"]) for reference in citation["references"]] == [4, 2]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_dvc_never_copies_or_pushes_photographs():
    parsed = yaml.safe_load((ROOT / "data.dvc").read_text())
    assert [out["path"] for out in parsed["outs"]] == ["data/zappos"]
    assert all(out["cache"] is False and out["push"] is False for out in parsed["outs"])


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
