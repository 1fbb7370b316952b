"""ImageNet weights: the user's file first, then Keras's cache, then a download, and a fast no."""

import functools
import hashlib
import http.server
import io
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from solesearch.core.errors import InputError
from solesearch.core.model_names import published_networks
from solesearch.core.paths import Paths
from solesearch.networks import networks, weights
from solesearch.networks.networks import NetworkSettings
from solesearch.networks.weights import Server, find_weights

VALUES = 500_000


def weight_file(value: float = 0.5) -> bytes:
    """Return an HDF5 file of 500,000 values: 2 MB, more than one block."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["layer/kernel"] = np.full(VALUES, value, np.float32)
    return memory.getvalue()


CONTENT = weight_file()
ANSWERS = {  # fault -> status, what is sent, the length that is promised
    "breaks off": (200, CONTENT[:1_500_000], len(CONTENT)),
    "html page": (200, b"<html>sign in</html>", 20),
    "busy": (503, b"", 0),
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files; `server.fault` makes it answer wrongly."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.fault == "silent":
            time.sleep(20)
        elif self.server.fault == "garbage":
            self.wfile.write(b"weights, please come in\r\n\r\n")
        elif self.server.fault:
            status, content, length = ANSWERS[self.server.fault]
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)
        else:
            super().do_GET()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(workspace: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """A server over a real socket, of the files of three networks as Keras lays them out."""
    for name in ("VGG16", "VGG19", "MobileNet"):
        network = networks.find_network(name)
        target = workspace / "served" / network.folder / network.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(CONTENT)
    handler = functools.partial(Handler, directory=str(workspace / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.asked, running.fault, running.daemon_threads = [], "", True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def cache(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's cache; every network is of CONTENT's size and hash, so that no real file is needed."""
    known, md5 = networks.find_network, hashlib.md5(CONTENT).hexdigest()
    monkeypatch.setattr(
        weights,
        "find_network",
        lambda name: replace(known(name), md5=known(name).md5 and md5, values=VALUES),
    )
    monkeypatch.setenv("KERAS_HOME", str(workspace / "keras"))
    return workspace / "keras/models"


def at(running: http.server.ThreadingHTTPServer) -> Server:
    return Server(f"http://127.0.0.1:{running.server_address[1]}")


def away() -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Server(f"http://127.0.0.1:{probe.getsockname()[1]}")


def place(workspace: Path, name: str, content: bytes, *, folder: str = "weights") -> None:
    (workspace / folder).mkdir(exist_ok=True)
    (workspace / folder / name).write_bytes(content)


def test_order_is_placed_then_cache_then_download(workspace: Path, server, cache: Path) -> None:
    look = functools.partial(find_weights, folder=workspace / "weights", server=at(server))
    assert find_weights("VGG16", folder=workspace / "weights").path is None, "no server, no download"
    found = look("VGG16")
    assert (found.published_file, found.sha256) == ("yes", hashlib.sha256(CONTENT).hexdigest())
    assert [found.path] == list(cache.iterdir())
    assert look("VGG16") == found and len(server.asked) == 1, "what lies in the cache is not fetched again"
    place(workspace, "VGG16.h5", weight_file(0.25))
    mine = look("VGG16")
    assert (mine.path, mine.published_file) == (workspace / "weights/VGG16.h5", "no")
    place(workspace, "mobilenet_2_5_224_tf_no_top.h5", weight_file(0.25))
    assert look("MobileNet-0.25").published_file == "unknown", "Keras names no hash of it"


def test_damaged_files_of_the_users_are_named_before_any_compute(workspace: Path) -> None:
    profile_with(workspace, names=["VGG16"], weights_folder=str(workspace / "elsewhere"))
    own = networks.find_network("VGG16").file
    for name, content, words in (
        (own, CONTENT[:-1] + b"x", "not the file that Keras published"),
        ("VGG16.h5", b"text", "not a whole HDF5 file"),
        ("VGG16.h5", CONTENT[:-200_000], "not a whole HDF5 file"),
    ):
        for other in (workspace / "elsewhere").glob("*"):
            other.unlink()
        place(workspace, name, content, folder="elsewhere")
        with pytest.raises(InputError, match=rf"elsewhere/{name}: {words}"):
            weights.collect("smoke", report=lambda _: None)
    with pytest.raises(InputError, match=r"elsewhere/VGG16\.h5: not a whole HDF5 file"):
        weights.check_placed(NetworkSettings.load("smoke"))
    place(workspace, "VGG16.h5", weight_file(0.25), folder="elsewhere")
    [found] = weights.collect("smoke", report=lambda _: None)
    assert found.path == workspace / "elsewhere/VGG16.h5"


@pytest.mark.parametrize("name", ["VGG16", "MobileNet"])  # Keras names no hash of the second
def test_a_damaged_file_in_the_cache_is_fetched_anew(workspace: Path, server, cache: Path, name: str) -> None:
    """What cannot be replaced stays where it is, and is not used."""
    file, lines = cache / networks.find_network(name).file, []
    cache.mkdir(parents=True)
    file.write_bytes(CONTENT[:-1_000])
    look = functools.partial(find_weights, name, folder=workspace, report=lines.append)
    assert look(server=away()).path is None
    assert file.name in lines[0] and file.read_bytes() == CONTENT[:-1_000]
    assert look(server=at(server)).path
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["VGG16", "MobileNet"])
@pytest.mark.parametrize("fault", [*ANSWERS, "garbage", "not there"])
def test_a_wrong_answer_never_stays_and_the_others_are_still_fetched(
    workspace: Path, server, cache: Path, name: str, fault: str
) -> None:
    network, lines = networks.find_network(name), []
    if fault == "not there":
        (workspace / "served" / network.folder / network.file).unlink()
    server.fault, asked = fault.replace("not there", ""), at(server)
    found = find_weights(name, folder=workspace, server=asked, report=lines.append)
    assert found.path is None and not list(cache.iterdir())
    assert len(lines) == 1 and network.file in lines[0] and "\n" not in lines[0]
    server.fault = ""
    assert find_weights("VGG19", folder=workspace, server=asked).path


def test_a_server_that_is_away_or_silent_costs_seconds(
    workspace: Path, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, none, lines = time.monotonic(), away(), []
    for name in published_networks().index:
        found = find_weights(name, folder=workspace, server=none, report=lines.append)
        assert found.path is None
    assert time.monotonic() - started < 2 and not lines
    monkeypatch.setattr(weights, "PATIENCE", 0.3)
    silent, server.fault = at(server), "silent"
    for name in published_networks().index:
        find_weights(name, folder=workspace, server=silent, report=lines.append)
    assert len(server.asked) == len(lines) == weights.MOST_FAILURES, "given up"
    assert "timed out" in lines[0]


def test_a_cache_that_cannot_be_written_is_named(workspace: Path, server) -> None:
    (workspace / "keras").write_text("a file where a folder should be")
    lines = []
    found = find_weights("VGG16", folder=workspace, server=at(server), report=lines.append)
    assert found.path is None and len(lines) == 1 and "keras" in lines[0]


def profile_with(workspace: Path, **changes: object) -> None:
    path = workspace / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters["smoke"]["networks"].update({"whole_catalogue": [], **changes})
    path.write_text(yaml.safe_dump(parameters))


def test_the_stage_writes_its_table_and_says_how_to_get_the_rest(
    workspace: Path, server, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """A connection that comes later: the first run says how, the second one has the file."""
    profile_with(workspace, names=["VGG16", "ResNet50"], download=True)
    path = Paths.of("smoke").result("weights")
    monkeypatch.setenv("SOLESEARCH_WEIGHTS", away().address)
    [line] = weights.look_for_all(["smoke"])
    assert "for VGG16, ResNet50:" in line and "`make repro` fetches them" in line
    assert "ImageNet weights for 0 of 2 networks" in capsys.readouterr().out
    assert pd.read_csv(path, keep_default_na=False)["weights"].tolist() == ["untrained", "untrained"]
    monkeypatch.setenv("SOLESEARCH_WEIGHTS", at(server).address)
    [line] = weights.look_for_all(["smoke"])
    assert "for ResNet50:" in line
    table = pd.read_csv(path, keep_default_na=False)
    assert table["weights"].tolist() == ["imagenet", "untrained"]
    assert table["sha256"].tolist() == [hashlib.sha256(CONTENT).hexdigest(), ""]
    before = path.read_bytes()  # downloaded, from the cache, placed: nothing is stale
    place(workspace, "VGG16.h5", CONTENT)
    weights.collect("smoke", server=away(), report=lambda _: None)
    assert path.read_bytes() == before
