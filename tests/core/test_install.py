"""How both environments are made: which Python, from where, when anew. uv and pip are recorded, not run."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from solesearch.core import install
from solesearch.core.errors import InputError
from solesearch.core.surroundings import cleaned

ROOT = Path(__file__).parents[2]
MIRROR, MORE = "https://mirror.example/simple", "https://more.example/simple"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with this project's files of pins, in which one stands."""
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
        "requirements-gpu.lock",
        "requirements-peers.lock",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "src", tmp_path / "src")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what is passed on -----------------------------------------------------------------------------------


def test_settings_of_pip_that_say_where_packages_come_from_are_read(tmp_path):
    listing = f"""\
:env:.cert='/company.pem'
:env:.default-timeout='60'
:env:.user='1'
global.constraint='/etc/constraints.txt'
global.cert='/other.pem'
global.extra-index-url='\\n{MORE}\\nfile:///nosuch/folder'
global.find-links='/nosuch/wheels {tmp_path}'
global.index-url='{MIRROR}'
global.no-binary=':all:'
global.require-virtualenv='true'
install.target='/somewhere'
install.trusted-host="mirror.example"
freeze.index-url='https://not.this/one'
"""
    assert install.pip_settings(listing) == {
        "cert": "/company.pem",
        "timeout": "60",
        "extra-index-url": MORE,
        "find-links": str(tmp_path),
        "index-url": MIRROR,
        "trusted-host": "mirror.example",
    }
    assert install.pip_settings("") == install.pip_settings("WARNING: nothing\n\n") == {}


def test_what_pip_knows_is_told_to_uv():
    settings = {
        "index-url": MIRROR, "extra-index-url": MORE, "trusted-host": "a.example b.example",
        "cert": "/company.pem", "find-links": "/one /two",
        "proxy": "http://proxy.example:8080", "timeout": "60",
    }  # fmt: skip
    given = install.network(settings, {"PATH": "/bin"})
    assert given["UV_DEFAULT_INDEX"] == given["PIP_INDEX_URL"] == MIRROR
    assert given["UV_INDEX"] == MORE
    assert given["UV_INSECURE_HOST"] == "a.example b.example"
    assert given["SSL_CERT_FILE"] == given["PIP_CERT"] == "/company.pem"
    assert given["UV_FIND_LINKS"] == "/one,/two"
    assert given["HTTPS_PROXY"] == given["https_proxy"] == "http://proxy.example:8080"
    assert "127.0.0.1" in given["no_proxy"]
    assert (given["UV_HTTP_TIMEOUT"], given["PIP_CONFIG_FILE"]) == ("60", os.devnull)


def test_what_uv_knows_is_told_to_pip_and_stays_uvs():
    said = {"UV_DEFAULT_INDEX": f"own={MIRROR}", "UV_INDEX": MORE, "SSL_CERT_FILE": "/company.pem"}
    given = install.network({}, said)
    assert (given["PIP_INDEX_URL"], given["PIP_EXTRA_INDEX_URL"]) == (MIRROR, MORE)
    assert (given["UV_DEFAULT_INDEX"], given["PIP_CERT"]) == (f"own={MIRROR}", "/company.pem")
    assert "UV_INDEX_STRATEGY" not in given
    given = install.network({"index-url": MORE}, {"UV_DEFAULT_INDEX": MIRROR})
    assert (given["UV_DEFAULT_INDEX"], given["PIP_INDEX_URL"]) == (MIRROR, MORE)


def test_what_uv_knows_by_the_older_names_is_told_to_pip_too():
    given = install.network(
        {}, {"UV_INDEX_URL": MIRROR, "UV_EXTRA_INDEX_URL": f"{MORE} https://third.example"}
    )
    assert (given["PIP_INDEX_URL"], given["PIP_EXTRA_INDEX_URL"]) == (MIRROR, f"{MORE} https://third.example")
    assert given["UV_INDEX_URL"] == MIRROR and not {"UV_DEFAULT_INDEX", "UV_INDEX"} & given.keys()
    given = install.network({}, {"UV_INDEX_URL": MORE, "UV_DEFAULT_INDEX": MIRROR})
    assert given["PIP_INDEX_URL"] == MIRROR  # as uv itself has it


# --- which Python ----------------------------------------------------------------------------------------


class Recorder:
    """Stands for subprocess.run: keeps each command and its environment, and fails where it is told to."""

    def __init__(self, *, failing: str):
        self.calls, self.failing = [], failing

    def __call__(self, command: list[str], *, env: dict[str, str] | None = None, **options: object):
        self.calls.append((command, env))
        failed = bool(self.failing) and self.failing in " ".join(command)
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True)
        return subprocess.CompletedProcess(command, int(failed), stdout="", stderr="")

    def commands(self, word: str) -> list[str]:
        return [text for command, _ in self.calls if word in (text := " ".join(command))]


AIMED = {  # what else the user may have set
    "UV_SYSTEM_PYTHON": "1", "UV_PYTHON": "3.9", "UV_PROJECT_ENVIRONMENT": "/x",
    "UV_BREAK_SYSTEM_PACKAGES": "1", "UV_TARGET": "/x", "UV_PREFIX": "/x", "UV_REQUIRE_HASHES": "1",
    "UV_NO_VERIFY_HASHES": "1", "UV_CONSTRAINT": "/x", "UV_OVERRIDE": "/x", "UV_NO_BINARY": "1",
    "UV_NO_BUILD": "1", "UV_EXCLUDE_NEWER": "2020-01-01", "PIP_USER": "1", "PIP_TARGET": "/x",
    "PIP_PREFIX": "/x", "PIP_ROOT": "/x", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_BINARY": ":all:",
    "PIP_CONSTRAINT": "/x", "PIP_PYTHON": "/usr/bin/python3", "PIP_DRY_RUN": "1", "PYTHONHOME": "/x",
    "PYTHONPATH": "/x", "VIRTUAL_ENV": "/x", "PYTHONUSERBASE": "/x",
}  # fmt: skip


def installed(monkeypatch, *, failing: str = "", build: install.Build = install.CPU) -> Recorder:
    recorder = Recorder(failing=failing)
    monkeypatch.setattr(install.subprocess, "run", recorder)
    for name, value in cleaned({**os.environ, **AIMED}).items():
        monkeypatch.setenv(name, value)
    for name in AIMED:
        monkeypatch.delenv(name, raising=False)
    install.install("here 1 2", build)
    return recorder


@pytest.fixture
def linux(monkeypatch):
    """A machine for which there are CUDA wheels."""
    monkeypatch.setattr(install.platform, "system", lambda: "Linux")
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")


@pytest.mark.usefixtures("linux")
@pytest.mark.parametrize("build", [install.CPU, install.GPU], ids=["cpu", "gpu"])
def test_every_call_names_its_python_and_no_setting_aims_it(project, monkeypatch, build):
    recorder = installed(monkeypatch, build=build)
    assert len(recorder.commands(" -m uv ")) == 3
    for command in recorder.commands(" -m uv "):
        assert " --no-config " in command and f" --python {build.python} " in command
    assert all(command.startswith(f"{build.python} -m ") for command in recorder.commands(" -m pip "))
    assert recorder.commands(" sync ")[0].endswith(f" {build.lock}")
    for _, environment in recorder.calls[2:]:
        assert not AIMED.keys() & environment.keys()
    assert build.ready.read_text(encoding="utf-8") == "here 1 2\n"


@pytest.mark.usefixtures("linux")
@pytest.mark.parametrize("build", [install.CPU, install.GPU], ids=["cpu", "gpu"])
def test_pip_installs_with_hashes_where_uv_cannot(project, monkeypatch, capsys, build):
    recorder = installed(monkeypatch, failing="-m uv", build=build)
    whole, editable, peers = recorder.commands("-m pip install")[1:]
    # milvus-lite asks for faiss-cpu, which the lock with CUDA must not hold
    assert "--no-deps --require-hashes" in whole and whole.endswith(str(build.lock))
    assert "--editable ." in editable
    assert "--require-hashes" in peers and peers.endswith("requirements-peers.lock")
    said = capsys.readouterr().out
    assert f"uv could not install {build.lock}; pip tries" in said
    assert "Annoy" not in said


@pytest.mark.parametrize(("system", "processor"), [("Darwin", "arm64"), ("Linux", "aarch64")])
def test_no_cuda_environment_is_begun_where_no_wheels_exist(project, monkeypatch, system, processor):
    monkeypatch.setattr(install.platform, "system", lambda: system)
    monkeypatch.setattr(install.platform, "machine", lambda: processor)
    with pytest.raises(InputError, match=f"GPU=1 needs Linux on x86-64.*{system} on {processor}: leave"):
        installed(monkeypatch, build=install.GPU)
    assert not install.GPU.environment.exists()
    installed(monkeypatch)  # the other one is made


@pytest.mark.parametrize(
    ("failing", "words"),
    [("--require-hashes", "PIP_INDEX_URL"), ("-m venv", "python3-venv")],
)
def test_an_install_that_fails_is_one_line_and_leaves_no_mark(project, monkeypatch, failing, words):
    with pytest.raises(InputError, match=words):
        installed(monkeypatch, failing=failing)
    assert not install.CPU.ready.exists()


def test_a_linked_environment_of_another_folder_stays(project, monkeypatch, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "kept").touch()
    install.CPU.environment.symlink_to(other)
    installed(monkeypatch)
    assert [path.name for path in other.iterdir()] == ["kept"]
    assert not install.CPU.environment.is_symlink()


@pytest.mark.slow
def test_uv_itself_looks_at_the_python_that_is_named(tmp_path):
    """A true uv, told everything that once made it uninstall the user's own packages."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    (tmp_path / "empty.lock").touch()
    environment = install.network(
        {}, cleaned({**os.environ, "UV_SYSTEM_PYTHON": "1", "UV_PYTHON": sys.executable})
    )
    command = [sys.executable, *install.UV, "pip", "sync", "--dry-run", "--allow-empty-requirements"]
    command += ["--offline", "--python", str(bare / "bin" / "python"), str(tmp_path / "empty.lock")]
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Would uninstall" not in asked.stderr and "Would make no changes" in asked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a file", "uv's variable", "its older name"])
def test_both_ask_the_users_index_which_only_one_of_them_was_told(tmp_path, monkeypatch, kind):
    asked = []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *words: object) -> None:
            """Stay quiet."""

    with HTTPServer(("127.0.0.1", 0), Index) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{listening.server_port}/simple"
        (tmp_path / "pip.conf").write_text(
            f"[global]\nindex-url = {address}\nuser = true\n", encoding="utf-8"
        )
        said = {
            "a file": {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")},
            "uv's variable": {"PIP_CONFIG_FILE": os.devnull, "UV_DEFAULT_INDEX": address},
            "its older name": {"PIP_CONFIG_FILE": os.devnull, "UV_INDEX_URL": address},
        }[kind]
        monkeypatch.setattr(os, "environ", cleaned({**without_sources(), **said}))
        here = install.CPU._replace(environment=Path(sys.prefix))
        environment = install.settled(here.python)
        assert not install._uv(here, environment, "install", "--dry-run", "nosuch-one")
        assert not install._pip(here, environment, "--dry-run", "nosuch-two")
        listening.shutdown()
    assert {"/simple/nosuch-one/", "/simple/nosuch-two/"} <= set(asked)


def without_sources() -> dict[str, str]:
    """The environment without what this machine's owner says of indexes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}


# --- when anew -------------------------------------------------------------------------------------------


def planned() -> str:
    """Return what make would do for .venv, its commands or that nothing is to be done."""
    command = ["make", "--dry-run", ".venv/.ready"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def made(folder: Path) -> None:
    """Leave the mark of an install without the install."""
    mark = planned().split("-m solesearch.core.install '")[1].split("'")[0]
    (folder / ".venv").mkdir(exist_ok=True)
    (folder / ".venv" / ".ready").write_text(mark + "\n", encoding="utf-8")


def test_an_environment_is_made_anew_where_the_folder_is_copied_or_moved(
    project, monkeypatch, tmp_path_factory
):
    assert "solesearch.core.install" in planned()
    assert install.reason(install.CPU) == ""
    made(project)
    assert "up to date" in planned()
    copy = tmp_path_factory.mktemp("it's a") / "copy of it"
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)
    assert "solesearch.core.install" in planned()
    assert install.reason(install.CPU).startswith(
        f".venv belongs to {project}: this folder was copied or moved"
    )
    monkeypatch.chdir(project)
    assert "up to date" in planned()
    moved = project.rename(project.with_name("moved"))
    monkeypatch.chdir(moved)
    assert "solesearch.core.install" in planned()
    made(moved)
    assert "up to date" in planned()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-peers.lock", "pyproject.toml"])
def test_other_pins_make_it_anew_and_a_touched_file_does_not(project, name):
    made(project)
    (project / name).touch()
    assert "up to date" in planned()
    with (project / name).open("a", encoding="utf-8") as file:
        file.write("# a change\n")
    assert "solesearch.core.install" in planned()
    assert "other pins" in install.reason(install.CPU)


def test_gpu_1_is_another_environment_with_other_pins(project):
    made(project)

    def planned_with_cuda() -> str:
        command = ["make", "--dry-run", ".venv-gpu/.ready", "GPU=1"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "-m solesearch.core.install --gpu '" in planned_with_cuda()
    with (project / "requirements-gpu.lock").open("a", encoding="utf-8") as file:
        file.write("# a change\n")
    assert "up to date" in planned()
    (project / ".venv").rename(project / ".venv-gpu")
    assert "-m solesearch.core.install --gpu '" in planned_with_cuda()  # made from the other lock


def test_make_starts_the_install_with_a_system_python(project):
    """Neither the old .venv, which is about to go, nor a Python that the user's variables break."""
    fake = project / ".venv" / "bin"
    fake.mkdir(parents=True)
    tools = project / "tools"
    tools.mkdir()
    (fake / "python3.11").write_text("#!/bin/sh\necho the old one; exit 9\n", encoding="utf-8")
    shown = (
        f"#!/bin/sh\nexec {sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"\n"
    )
    (tools / "python3.11").write_text(shown, encoding="utf-8")
    for script in (fake / "python3.11", tools / "python3.11"):
        script.chmod(0o755)
    said = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONHOME": "/nowhere"}
    command = ["make", "--no-print-directory", ".venv/.ready"]
    ended = subprocess.run(command, env=said, capture_output=True, text=True, check=True)
    module, name, mark = json.loads(ended.stdout.splitlines()[-1])
    assert (module, name) == ("-m", "solesearch.core.install")
    assert mark.startswith(f"{project} ")
