"""The page's server: what it gives out, what it refuses, and twenty visitors at once over a real socket."""

import errno
import io
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from gradio_calls import Visitor
from page_world import PHOTOS, PROFILE, draw_photo, make_showcase, png
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.core.web_address import first_free_port, listen
from solesearch.page import web_page
from solesearch.page.page_process import PageProcess
from solesearch.page.search_service import SearchService
from solesearch.page.uploads import UploadLimits

httpx = pytest.importorskip("httpx")
BOTH = [["infogan", "mean_colour"], 5, False]
BINARY = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def root(repository: Path, tmp_path_factory: pytest.TempPathFactory):
    """A project with a showcase made by hand; a secret lies beside its photos."""
    root = tmp_path_factory.mktemp("page")
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((repository / name).read_bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SOLESEARCH_ROOT", str(root))
        paths = make_showcase()
        (paths.drawn.parent / "secret.png").write_bytes(png(draw_photo("boots", 9)))
        yield root


@pytest.fixture(scope="module")
def page(root: Path):
    """The page as `make app` starts it, in a process of its own."""
    with PageProcess(PROFILE, port=first_free_port([0])) as running:
        yield running


@pytest.fixture
def client(page: PageProcess):
    with httpx.Client(base_url=page.address, timeout=30, trust_env=False) as connected:
        yield connected


def test_it_starts_in_seconds(page: PageProcess) -> None:
    assert page.health() == {"profile": PROFILE, "photos": PHOTOS}
    assert page.seconds < 30  # 5 s on an idle machine, 10 asked for; runs beside other tests here


def test_photos_are_given_by_number_and_nothing_else(client) -> None:
    reply = client.get("/photo/7?v=0123")
    assert reply.status_code == 200 and reply.headers["content-type"] == "image/jpeg"
    assert "max-age" in reply.headers["cache-control"]
    with Image.open(io.BytesIO(reply.content)) as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - draw_photo("heels", 7)).mean() < 6  # JPEG's losses
    for number in (str(PHOTOS), "-1", "07x", "1e3", "9" * 30, "boots%2F00.png", "\u0663", ""):
        assert client.get(f"/photo/{number}").status_code == 404, number


@pytest.mark.parametrize(
    "path",
    [
        "/photo/../secret.png",
        "/photo/..%2fsecret.png",
        "/photo/%2e%2e/%2e%2e/params.yaml",
        "/photo//etc/passwd",
        "/static/../../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/assets/..%2f..%2f..%2froutes.py",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=params.yaml",
        "/gradio_api/file/etc/passwd",
        "/photo/../gradio_api/file=/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:9/",
        "/gradio_api/upload_progress?upload_id=1",
        "/gradio_api/info",
        "/gradio_api/stream/1/2/3/playlist.m3u8",
        "/file=/etc/passwd",
        "/monitoring",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_path_of_the_client_is_opened(page: PageProcess, path: str) -> None:
    """Sent as they stand, since clients tidy such paths up before they ask."""
    import http.client

    connection = http.client.HTTPConnection(web_page.HOST, page.port, timeout=30)
    connection.putrequest("GET", path)
    connection.endheaders()
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    assert reply.status in (403, 404)
    assert b"root:" not in content and b"profiles:" not in content and b"import" not in content


def test_gradio_opens_no_file_that_a_call_names(client, root: Path, tmp_path: Path) -> None:
    """A mapping in a call could be a file to Gradio, a path here or an address elsewhere."""
    visitor = Visitor(client)
    named = {"path": str(root / "params.yaml"), "meta": {"_type": "gradio.FileData"}}
    for value in (named, [named], {"path": "http://127.0.0.1:9/x", "meta": {"_type": "gradio.FileData"}}):
        call = visitor.body("Photo id, then Enter", "submit", [value, *BOTH])
        reply = client.post("/gradio_api/run/predict", json=call)
        assert reply.status_code == 400, value
    for address in (
        "/gradio_api/upload",
        "/gradio_api/queue/join",
        "/gradio_api/call/by_id",
        "/gradio_api/api/x",
    ):
        assert client.post(address, json={"data": []}).status_code == 404, address
    assert client.put("/upload", content=b"x").status_code == 404


def test_calls_are_checked_before_gradio_sees_them() -> None:
    plain = {"data": ["a", 1, None, ["b", 2.5], True], "event_data": {"number": 3}, "fn_index": 1}
    extra = {**plain, "request": {"x": 1}, "session_hash": {"path": "x"}}
    extra["event_data"] = {"number": 3, "index": [1], "value": {"path": "x"}, "token": ["x"]}
    assert json.loads(web_page.plain_call(json.dumps(extra).encode())) == plain
    assert json.loads(web_page.plain_call(b'{"data": [], "event_data": ["x"]}'))["event_data"] == {}
    bad = [{"data": [{}]}, {"data": [[{}]]}, {"data": [[[1]]]}, {"data": {}}, {"event_data": {}}, [], "x", 3]
    for call in bad:
        assert web_page.plain_call(json.dumps(call).encode()) is None, call
    for body in (None, b"", b"\xff", b"[" * 100_000):
        assert web_page.plain_call(body) is None


def test_searches_through_the_page(client) -> None:
    visitor = Visitor(client)
    found = unescape(visitor.call("Photo id, then Enter", "submit", [" boots/00.png ", *BOTH]))
    assert found.count('<section class="model">') == 2 and found.count("<li class=") == 10
    assert found.count("✓ same class") == found.count('class="same"') > 0
    assert found.count(' alt="') == found.count("<img") == 11
    found = visitor.call("results", "click", [*BOTH], {"number": 4})
    assert 'alt="Query: heels, photo heels/04.png"' in found
    found = visitor.call("k, answers a model", "change", [None, ["infogan"], 3, False])
    assert found.count("<li class=") == 3 and "heels/04.png" in found  # the session's query stands
    own = visitor.call("k, answers a model", "change", [None, ["infogan"], 3, True])
    assert own != found
    assert "no photo of that id" in visitor.call("Photo id, then Enter", "submit", ["../x", *BOTH])
    assert "Choose at least one model" in visitor.call("results", "click", [[], 5, False], {"number": 4})
    assert "no such number" in visitor.call("results", "click", [*BOTH], {"number": 999})
    assert "Press a photo" in visitor.call("results", "click", [*BOTH], None)
    unknown = visitor.body("results", "click", [["../x"], 5, False], {"number": 4})
    reply = client.post("/gradio_api/run/predict", json=unknown)
    assert reply.status_code == 500 and "'../x'" in reply.json()["error"]  # Gradio knows the models
    shown = visitor.call("Class", "change", ["sandals"])
    assert shown.count("<button") == 8 and "boots" not in shown
    assert "Query: boots" in visitor.call("feature-map", "click", [], {"number": 3})


PLACES = {  # event -> what a visitor sends and what goes with it
    ("Photo id, then Enter", "submit"): (["boots/00.png", *BOTH], None),
    ("results", "click"): ([*BOTH], {"number": 3}),
    ("k, answers a model", "change"): ([None, *BOTH], None),
    ("Class", "change"): (["sandals"], None),
    ("feature-map", "click"): ([], {"number": 3}),
    ("upload", "upload"): ([*BOTH], {"token": "x"}),
}
JUNK = [None, "x", "", "\0", -1, 0, 10**9, 1.5, float("nan"), True, [], ["x"], [None], [3], [["x"]], {"a": 1}]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[0])
def test_every_refused_call_says_why(client, page: PageProcess, place: tuple[str, str]) -> None:
    """Each value of each event replaced by junk, one too few, one too many: never an error without words."""
    visitor, (data, told) = Visitor(client), PLACES[place]
    calls = [[*data[:at], junk, *data[at + 1 :]] for at in range(len(data)) for junk in JUNK]
    calls += [data[:-1], [*data, 1]]
    refused = 0
    for values in calls:
        body = json.dumps(visitor.body(*place, values, told))
        reply = client.post("/gradio_api/run/predict", content=body)
        if reply.status_code != 200:
            refused += 1
            assert isinstance(reply.json()["error"], str) and len(reply.json()["error"]) > 10, values
            assert "terminal" not in reply.json()["error"], values  # known beforehand, no failure of the page
    assert refused > len(data)
    assert page.health()


@pytest.mark.parametrize("key", ["fn_index", "trigger_id", "session_hash"])
def test_a_call_without_its_event_says_so(client, key: str) -> None:
    call = Visitor(client).body("Class", "change", ["sandals"])
    for value in ("x", 1.5, [1], 10**6 if key == "fn_index" else {"a": 1}):
        reply = client.post("/gradio_api/run/predict", json={**call, key: value})
        if reply.status_code != 200:
            assert reply.status_code < 500 and reply.json()["error"]
    reply = client.post("/gradio_api/run/predict", json={**call, "fn_index": 10**6})
    assert reply.json() == {"error": "fn_index: the page has no event 1000000"}


def test_a_failure_of_the_page_itself_has_words(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    service = SearchService.open(make_showcase())
    app = web_page.create_app(service, web_page.load_settings(PROFILE))
    with TestClient(app, raise_server_exceptions=False) as client:
        visitor = Visitor(client)
        monkeypatch.setattr(service, "search_photo", lambda *_, **__: 1 // 0)
        call = visitor.body("Photo id, then Enter", "submit", ["boots/00.png", *BOTH])
        reply = client.post("/gradio_api/run/predict", json=call)
    assert reply.status_code == 500 and "the page failed at this call" in reply.json()["error"]
    assert "division" not in reply.text  # what went wrong inside is the server's


def test_a_script_in_an_id_is_shown_as_text(client) -> None:
    found = Visitor(client).call("Photo id, then Enter", "submit", ["<script>alert(1)</script>", *BOTH])
    assert "&lt;script&gt;" in found and "<script>" not in found


def test_uploads(client) -> None:
    visitor = Visitor(client)
    reply = client.post("/upload", content=png(draw_photo("sandals", 20)), headers=BINARY)
    token = reply.json()["token"]
    found = visitor.call("upload", "upload", [*BOTH], {"token": token, "problem": ""})
    assert "the photo you uploaded" in found and "distance 0<" in found and "same class</span>" not in found
    wider = visitor.call("k, answers a model", "change", [None, ["infogan"], 7, False])
    assert "the photo you uploaded" in wider and wider.count("<li class=") == 7
    refused = {
        b"": (422, "file is empty"),
        b"no image": (422, "no photo that can be read"),
        png(draw_photo("boots", 1))[:80]: (422, "no photo that can be read"),
    }
    for content, (status, words) in refused.items():
        reply = client.post("/upload", content=content, headers=BINARY)
        assert reply.status_code == status and words in reply.json()["problem"]
    assert client.post("/upload", files={"file": b"x"}).status_code == 415  # a form of another site
    found = visitor.call("upload", "upload", [*BOTH], {"token": "../../etc/passwd", "problem": ""})
    assert "upload it again" in found
    found = visitor.call("upload", "upload", [*BOTH], {"token": "", "problem": "<b>too large</b>"})
    assert "&lt;b&gt;too large" in found


def test_an_oversized_upload_is_cut_off(client, page: PageProcess) -> None:
    """11 MB, once announced and once in pieces without a length; the page lives on."""
    reply = client.post("/upload", content=bytes(11_000_000), headers=BINARY)
    assert reply.status_code == 413 and "larger than 10 MB" in reply.json()["problem"]
    pieces = (bytes(1_000_000) for _ in range(11))
    assert client.post("/upload", content=pieces, headers=BINARY).status_code == 413
    assert page.health()


def test_the_page_asks_nobody_else(client) -> None:
    text = client.get("/").text
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")
    for word in ("fonts.googleapis", "cdnjs", "gstatic", "unpkg", "jsdelivr"):
        assert word not in text
    assert "@font-face" not in client.get("/theme.css").text


def test_twenty_visitors_at_once(page: PageProcess) -> None:
    """Each gets their own answers, and nobody waits for all the others."""

    def visit(number: int) -> list[float]:
        took = []
        with httpx.Client(base_url=page.address, timeout=60, trust_env=False) as client:
            visitor = Visitor(client)
            for photo in (number, (number + 7) % PHOTOS, (number + 11) % PHOTOS):
                start = time.monotonic()
                found = visitor.call("results", "click", [*BOTH], {"number": photo})
                took.append(time.monotonic() - start)
                label = ("boots", "heels", "sandals")[photo % 3]
                assert f'alt="Query: {label}, photo {label}/{photo:02d}.png"' in found
            again = visitor.call("k, answers a model", "change", [None, ["infogan"], 2, False])
            assert f"/{photo:02d}.png" in again  # the session's own query, not another visitor's
        return took

    with ThreadPoolExecutor(20) as pool:
        took = sorted(second for visit_of_one in pool.map(visit, range(20)) for second in visit_of_one)
    assert len(took) == 60
    assert took[len(took) // 2] < 5  # 0.2 s on an idle machine; it runs beside other tests here


def test_the_page_ends_and_says_what_is_wrong(root: Path, page: PageProcess, workspace: Path) -> None:
    """A second page on the same port; and one without a showcase."""
    with pytest.raises(InputError, match=r"showcase\.json: not there yet; stage showcase writes it"):
        PageProcess(PROFILE, port=first_free_port([0]))
    make_showcase()
    with pytest.raises(InputError, match=rf"port {page.port} on 127\.0\.0\.1: .*make app PORT="):
        PageProcess(PROFILE, port=page.port)
    command = [sys.executable, "-m", "solesearch.page.web_page", PROFILE, "--port", str(page.port)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert ended.stderr.startswith(f"error: port {page.port} on 127.0.0.1: ")
    assert page.health()


def test_ports() -> None:
    taken = listen(web_page.HOST, 0)
    port = taken.getsockname()[1]
    with pytest.raises(InputError, match=rf"port {port} on 127\.0\.0\.1: .*in use; try `make app PORT=7860`"):
        listen(web_page.HOST, port)
    with pytest.raises(InputError, match="none of the ports"):
        first_free_port([port])
    taken.close()
    listen(web_page.HOST, str(port)).close()


@pytest.mark.parametrize("port", [99999, 65536, -1, "abc", "", "80.5", "http"])
def test_what_is_no_port_is_named(port: str | int) -> None:
    with pytest.raises(InputError, match=f"port {port}: wanted a whole number up to 65535"):
        listen(web_page.HOST, port)


@pytest.mark.parametrize(
    "host", ["not.a.host.invalid", "8.8.8.8", "a..b", "x" * 70, "2001:db8::1", "127.0.0.1:80"]
)
def test_a_bad_host_is_not_blamed_on_the_port(host: str) -> None:
    with pytest.raises(InputError, match=r"^host '.*': (no|not an) .*HOST=127\.0\.0\.1") as raised:
        listen(host, 0)
    assert "PORT=" not in str(raised.value)


def test_a_port_that_needs_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every port may be had, so the system's answer is given here."""

    def refuse(self: object, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InputError, match=r"port 80 on 127\.0\.0\.1: below 1024 needs rights.*PORT=7860"):
        listen(web_page.HOST, 80)


@pytest.mark.parametrize("module", ["web_page", "annotation_page", "growth", "training_benchmark", "charts"])
def test_an_unknown_profile_is_named_with_those_that_there_are(workspace: Path, module: str) -> None:
    command = [sys.executable, "-m", f"solesearch.{module}", "nosuch"]
    command += [str(workspace)] if module == "growth" else []
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1 and ended.stderr.count("error: ") == 1
    assert all(name in ended.stderr for name in ("'nosuch'", "smoke", "sample", "zappos"))
    assert "make repro" not in ended.stderr


def test_a_profile_that_has_not_run_says_how(workspace: Path) -> None:
    command = [sys.executable, "-m", "solesearch.page.web_page", "zappos"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "showcase.json: not there yet" in ended.stderr and "`make repro PROFILE=zappos`" in ended.stderr


def test_settings(workspace: Path) -> None:
    settings = web_page.load_settings("sample")
    assert settings.limits == UploadLimits(10_000_000, 40_000_000, 100)
    for change in ({"page.upload_megabytes": 0}, {"page.decoders": 0}, {"page.upload_pixels": 10**9}):
        with pytest.raises(InputError, match=r"params\.yaml, page|max_pixels"):
            web_page.load_settings("sample", change)


def test_pictures_are_encoded_once(workspace: Path) -> None:
    service = SearchService.open(make_showcase())
    pictures = web_page.PhotoPictures(service)
    first = pictures.jpeg(3)
    service.photo_file(service.numbered(3)).unlink()
    assert pictures.jpeg(3) is first
    with pytest.raises(InputError, match="photo 999"):
        pictures.jpeg(999)
    service.photo_file(service.numbered(4)).write_bytes(b"broken")
    with pytest.raises(InputError, match="photo 4: its file is gone or damaged"):
        pictures.jpeg(4)
    assert pictures.url(service.photos[0].id) == f"/photo/{service.photos[0].number}?v=0123456789ab"
