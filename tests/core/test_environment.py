"""The machine's facts, and that pyproject.toml, requirements.lock and environment.yml say the same."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from solesearch.core import environment
from solesearch.core.environment import lock_faults, locked, short_cpu
from solesearch.core.errors import InputError

ROOT = Path(__file__).parents[2]
HASH = "--hash=sha256:" + "0" * 64
LOCK = f"""# comment
alpha==1.2.3 ; sys_platform == 'linux' \\
    {HASH} \\
    {HASH}
    # via demo
Beta_Two==4.0 \\
    {HASH}
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the repository's three files."""
    for name in ("pyproject.toml", "requirements.lock", "environment.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


# --- the repository's own files --------------------------------------------------------------------------


def test_environment_yml_is_what_the_lock_gives():
    assert environment.environment_faults(ROOT) == []


def test_conda_pins_equal_the_lock_read_in_another_way():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {line.split()[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}
    (pip,) = [part["pip"] for part in environment_yml()["dependencies"] if isinstance(part, dict)]
    assert {line.split(";")[0] for line in pip} <= pinned
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {Requirement(line).name for line in named} <= {line.split("==")[0] for line in pip}


def environment_yml() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_conda_is_cpu_by_default_and_shows_the_gpu_lines():
    parsed = environment_yml()
    assert parsed["name"] == "solesearch"
    assert parsed["dependencies"][:2] == ["python=3.11", "pip"]
    assert not [line for line in parsed["dependencies"][2]["pip"] if "gpu" in line or "cuda" in line]
    pins = {
        name: found[0].version for name, found in locked((ROOT / "requirements.lock").read_text()).items()
    }
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    cpu = [n for n, line in enumerate(lines) if line.startswith(('- "tensorflow-cpu', '- "faiss-cpu'))]
    assert lines[cpu[0] + 2] == f'# - "tensorflow[and-cuda]=={pins["tensorflow-cpu"]}"'
    assert lines[cpu[1] + 2] == f'# - "faiss-gpu=={pins["faiss-cpu"]}"'


def test_citation_agrees_with_pyproject():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["title"], citation["version"], citation["license"]) == (
        project["name"],
        project["version"],
        project["license"],
    )
    assert [len(reference["authors"]) for reference in citation["references"]] == [4, 2]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_dvc_never_copies_or_pushes_photographs():
    parsed = yaml.safe_load((ROOT / "data.dvc").read_text())
    assert [out["path"] for out in parsed["outs"]] == ["data/zappos"]
    assert all(out["cache"] is False and out["push"] is False for out in parsed["outs"])


# --- faults, injected ------------------------------------------------------------------------------------


def test_locked_reads_names_versions_markers_and_hashes():
    pins = locked(LOCK)
    assert list(pins) == ["alpha", "beta-two"]
    (alpha,) = pins["alpha"]
    assert (alpha.version, alpha.marker, alpha.hashes) == ("1.2.3", 'sys_platform == "linux"', 2)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (LOCK.replace(f"Beta_Two==4.0 \\\n    {HASH}", "Beta_Two==4.0"), "Beta_Two: no --hash"),
        (LOCK.replace("0" * 64, "0" * 63), "alpha: no --hash"),
        (LOCK.replace("# comment", "--index-url https://example.org\n"), None),
        (LOCK + "# from https://example.org\n", "line 8 names a host"),
        (LOCK.replace("1.2.3", "2.0"), "alpha: locked at 2.0, not <2"),
        (LOCK.replace("alpha", "gamma"), "alpha: named by pyproject.toml but not locked"),
    ],
)
def test_lock_faults_are_named(text, fault):
    direct = [Requirement("alpha<2"), Requirement("beta-two")]
    assert lock_faults(LOCK, direct) == []
    if fault is None:
        with pytest.raises(InputError, match="pins no version"):
            lock_faults(text, direct)
    else:
        assert fault in lock_faults(text, direct)


def test_a_package_locked_twice_needs_hashes_both_times():
    twice = LOCK + "alpha==1.1 ; sys_platform != 'linux'\n"
    assert lock_faults(twice, [Requirement("alpha<2")]) == ["alpha: no --hash"]


def test_check_finds_an_edited_environment_and_write_mends_it(project, monkeypatch, capsys):
    (project / "params.yaml").touch()
    (project / "dvc.yaml").touch()
    monkeypatch.setenv("SOLESEARCH_ROOT", str(project))
    conda = project / "environment.yml"
    conda.write_text(conda.read_text().replace("keras==3", "keras==2"))
    assert environment.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith("environment.yml: differs from the lock;")
    assert environment.main(["--write-conda"]) == 0
    assert environment.main(["--check"]) == 0


def test_a_dependency_that_is_not_locked_stops_the_conda_file(project):
    pyproject = project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("dependencies = [", 'dependencies = ["nosuch>=1",', 1))
    with pytest.raises(InputError, match="lacks nosuch"):
        environment.conda_environment(project)
    assert environment.environment_faults(project) == [
        "requirements.lock: nosuch: named by pyproject.toml but not locked"
    ]


# --- the machine -----------------------------------------------------------------------------------------


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
