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

from solesearch import networks, weights
from solesearch.errors import InputError
from solesearch.weights import WeightStore

VALUES = 500_000


def weight_file(value: float = 0.5) -> bytes:
    """Return an HDF5 file of 500,000 values: 2 MB, more than one block."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["layer/kernel"] = np.full(VALUES, value, np.float32)
    return memory.getvalue()


CONTENT = weight_file()


class Server(http.server.ThreadingHTTPServer):
    """A server of weight files over a real socket; `fault` makes it break off or fall silent."""

    fault = ""
    asked: list[str]


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.fault == "silent":
            time.sleep(20)
        if self.server.fault == "breaks off":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1_500_000])
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve VGG16's file below tmp_path/served as Keras lays it out."""
    network = networks.find_network("VGG16")
    target = tmp_path / "served" / network.folder / network.file
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    with Server(("127.0.0.1", 0), handler) as running:
        running.asked = []
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every network be of CONTENT's size and hash, so that no real file is needed."""
    known, md5 = networks.find_network, hashlib.md5(CONTENT).hexdigest()
    monkeypatch.setattr(
        weights,
        "find_network",
        lambda name: replace(known(name), md5=known(name).md5 and md5, values=VALUES),
    )


def store(tmp_path: Path, server: Server | None = None, **options: object) -> WeightStore:
    port = server.server_address[1] if server else unused_port()
    return WeightStore(
        tmp_path / "weights", cache=tmp_path / "cache", address=f"http://127.0.0.1:{port}", **options
    )


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_order_is_placed_then_cache_then_download(tmp_path: Path, server: Server) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    found = store(tmp_path, server).find("VGG16")
    assert (found.source, found.sha256, found.published_file) == ("download", sha256, "yes")
    assert found.path.parent == tmp_path / "cache"
    assert store(tmp_path, server).find("VGG16").source == "keras cache"
    assert len(server.asked) == 1, "what lies in the cache is not fetched again"

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/VGG16.h5").write_bytes(weight_file(0.25))
    mine = store(tmp_path, server).find("VGG16")
    assert (mine.source, mine.published_file) == ("placed", "no")


@pytest.mark.parametrize("name", ["MobileNet-0.25.h5", "mobilenet_2_5_224_tf_no_top.h5"])
def test_a_network_without_a_published_hash_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / name).write_bytes(weight_file(0.25))
    assert store(tmp_path).find("MobileNet-0.25").published_file == "unknown"


def test_a_damaged_file_under_kerass_name_is_named(tmp_path: Path) -> None:
    name = networks.find_network("VGG16").file
    for folder in ("cache", "weights"):  # the user's folder is looked at first
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(CONTENT[:-1])
        with pytest.raises(InputError, match=rf"{folder}/{name}: not the file that Keras published"):
            store(tmp_path).find("VGG16")


def test_without_network_all_twelve_take_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    away = store(tmp_path)
    found = [away.find(name) for name in networks.published_networks().index]
    assert time.monotonic() - started < 2
    assert {one.source for one in found} == {"untrained"}
    table = weights.weights_table(found)
    assert list(table.columns) == ["network", "source", "sha256", "published_file"]
    message = weights.how_to_get(found, folder=tmp_path / "weights")
    assert "VGG16" in message and "DenseNet201" in message and "make repro" in message
    assert weights.how_to_get([], folder=tmp_path) == ""


def test_a_silent_server_costs_one_wait(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PATIENCE", 0.5)
    server.fault = "silent"
    started, lines = time.monotonic(), []
    hanging = store(tmp_path, server, report=lines.append)
    assert {hanging.find(name).source for name in ("VGG16", "VGG19", "ResNet50")} == {"untrained"}
    assert time.monotonic() - started < 5
    assert len(lines) == len(server.asked) == 1 and "timed out" in lines[0]


@pytest.mark.parametrize("fault", ["breaks off", "wrong content", "not there"])
def test_a_failed_download_leaves_nothing(tmp_path: Path, server: Server, fault: str) -> None:
    server.fault = fault
    network, lines = networks.find_network("VGG16"), []
    served = tmp_path / "served" / network.folder / network.file
    if fault == "wrong content":
        served.write_bytes(b"<html>sign in</html>")
    if fault == "not there":
        served.unlink()
    found = store(tmp_path, server, report=lines.append).find("VGG16")
    assert found.source == "untrained"
    assert not list((tmp_path / "cache").iterdir())
    assert network.file in lines[0]


def test_downloads_can_be_forbidden(tmp_path: Path, server: Server) -> None:
    assert store(tmp_path, server, may_download=False).find("VGG16").source == "untrained"
    assert server.asked == []


def test_cache_is_where_keras_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert weights.keras_cache() == tmp_path / "models"


def profile_with(workspace: Path, **changes: object) -> None:
    path = workspace / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters["smoke"]["networks"].update(changes)
    path.write_text(yaml.safe_dump(parameters))


def test_the_stage_writes_its_table_and_one_message(
    workspace: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that comes later: the first run says how, the second one has the file."""
    monkeypatch.setenv("KERAS_HOME", str(workspace / "keras"))
    profile_with(workspace, names=["VGG16", "MobileNet"], whole_catalogue=[], download=True)
    lines = []
    away = f"http://127.0.0.1:{unused_port()}"
    weights.collect("smoke", address=away, report=lines.append)
    table = pd.read_csv(workspace / "results/smoke/weights.csv", keep_default_na=False)
    assert table["source"].tolist() == ["untrained", "untrained"]
    assert len([line for line in lines if "make weights" in line]) == 1
    weights.collect("smoke", address=f"http://127.0.0.1:{server.server_address[1]}", report=lines.append)
    table = pd.read_csv(workspace / "results/smoke/weights.csv", keep_default_na=False)
    assert table["source"].tolist() == ["download", "untrained"]
    assert table["sha256"].tolist() == [hashlib.sha256(CONTENT).hexdigest(), ""]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"text", "not a whole HDF5 file"),
        (weight_file()[:-200_000], "not a whole HDF5 file"),
        (b"", "not a whole"),
    ],
)
def test_a_damaged_file_is_named_before_any_compute(workspace: Path, content: bytes, words: str) -> None:
    profile_with(workspace, names=["VGG16"], whole_catalogue=[])
    (workspace / "weights").mkdir()
    (workspace / "weights/VGG16.h5").write_bytes(content)
    with pytest.raises(InputError, match=rf"weights/VGG16\.h5: {words}"):
        weights.check_placed(weights.load_network_settings("smoke"))


def test_another_folder_may_be_named(workspace: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "VGG16.h5").write_bytes(weight_file(0.25))
    profile_with(workspace, names=["VGG16"], whole_catalogue=[], weights_folder=str(elsewhere))
    table = weights.collect("smoke", report=lambda _: None)
    assert table["source"].tolist() == ["placed"]
