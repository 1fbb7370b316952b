"""`make repro`: which stages run for which profiles, what is said, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from pipeline_runs import copy_of, environment, run

from solesearch.core.errors import INTERRUPTED, INTERRUPTION, InputError
from solesearch.pipeline import repro

# What a shell starts in its background, a test run among it, does not hear SIGINT unless that is undone.
LISTENING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "solesearch.pipeline.repro", "smoke"])
"""


@pytest.fixture
def runs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The targets of each `dvc repro`, which runs nothing here; photographs are not asked for."""
    made: list[list[str]] = []
    monkeypatch.setattr(repro, "run_stages", lambda profiles: made.append(list(profiles)))
    for profile in ("sample", "photos"):
        (workspace / "data" / profile).mkdir(parents=True)
    return made


def test_without_a_name_all_listed_profiles_run_by_dvc_itself(runs: list, capsys) -> None:
    repro.reproduce([])
    assert runs == [[]]
    assert "\nsample (synthetic)" in capsys.readouterr().out


def test_a_named_profile_is_listed_and_runs_alone(runs: list, workspace: Path, capsys) -> None:
    repro.reproduce(["photos", "photos"])
    assert runs == [["photos"]]
    assert yaml.safe_load((workspace / "params.yaml").read_text())["profiles"] == ["sample", "photos"]
    said = capsys.readouterr().out
    assert "params.yaml: added photos to profiles" in said and "sample (synthetic)" not in said


def test_an_unknown_profile_changes_nothing(runs: list, workspace: Path) -> None:
    before = (workspace / "params.yaml").read_text()
    with pytest.raises(InputError, match=r"no section for profile 'zapos'; there are sample, chapter"):
        repro.reproduce(["sample", "zapos"])
    assert runs == [] and (workspace / "params.yaml").read_text() == before


def test_a_profile_without_photographs_is_not_listed(workspace: Path) -> None:
    before = (workspace / "params.yaml").read_text()
    with pytest.raises(InputError, match=r"data/photos: no photographs there"):
        repro.reproduce(["photos"])
    assert (workspace / "params.yaml").read_text() == before


def test_stage_names_are_those_of_dvc(workspace: Path) -> None:
    (workspace / ".dvc").mkdir()
    (workspace / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    listed = run(workspace, "dvc", "stage", "list", "--name-only").stdout.split()
    assert sorted(repro.stage_names("sample")) == sorted(name for name in listed if name.endswith("@sample"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["repro", "PROFILES=sample"], "make repro takes no PROFILES; it takes PROFILE GPU"),
        (["app", "PROT=1"], "make app takes no PROT; it takes PROFILE HOST PORT GPU"),
        (["readme", "PROFILE=sample"], "make readme takes no PROFILE; it takes GPU"),
        (["repro", "GPU=yes"], "GPU=yes: GPU=1 takes the environment with CUDA; leave it out"),
        (["test", "GPU=1 1"], "GPU=1 1: GPU=1 takes the environment with CUDA"),
    ],
)
def test_make_names_a_variable_that_a_command_does_not_take(
    repository: Path, command: list[str], said: str
) -> None:
    ended = subprocess.run(
        ["make", "--dry-run", *command], cwd=repository, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2 and said in ended.stderr


@pytest.mark.parametrize(
    ("given", "handed_on"),
    [
        ([], "repro paper --fetch"),
        (["ACCEPT=yes"], "repro paper --fetch --accept"),
        (["ACCEPT=no"], "repro paper --fetch"),
        (["DATA=my shoes", "ACCEPT=yes"], 'repro paper --data "my shoes"'),
    ],
)
def test_make_paper_hands_on_what_it_is_given(repository: Path, given: list[str], handed_on: str) -> None:
    command = ["make", "--dry-run", "paper", *given]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    [line] = [line for line in ended.stdout.splitlines() if "pipeline.repro paper" in line]
    assert line.rstrip().endswith(handed_on)


IMPORTING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["-m"]  # as Python has it while it imports the package of a command
import solesearch
print("begins", flush=True)
import numpy, pandas, matplotlib.pyplot
time.sleep(30)
"""


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0, 0.2])
def test_ctrl_c_while_a_command_imports_is_one_line(repository: Path, wait: float) -> None:
    """At several moments; NumPy makes an ImportError of an exception that comes while it is imported."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING], env=environment(repository),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "begins\n"
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (INTERRUPTED, f"{INTERRUPTION}\n")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_in_training_is_one_line_and_the_same_command_goes_on(
    repository: Path, tmp_path: Path
) -> None:
    """SIGINT to the whole process group, as a terminal sends it, while the network trains."""
    root = copy_of(repository, tmp_path / "clone", profiles="  - smoke\n")
    params = root / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("steps: 8\n", "steps: 4000\n").replace("every: 4\n", "every: 40\n"))
    run(root, "dvc", "config", "--local", "core.no_scm", "true")
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENING],
        cwd=root, env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    state = root / "runs" / "smoke" / "infogan" / "seed-1" / "state.npz"
    deadline = time.monotonic() + 200
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == INTERRUPTED, said
    assert "Traceback" not in said and "KeyboardInterrupt" not in said, said
    assert said.rstrip().splitlines()[-1].startswith("interrupted; the same command goes on")
    assert state.is_file()
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.killpg(process.pid, 0)  # nothing of the group is left
            time.sleep(0.1)
