"""The page's server: what it gives out, what it refuses, and twenty visitors at once over a real socket."""

import http.client
import io
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from page_world import PHOTOS, PROFILE, draw_photo, make_showcase, png, served_showcase
from PIL import Image
from starlette.testclient import TestClient

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.page import web_page
from solesearch.page.page_process import PageProcess
from solesearch.page.search_service import SearchService
from solesearch.page.uploads import PageSettings
from solesearch.people.serving import HOST, first_free_port, listen

BOTH = {"model": ["infogan", "mean_colour"]}
BINARY = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def page(repository: Path, tmp_path_factory: pytest.TempPathFactory):
    """The page as `make app` starts it; a secret lies beside its photos."""
    root = tmp_path_factory.mktemp("page")
    with served_showcase(repository, root) as running:
        (Paths(PROFILE, root).drawn.parent / "secret.png").write_bytes(png(draw_photo("boots", 9)))
        yield running


@pytest.fixture
def client(page: PageProcess):
    with httpx.Client(base_url=page.address, timeout=60, trust_env=False) as connected:
        yield connected


def answers(client: httpx.Client, **asked) -> str:
    reply = client.get("/answers", params={**BOTH, **asked})
    assert reply.status_code == 200, reply.text
    return unescape(reply.text)


def test_it_starts_in_seconds(page: PageProcess) -> None:
    assert page.health() == {"profile": PROFILE, "photos": PHOTOS}
    assert page.seconds < 30  # 2 s on an idle machine, 10 asked for; it runs beside other tests here


def test_photos_are_given_by_number_and_nothing_else(client) -> None:
    reply = client.get("/photo/7?v=0123")
    assert reply.status_code == 200 and reply.headers["content-type"] == "image/jpeg"
    assert "max-age" in reply.headers["cache-control"]
    with Image.open(io.BytesIO(reply.content)) as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - draw_photo("heels", 7)).mean() < 6  # JPEG's losses
    for number in (str(PHOTOS), "-1", "07x", "1e3", "9" * 30, "boots%2F00.png", ""):
        assert client.get(f"/photo/{number}").status_code in (404, 422), number


@pytest.mark.parametrize(
    "path",
    [
        "/photo/../secret.png", "/photo/..%2fsecret.png", "/photo/%2e%2e/%2e%2e/params.yaml",
        "/photo//etc/passwd", "/page.css/../params.yaml", "/page.css%2f..%2f..%2fweb_page.py", "//etc/passwd",
        "/web_page.py", "/page.html", "/study/annotation_page.py", "/study/..%2f..%2fparams.yaml", "/docs",
        "/openapi.json",
    ],
)  # fmt: skip
def test_no_path_of_the_client_is_opened(page: PageProcess, path: str) -> None:
    """Sent as they stand, since clients tidy such paths up before they ask."""
    connection = http.client.HTTPConnection(HOST, page.port, timeout=30)
    connection.putrequest("GET", path)
    connection.endheaders()
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    assert reply.status in (404, 422)
    assert b"root:" not in content and b"profiles:" not in content and b"import" not in content


def test_searches(client) -> None:
    found = answers(client, photo=" boots/00.png ")
    assert found.count('<section class="model">') == 2 and found.count("<li class=") == 10
    assert found.count("✓ same class") == found.count('class="same"') > 0
    assert found.count(' alt="') == found.count("<img") == 11
    few = answers(client, photo="heels/04.png", model=["infogan"] * 3, k=3)  # named thrice, answered once
    assert few.count("<li class=") == 3 and 'alt="Query: heels, photo heels/04.png"' in few
    assert answers(client, photo="heels/04.png", model="infogan", k=3, leave_out=True) != few
    assert 'alt="Query: sandals, photo' in answers(client, label="sandals")  # any of the class
    shown = client.get("/picker", params={"label": "sandals"}).text
    assert shown.count("<button") == 8 and "boots" not in shown
    whole = client.get("/").text
    assert whole.count("<path") == PHOTOS + 3 and 'data-photo="boots/00.png"' in whole


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"photo": "../x"}, "no photo of that id"),
        ({"photo": " "}, "no photo of that id"),  # an empty field is no wish for any photo
        ({"upload": "../../etc/passwd"}, "upload it again"),
        ({"photo": "boots/00.png", "model": []}, "Choose at least one model"),
        ({"photo": "boots/00.png", "model": "../x"}, "'../x': not on this page; there are infogan"),
        ({"label": "hats"}, "class 'hats': not in this catalogue"),
        ({"photo": "boots/00.png", "leave_out": "perhaps"}, "leave_out: "),
        ({"photo": "sandals/23.png", "model": "pixels", "k": 20}, "k must lie between 1 and 8"),
        *[({"photo": "boots/00.png", "k": k}, "k: ") for k in ("x", "", 0, 21, 1.5, 10**30, "nan")],
    ],
)
def test_every_refused_search_says_why(client, asked: dict, words: str) -> None:
    reply = client.get("/answers", params={**BOTH, **asked})
    assert reply.status_code == 422, reply.text
    [line] = reply.json()["detail"].splitlines()
    assert words in line


def test_a_failure_of_the_page_itself_has_words(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_showcase()
    service = SearchService(paths)
    app = web_page.create_app(service, PageSettings.load(PROFILE), paths)
    with TestClient(app, raise_server_exceptions=False) as client:
        monkeypatch.setattr(service, "search_photo", lambda *_, **__: 1 // 0)
        reply = client.get("/answers", params={**BOTH, "photo": "boots/00.png"})
    assert reply.status_code == 500 and "the page failed at this call" in reply.json()["detail"]
    assert "division" not in reply.text  # what went wrong inside is the server's


def test_a_script_in_a_name_is_shown_as_text(workspace: Path) -> None:
    paths = make_showcase()
    for table in (paths.showcase / "photos.csv", paths.showcase / "map.csv"):
        table.write_text(table.read_text().replace(",boots,", ",<script>,"))
    html = web_page.Page(SearchService(paths), PageSettings.load(PROFILE)).html
    assert html.count("&lt;script&gt;") > 5 and "<script>" not in html


def test_uploads(client) -> None:
    reply = client.post("/upload", content=png(draw_photo("sandals", 20)), headers=BINARY)
    token = reply.json()["token"]
    found = answers(client, upload=token)
    assert "the photo you uploaded" in found and "distance 0<" in found and "same class</span>" not in found
    assert answers(client, upload=token, model="infogan", k=7).count("<li class=") == 7
    for content, words in {b"": "file is empty", b"no image": "no photo that can be read"}.items():
        reply = client.post("/upload", content=content, headers=BINARY)
        assert reply.status_code == 422 and words in reply.json()["detail"]
    assert client.post("/upload", files={"file": b"x"}).status_code == 415  # a form of another site


def test_an_oversized_upload_is_cut_off(client, page: PageProcess) -> None:
    """11 MB, once announced and once in pieces without a length; the page lives on."""
    reply = client.post("/upload", content=bytes(11_000_000), headers=BINARY)
    assert reply.status_code == 413 and "larger than 10 MB" in reply.json()["detail"]
    pieces = (bytes(1_000_000) for _ in range(11))
    assert client.post("/upload", content=pieces, headers=BINARY).status_code == 413
    assert page.health()


def test_the_page_asks_nobody_else_and_shows_in_frames_of_this_machine_alone(client) -> None:
    for address in ("/", "/page.css", "/page.js", "/study/", "/study/results"):
        reply = client.get(address)
        policy = reply.headers["content-security-policy"]
        assert policy.startswith(("default-src 'self'", "default-src 'none'"))
        assert policy.endswith("; frame-ancestors 'self' http://127.0.0.1:* http://localhost:*")
        assert "http://" not in reply.text and "https://" not in reply.text and "@import" not in reply.text


def test_twenty_visitors_at_once(client) -> None:
    """Each gets their own answers, and nobody waits for all the others."""

    def visit(number: int) -> list[float]:
        took = []
        for photo in (number, (number + 7) % PHOTOS, (number + 11) % PHOTOS):
            name = f"{('boots', 'heels', 'sandals')[photo % 3]}/{photo:02d}.png"
            start = time.monotonic()
            assert f"photo {name}" in answers(client, photo=name).partition('<div class="rows">')[0]
            took.append(time.monotonic() - start)
        return took

    with ThreadPoolExecutor(20) as pool:
        took = sorted(second for seconds in pool.map(visit, range(20)) for second in seconds)
    assert took[len(took) // 2] < 5  # 0.1 s on an idle machine; it runs beside other tests here


def test_the_page_says_what_is_wrong_and_ends(page: PageProcess, workspace: Path) -> None:
    """One without a showcase, a second on the same port, an unknown profile."""
    with pytest.raises(InputError, match=r"showcase\.json: not there yet; stage showcase writes it"):
        PageProcess(PROFILE, port=first_free_port([0]))
    make_showcase()
    with pytest.raises(InputError, match=rf"127\.0\.0\.1, port {page.port}: .*make app PORT="):
        PageProcess(PROFILE, port=page.port)
    command = [sys.executable, "-m", "solesearch.page.web_page", "nosuch", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    [line] = ended.stderr.splitlines()
    assert ended.returncode == 1 and line.startswith("error: ") and "'nosuch'" in line
    assert page.health()


def test_pictures_are_encoded_once(workspace: Path) -> None:
    service = SearchService(make_showcase())
    page = web_page.Page(service, PageSettings.load(PROFILE))
    first = page.jpeg(3)
    service.photo_file(3).unlink()
    assert page.jpeg(3) is first
    service.photo_file(4).write_bytes(b"broken")
    with pytest.raises(InputError, match="photo 4: its file is gone or damaged"):
        page.jpeg(4)
    assert page.photo_url(3) == "/photo/3?v=0123456789ab"
    looks = web_page.class_looks([f"class {number}" for number in range(40)])
    assert len(set(looks.values())) == 40  # colour or shape differs


def test_what_cannot_be_listened_on_is_named() -> None:
    with listen(HOST, 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"127\.0\.0\.1, port {port}: .*in use; try `make app PORT=7860`"
        ):
            listen(HOST, port)
        with pytest.raises(InputError, match="none of the ports"):
            first_free_port([port])
    listen(HOST, str(port)).close()
    for text in (65536, -1, "abc", "", "80.5"):
        with pytest.raises(InputError, match=f"port {text}: wanted a whole number up to 65535"):
            listen(HOST, text)
    for host in ("not.a.host.invalid", "8.8.8.8", "x" * 70, "2001:db8::1", "127.0.0.1:80"):
        with pytest.raises(InputError, match=f"cannot listen on host {host}, port 0: .*HOST=127.0.0.1"):
            listen(host, 0)
