"""What stands on a user's machine (variables, settings files, an ASCII terminal) aims nothing here."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import nbformat
import pytest

from solesearch.core import surroundings
from solesearch.core.surroundings import cleaned
from solesearch.networks import weights
from solesearch.pipeline import notebook

ROOT = Path(__file__).parents[2]
CLOSED = "http://127.0.0.1:9"  # nothing answers there


def users(**said: str) -> dict[str, str]:
    """An environment as a user has it before anything of this project ran, and what he set in it."""
    own = {*surroundings.rules()["set"], surroundings.KERAS_HOME, "MPLBACKEND", "CUDA_VISIBLE_DEVICES"}
    return {name: value for name, value in os.environ.items() if name not in own} | said


def told(code: str, environment: Mapping[str, str], *, cwd: Path = ROOT) -> str:
    """Return the last line that a Python of its own prints."""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.strip().splitlines()[-1]


# --- the table -------------------------------------------------------------------------------------------


def one_of_each() -> dict[str, str]:
    """A variable for each line of the table, all with a value of the user's."""
    names = [name.replace("%", "SOMETHING") for listed in surroundings.rules().values() for name in listed]
    return dict.fromkeys(names, "1")


def test_everything_in_the_table_is_done_and_nothing_else():
    said = {**one_of_each(), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "1", "LC_ALL": "C"}
    kept, table = cleaned(said), surroundings.rules()
    assert not [name for name in kept if name.replace("SOMETHING", "%") in table["remove"]]
    assert {name: kept[name] for name in table["set"]} == table["set"]
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LC_ALL", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        assert kept[name] == said[name]


@pytest.mark.parametrize("command", ["make", "gmake"])
def test_make_gives_the_same_environment(tmp_path, command):
    if not shutil.which(command):
        pytest.skip(f"no {command}")
    (tmp_path / "show.mk").write_text("show: ; @env\n", encoding="utf-8")
    said = {**one_of_each(), "PATH": os.environ["PATH"], "HOME": str(tmp_path), "MAKEFLAGS": ""}
    ended = subprocess.run(
        [command, "--no-print-directory", "-f", "Makefile", "-f", str(tmp_path / "show.mk"), "show"],
        cwd=ROOT, env=said, capture_output=True, text=True, check=True,
    )  # fmt: skip
    given = dict(line.split("=", 1) for line in ended.stdout.splitlines() if "=" in line)
    wanted = {name: value.replace(sys.prefix, str(ROOT / ".venv")) for name, value in cleaned(said).items()}
    for name in ("SOLESEARCH_ROOT", "SOLESEARCH_PROGRESS"):
        assert name not in given
        wanted.pop(name)
    own = "PATH MAKEFLAGS _ PWD OLDPWD SHLVL MFLAGS MAKELEVEL MAKE_TERMERR MAKE_TERMOUT"
    for name in own.split():
        given.pop(name, None)
        wanted.pop(name, None)
    assert given == wanted


def test_a_host_port_or_name_that_a_shell_exports_is_not_said_to_make():
    def page(*words: str) -> str:
        said = {**os.environ, "HOST": "lab.example", "PORT": "8080", "NAME": "laptop"}
        command = ["make", "--dry-run", *words]
        return subprocess.run(command, cwd=ROOT, env=said, capture_output=True, text=True, check=True).stdout

    assert "--host 127.0.0.1 --port 7860" in page("app")
    assert "--host 0.0.0.0 --port 7861" in page("app", "HOST=0.0.0.0", "PORT=7861")
    assert "--name" not in page("add", "DATA=x")


# --- Python ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"PYTHONPATH": "foreign", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii:strict"},
    ],
)
def test_a_command_under_a_python_that_is_aimed(workspace, said):
    foreign = workspace / "foreign"
    foreign.mkdir()
    for name in ("pandas", "yaml", "numpy"):
        (foreign / f"{name}.py").write_text(f"raise RuntimeError('a {name} of the user')", encoding="utf-8")
    for profile in ("sample", "chapter"):
        shutil.copytree(ROOT / "results" / profile, workspace / "results" / profile)
    shutil.copy(ROOT / "README.md", workspace)
    shutil.copytree(ROOT / "docs", workspace / "docs")
    (workspace / "docs" / "results.md").unlink()
    command = [sys.executable, "-m", "solesearch.pipeline.report"]
    ended = subprocess.run(command, cwd=workspace, env=users(**said), capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "–" in (workspace / "docs" / "results.md").read_text("utf-8")


def test_a_terminal_that_cannot_be_changed_shows_what_it_can(workspace):
    """A notebook's or a user's own Python: nothing starts anew, and no sign ends it."""
    said = users(PYTHONIOENCODING="ascii")
    assert told("import solesearch; print('0.1–0.2')", said) == r"0.1\u20130.2"


def test_children_run_the_code_that_their_parent_runs(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ask = "import solesearch; print(solesearch.__file__)"
    code = f"import solesearch, subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    for place in ("src", str(tmp_path / "src"), f"{tmp_path / 'other'}:{tmp_path / 'src'}:"):
        assert told(code, users(PYTHONPATH=place), cwd=tmp_path) == str(
            tmp_path / "src/solesearch/__init__.py"
        )


# --- Keras -----------------------------------------------------------------------------------------------

OTHERWISE = {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "content"), [("HOME", json.dumps(OTHERWISE)), ("KERAS_HOME", '{"floatx": "float128"}')]
)
def test_keras_is_configured_as_the_networks_need_it(tmp_path, where, content):
    folder = tmp_path / ".keras" if where == "HOME" else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "keras.json").write_text(content, encoding="utf-8")
    said = {where: str(tmp_path), "KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "1", "TF_USE_LEGACY_KERAS": "1"}
    code = (
        "from solesearch.networks.weights import keras_cache; from keras import config as c; "
        "print(c.backend(), c.floatx(), c.image_data_format(), c.epsilon(), c.max_epochs(), keras_cache())"
    )
    wanted = f"tensorflow float32 channels_last 1e-07 None {folder / 'models'}"
    assert told(code, users(**said)) == wanted
    assert (folder / "keras.json").read_text(encoding="utf-8") == content


def test_the_users_downloads_of_keras_are_found_by_children_too(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert weights.keras_cache() == tmp_path / "models"
    ask = "from solesearch.networks.weights import keras_cache; print(keras_cache())"
    code = f"import solesearch, subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    assert told(code, {**os.environ}) == str(tmp_path / "models")


# --- proxies ---------------------------------------------------------------------------------------------


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from this machine")

    def log_message(self, *words: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a web server on this machine."""
    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


PROXIES = [
    {"http_proxy": CLOSED},
    {"HTTP_PROXY": CLOSED, "NO_PROXY": ""},
    {"ALL_PROXY": CLOSED},
    {"http_proxy": CLOSED, "no_proxy": "example.org"},
    {"http_proxy": CLOSED, "NO_PROXY": "example.org, .internal"},
]


@pytest.mark.parametrize("said", PROXIES)
def test_requests_to_this_machine_pass_by_the_proxy(server, said):
    ask = (
        "import solesearch, urllib.request, requests, httpx2; "
        f"print(urllib.request.urlopen({server!r}, timeout=5).read().decode(), "
        f"requests.get({server!r}, timeout=5).text, httpx2.get({server!r}, timeout=5).text, sep=', ')"
    )
    clean = {name: value for name, value in users().items() if "proxy" not in name.lower()}
    assert told(ask, {**clean, **said}) == ", ".join(["from this machine"] * 3)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "grpc_proxy"])
def test_milvus_and_its_grpc_pass_by_the_proxy(name):
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    listening = grpc.server(ThreadPoolExecutor(1))
    port = listening.add_insecure_port("127.0.0.1:0")
    listening.start()
    code = (
        "import solesearch, grpc; "
        f"there = grpc.channel_ready_future(grpc.insecure_channel('127.0.0.1:{port}')); "
        "there.result(timeout=8); print('there')"
    )
    clean = {one: value for one, value in users().items() if "proxy" not in one.lower()}
    assert told(code, {**clean, name: CLOSED, "no_grpc_proxy": "example.org"}) == "there"
    listening.stop(None)


def test_what_the_user_says_of_proxies_stays():
    kept = cleaned({"https_proxy": CLOSED, "no_proxy": "a.example,127.0.0.1", "NO_PROXY": "b.example"})
    assert kept["https_proxy"] == CLOSED
    assert kept["no_proxy"] == "a.example,127.0.0.1,localhost,::1"
    assert kept["NO_PROXY"] == "b.example,localhost,127.0.0.1,::1"
    assert cleaned({"http_proxy": CLOSED, "no_proxy": "*"})["no_proxy"] == "*"
    assert "no_proxy" not in cleaned({"PATH": "/bin"})  # on macOS it would hide the system's proxies
    once = cleaned({"http_proxy": CLOSED})
    assert cleaned(once) == once


# --- kernels ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_kernel_is_this_python_whatever_jupyter_and_ipython_are_told(workspace):
    kernels = workspace / "jupyter" / "kernels" / "python3"
    startup = workspace / "ipython" / "profile_default" / "startup"
    for folder in (kernels, startup, workspace / ".nb" / "one"):
        folder.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    (startup / "first.py").write_text("changed = 'by the startup file'", encoding="utf-8")
    made = nbformat.v4.new_notebook(metadata={"kernelspec": notebook.KERNEL})
    show = "import os, sys, warnings\nprint(sys.executable, 'changed' in globals(), sys.flags.optimize)\n"
    show += "print(os.environ['KERAS_BACKEND'], os.environ.get('MPLBACKEND'), sys.warnoptions)"
    first = nbformat.v4.new_code_cell("profile = ''", metadata={"tags": ["parameters"]})
    made.cells = [first, nbformat.v4.new_code_cell(show)]
    nbformat.write(made, workspace / ".nb" / "one" / "one.ipynb")
    said = users(
        JUPYTER_PATH=str(workspace / "jupyter"), JUPYTER_DATA_DIR=str(workspace / "jupyter"),
        JUPYTER_PREFER_ENV_PATH="0", IPYTHONDIR=str(workspace / "ipython"), MPLBACKEND="TkAgg",
        PYTHONOPTIMIZE="1", PYTHONWARNINGS="error", KERAS_BACKEND="jax", DVC_STAGE="one",
        SOLESEARCH_ROOT=str(ROOT),  # DVC runs a stage in its own folder
    )  # fmt: skip
    command = [sys.executable, "-m", "solesearch.pipeline.notebook", "run", "one", "smoke"]
    ended = subprocess.run(command, cwd=workspace, env=said, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    read = nbformat.read(workspace / "runs" / "smoke" / "notebooks" / "one.ipynb", as_version=4)
    [output] = read.cells[-1].outputs
    assert output.text.splitlines()[0] == f"{sys.executable} False 0"
    assert output.text.splitlines()[1] == "tensorflow module://matplotlib_inline.backend_inline []"


def test_jupyterlab_finds_this_environments_kernel_first(tmp_path):
    kernels = tmp_path / "kernels" / "python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "x"}', encoding="utf-8")
    code = (
        "import sys; from jupyter_client import KernelManager as K; m = K(kernel_name='python3'); "
        "print(m.format_kernel_cmd()[0] == sys.executable)"
    )
    said = {"JUPYTER_PATH": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "0"}
    assert told(code, cleaned(users(**said))) == "True"


# --- Git and the pipeline --------------------------------------------------------------------------------


def test_a_git_hook_does_not_name_the_commit(tmp_path):
    for one in (tmp_path / "other", tmp_path / "own"):
        one.mkdir()
        subprocess.run(["git", "init", "--quiet", str(one)], check=True, env=cleaned(os.environ))
        (one / "params.yaml").touch()
        (one / "dvc.yaml").touch()
    said = users(GIT_DIR=str(tmp_path / "other" / ".git"), GIT_WORK_TREE=str(tmp_path / "other"))
    said |= {"SOLESEARCH_ROOT": str(tmp_path / "own"), "GIT_INDEX_FILE": "/nowhere"}
    code = "import solesearch; from solesearch.core.environment import git_commit; print(git_commit())"
    assert told(code, said) == "no commit yet"
