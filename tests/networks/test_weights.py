"""ImageNet weights: the user's file first, then Keras's cache, then a download, and a fast no."""

import functools
import hashlib
import http.server
import io
import itertools
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
from solesearch.networks import networks, weights
from solesearch.networks.weights import WeightStore
from solesearch.pipeline import preflight, repro

VALUES = 500_000


def weight_file(value: float = 0.5) -> bytes:
    """Return an HDF5 file of 500,000 values: 2 MB, more than one block."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["layer/kernel"] = np.full(VALUES, value, np.float32)
    return memory.getvalue()


CONTENT = weight_file()


class Server(http.server.ThreadingHTTPServer):
    """A server of weight files over a real socket; `fault` makes it answer wrongly, `times` how often."""

    fault, times = "", 1_000
    asked: list[str]


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.times -= 1
        fault = self.server.fault if self.server.times >= 0 else ""
        if hasattr(self, f"answer_{fault.replace(' ', '_')}"):
            self.close_connection = True
            getattr(self, f"answer_{fault.replace(' ', '_')}")()
        elif begin := self.headers.get("Range"):
            start = int(begin.removeprefix("bytes=").removesuffix("-"))
            self.answer(CONTENT[start:], status=206)
        else:
            super().do_GET()

    def answer(self, content: bytes, *, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def answer_silent(self) -> None:
        time.sleep(20)

    def answer_breaks_off(self) -> None:
        self.answer(CONTENT[:1_500_000], length=len(CONTENT))

    def answer_html_page(self) -> None:
        self.answer(b"<html>sign in</html>")

    def answer_broken_chunks(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nabc")

    def answer_garbage_status(self) -> None:
        self.wfile.write(b"weights, please come in\r\n\r\n")

    def answer_closed(self) -> None:
        pass

    def answer_too_long(self) -> None:
        self.answer(CONTENT + b"more")

    def answer_loop(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def answer_busy(self) -> None:
        self.answer(b"", status=503)

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
    server = weights.Server(f"http://127.0.0.1:{port}")
    return WeightStore(tmp_path / "weights", **{"cache": tmp_path / "cache", "server": server, **options})


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
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / name).write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=rf"weights/{name}: not the file that Keras published"):
        store(tmp_path).find("VGG16")


@pytest.mark.parametrize("content", [b"<html>sign in</html>", CONTENT[:-1], b""])
@pytest.mark.parametrize("name", ["VGG16", "MobileNet"])
def test_a_damaged_file_in_the_cache_is_fetched_anew(
    tmp_path: Path, server: Server, name: str, content: bytes
) -> None:
    """MobileNet's has no published hash. What cannot be replaced stays where it is, and is not used."""
    network, lines = networks.find_network(name), []
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / network.file).write_bytes(content)
    assert store(tmp_path, report=lines.append).find(name).source == "untrained"
    assert network.file in lines[0] and (tmp_path / "cache" / network.file).read_bytes() == content
    served = tmp_path / "served" / network.folder / network.file
    served.parent.mkdir(parents=True, exist_ok=True)
    served.write_bytes(CONTENT)
    assert store(tmp_path, server, report=lines.append).find(name).source == "download"
    assert (tmp_path / "cache" / network.file).read_bytes() == CONTENT


def test_without_network_all_twelve_take_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    away = store(tmp_path)
    found = [away.find(name) for name in networks.published_networks().index]
    assert time.monotonic() - started < 2
    assert {one.source for one in found} == {"untrained"}
    table = weights.weights_table(found)
    assert list(table.columns) == ["network", "weights", "sha256", "published_file"]
    message = weights.how_to_get(found, folder=tmp_path / "weights")
    assert "VGG16" in message and "DenseNet201" in message and "make repro" in message
    assert weights.how_to_get([], folder=tmp_path) == ""


def test_a_silent_server_costs_one_wait(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PATIENCE", 0.3)
    server.fault = "silent"
    started, lines = time.monotonic(), []
    hanging = store(tmp_path, server, report=lines.append)
    assert {hanging.find(name).source for name in ("VGG16", "VGG19", "ResNet50")} == {"untrained"}
    assert len(lines) == 3 and "timed out" in lines[0] and len(server.asked) == 3 * weights.TRIES
    assert hanging.find("DenseNet121").source == "untrained"  # given up: it is not asked nine times more
    assert time.monotonic() - started < 10 and len(server.asked) == 3 * weights.TRIES


FAULTS = ("breaks off", "html page", "broken chunks", "garbage status", "closed", "loop", "busy", "not there")


@pytest.mark.parametrize(
    ("name", "fault"),
    [*itertools.product(["VGG16", "MobileNet"], FAULTS), ("VGG16", "too long")],
)
def test_a_wrong_answer_never_stays_and_the_others_are_still_fetched(
    tmp_path: Path, server: Server, name: str, fault: str
) -> None:
    """One network fails in every way that servers do; the next one comes. MobileNet has no published hash."""
    network, other, lines = networks.find_network(name), networks.find_network("VGG19"), []
    for one in (network, other):
        served = tmp_path / "served" / one.folder / one.file
        served.parent.mkdir(parents=True, exist_ok=True)
        served.write_bytes(CONTENT)
    if fault == "not there":
        (tmp_path / "served" / network.folder / network.file).unlink()
    server.fault, looking = fault, store(tmp_path, server, report=lines.append)
    assert looking.find(name).source == "untrained"
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left <= ({f"{network.file}.part"} if name == "VGG16" and fault == "breaks off" else set())
    assert len(lines) == 1 and network.file in lines[0] and "\n" not in lines[0]
    server.fault = ""
    assert looking.find("VGG19").source == "download"


@pytest.mark.parametrize("fault", ["breaks off", "broken chunks", "garbage status", "closed", "busy"])
def test_a_passing_fault_is_tried_again(tmp_path: Path, server: Server, fault: str) -> None:
    server.fault, server.times, lines = fault, weights.TRIES - 1, []
    found = store(tmp_path, server, report=lines.append).find("VGG16")
    assert (found.source, found.path.read_bytes()) == ("download", CONTENT)
    assert [path.name for path in found.path.parent.iterdir()] == [found.path.name]
    assert len(lines) == 1 and "downloaded" in lines[0]


def test_a_broken_download_goes_on_where_it_was_also_in_the_next_run(tmp_path: Path, server: Server) -> None:
    server.fault = "breaks off"
    assert store(tmp_path, server).find("VGG16").source == "untrained"
    [part] = (tmp_path / "cache").iterdir()
    assert part.read_bytes() == CONTENT[:1_500_000]
    server.fault, before = "", len(server.asked)
    assert store(tmp_path, server).find("VGG16").source == "download"
    assert len(server.asked) == before + 1
    part.write_bytes(b"another file's beginning")  # the pieces do not fit, so nothing of them stays
    (tmp_path / "cache" / networks.find_network("VGG16").file).unlink()
    assert store(tmp_path, server).find("VGG16").source == "untrained"
    assert store(tmp_path, server).find("VGG16").source == "download"


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, server: Server) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    lines = []
    looking = store(tmp_path, server, report=lines.append)
    assert [looking.find(name).source for name in ("VGG16", "VGG19")] == ["untrained", "untrained"]
    assert len(lines) == 1 and "cannot be written" in lines[0] and "KERAS_HOME" in lines[0]


def test_downloads_can_be_forbidden(tmp_path: Path, server: Server) -> None:
    assert store(tmp_path, server=None).find("VGG16").source == "untrained"
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
    found = weights.collect("smoke", server=weights.Server(away), report=lines.append)
    path = workspace / "results/smoke/weights.csv"
    table = pd.read_csv(path, keep_default_na=False)
    assert table["weights"].tolist() == ["untrained", "untrained"]
    assert "`make repro` fetches them" in weights.how_to_get(found, folder=workspace / "weights")
    there = f"http://127.0.0.1:{server.server_address[1]}"
    weights.collect("smoke", server=weights.Server(there), report=lines.append)
    table = pd.read_csv(path, keep_default_na=False)
    assert table["weights"].tolist() == ["imagenet", "untrained"]
    assert table["sha256"].tolist() == [hashlib.sha256(CONTENT).hexdigest(), ""]
    before = path.read_bytes()  # from the cache, then placed: nothing is stale
    weights.collect("smoke", server=weights.Server(away), report=lines.append)
    assert path.read_bytes() == before
    (workspace / "weights").mkdir()
    (workspace / "weights/VGG16.h5").write_bytes(CONTENT)
    weights.collect("smoke", server=weights.Server(away), report=lines.append)
    assert path.read_bytes() == before


def test_each_run_looks_again(
    workspace: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(workspace / "keras"))
    profile_with(workspace, names=["VGG16", "VGG19"], whole_catalogue=[], download=True)
    monkeypatch.setattr(repro, "run_stages", lambda profiles: None)
    monkeypatch.setattr(preflight, "check_all", lambda profiles: None)
    monkeypatch.setenv("SOLESEARCH_WEIGHTS", f"http://127.0.0.1:{unused_port()}")
    repro.reproduce(["smoke"])
    assert "No ImageNet weights here for VGG16, VGG19" in capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setenv("SOLESEARCH_WEIGHTS", f"http://127.0.0.1:{server.server_address[1]}")
    repro.reproduce(["smoke"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert "for VGG19:" in last and "`make repro` fetches them" in last


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
    [found] = weights.collect("smoke", report=lambda _: None)
    assert found.source == "placed"
