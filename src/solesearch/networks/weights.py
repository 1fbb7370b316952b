"""ImageNet weights as a tracked input: the user's file, Keras's own download cache, or the download.

The project works without them: a network whose weights are not to be had is built untrained, and says so in
every table. `python -m solesearch.networks.weights [PROFILE ...]` writes results/<profile>/weights.csv.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths, repository_root
from solesearch.core.progress import Progress
from solesearch.core.settings import fill, load_parameters, load_section
from solesearch.core.surroundings import keras_home
from solesearch.networks.networks import Network, NetworkSettings, check_weight_file, find_network

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"
PLACED, CACHED, DOWNLOADED, UNTRAINED = "placed", "keras cache", "download", "untrained"
IMAGENET = "imagenet"
PATIENCE = 4.0  # seconds that a server may stay silent; an unreachable one is asked once, not per network
BLOCK = 1 << 20
COLUMNS = ["network", "weights", "sha256", "published_file"]
TRIES, MOST_FAILURES = 3, 3
AGAIN = (408, 416, 425, 429)  # HTTP: the same request may succeed later


@dataclass(frozen=True)
class Weights:
    """The weights that a network gets: a file and where it came from, or none."""

    network: str
    source: str  # placed, keras cache, download or untrained
    path: Path | None
    sha256: str  # of the file; "" without one
    published_file: str  # yes: Keras's hash agrees; no: it does not; unknown: Keras checks none

    @property
    def weights(self) -> str:
        """Return what tables say, wherever the file lies: imagenet or untrained."""
        return UNTRAINED if self.path is None else IMAGENET


class ServerAwayError(Exception):
    """A file was not to be had; `answered` tells whether the server said so, `final` that it always will."""

    def __init__(self, message: str, *, answered: bool, final: bool = False):
        """Take the line for the user, and whether asking for another file, or again, makes sense."""
        super().__init__(" ".join(message.split()))
        self.answered, self.final = answered, final


def keras_cache() -> Path:
    """Return where keras.applications keeps its downloads: $KERAS_HOME or ~/.keras, folder models."""
    return keras_home() / "models"


def address() -> str:
    """Return the server of Keras's files: $SOLESEARCH_WEIGHTS, a mirror of it, or Keras's own."""
    return os.environ.get("SOLESEARCH_WEIGHTS") or ADDRESS


def placed_file(network: Network, folder: Path) -> Path | None:
    """Return the user's file for a network: <name>.h5, <name>.weights.h5, or under Keras's own name."""
    names = (f"{network.name}.h5", f"{network.name}.weights.h5", network.file)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def digest(path: Path, *, kind: str) -> str:
    """Return the hexadecimal `kind` (md5, sha256) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def agrees(path: Path, network: Network) -> str:
    """Tell whether a file is the one that Keras published: yes, no, or unknown where it names no hash."""
    if not network.md5:
        return "unknown"
    return "yes" if digest(path, kind="md5") == network.md5 else "no"


def download(network: Network, *, address: str, target: Path, report: Callable[[str], None]) -> None:
    """Fetch Keras's file of a network to `target`, whole or not at all, in up to `TRIES` goes.

    What a broken try has brought is kept beside `target` as .part and gone on from, also by the next run,
    where Keras names a hash that will tell whether the pieces fit; Keras's get_file and pooch begin anew.
    Raises ServerAwayError when the server is silent for `PATIENCE` seconds, refuses, breaks off each time, or
    sends something else; OSError when `target`'s folder cannot be written.
    """
    url, part = f"{address}/{network.folder}/{network.file}", target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    # A folder that cannot be written fails here, which is no fault of the server's.
    part.open("ab" if network.md5 else "wb").close()
    for last in (*[False] * (TRIES - 1), True):
        try:
            _fetch(url, part, task=f"{network.name}, ImageNet weights")
            break
        except ServerAwayError as error:
            if last or error.final:
                _drop(part, unless=network.md5)
                raise
    try:
        if agrees(part, network) == "no":
            raise InputError("the content does not have Keras's hash")
        check_weight_file(part, network)
    except InputError as error:
        part.unlink()
        raise ServerAwayError(f"{url}: {error}; nothing was kept", answered=True, final=True) from error
    part.replace(target)
    report(f"{network.name}: downloaded {target.stat().st_size / 1e6:.0f} MB")


def _drop(part: Path, *, unless: str) -> None:
    """Delete a broken download that nothing can tell apart from a whole one, or that holds nothing."""
    if part.is_file() and not (unless and part.stat().st_size):
        part.unlink()


def _fetch(url: str, part: Path, *, task: str) -> None:
    """Append to `part` what it lacks of a file; raises ServerAwayError for whatever the server does wrong."""
    there = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            there = there if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            length = int(answer.headers.get("Content-Length") or 0)
            _copy(answer, part, there=there, total=there + length if length else 0, task=task)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # longer than the file: not a piece of it
        final = error.code < 500 and error.code not in AGAIN
        raise ServerAwayError(f"{url}: {error.reason}", answered=True, final=final) from error
    except (http.client.HTTPException, ValueError) as error:  # a garbage status line, a broken chunk
        raise ServerAwayError(f"{url}: no valid answer ({error!r})", answered=True) from error
    except LocalError:
        raise
    except OSError as error:
        raise ServerAwayError(f"{url}: {getattr(error, 'reason', error)}", answered=False) from error


class LocalError(OSError):
    """The disk's fault, not the server's."""


def _copy(answer, part: Path, *, there: int, total: int, task: str) -> None:
    """Write an answer behind the first `there` bytes of `part`; OSError where that gives not `total`."""
    progress = Progress(task, total=max(1, total // 1_000_000), unit="MB")
    with part.open("ab") as out:
        out.truncate(there)
        while block := answer.read(BLOCK):
            try:
                there += out.write(block)
                out.flush()
            except OSError as error:
                raise LocalError(*error.args) from error
            progress.update(there // 1_000_000)
    if total and there != total:
        raise ConnectionError(f"broke off after {there} of {total} bytes")


def reachable(address: str) -> bool:
    """Tell within `PATIENCE` seconds whether the server of the weight files answers at all."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PATIENCE):
            return True
    except (urllib.error.HTTPError, http.client.HTTPException):
        return True  # it answers; that the bare folder is no file does not matter
    except (OSError, ValueError):
        return False


class Server:
    """The server of Keras's weight files: asked whether it is there once, given up when it stays away."""

    def __init__(self, at: str = ""):
        """Take the address (default: `address`); nothing is asked before a file is wanted."""
        self.address, self.failures = at or address(), 0

    @cached_property
    def is_there(self) -> bool:
        """Whether it answers at all."""
        return reachable(self.address)

    @property
    def worth_asking(self) -> bool:
        """Whether another file may be asked for: one failure says little, `MOST_FAILURES` in a row do."""
        return self.failures < MOST_FAILURES and self.is_there

    def fetch(self, network: Network, target: Path, *, report: Callable[[str], None]) -> bool:
        """Fetch a network's file to `target` and tell whether it came; what went wrong is one line."""
        try:
            download(network, address=self.address, target=target, report=report)
        except ServerAwayError as error:
            self.failures = 0 if error.answered else self.failures + 1
            report(str(error))
        except OSError as error:
            self.failures = MOST_FAILURES
            reason, way_out = error.strerror or error, "set KERAS_HOME, or put the files into weights/"
            report(f"{target.parent}: cannot be written ({reason}); {way_out}")
        else:
            self.failures = 0
            return True
        return False


class WeightStore:
    """Looks for weights in the order: placed by the user, Keras's cache, download into Keras's cache."""

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path | None = None,
        server: Server | None = None,
        report: Callable[[str], None] = print,
    ):
        """Take the user's folder, Keras's cache (default: its own), and a server where one may be asked."""
        self.folder, self.cache, self.server, self.report = folder, cache or keras_cache(), server, report

    def find(self, name: str) -> Weights:
        """Return the weights for the network `name`; source is "untrained" where there are none.

        Raises InputError for a file of the user's that is no HDF5 or holds another number of values, and for
        one under Keras's own name whose hash differs. A damaged file in Keras's cache, which nobody placed,
        is fetched anew and replaced when that has come.
        """
        network = find_network(name)
        placed = placed_file(network, self.folder)
        if placed:
            return self._checked(network, placed, PLACED)
        cached = self.cache / network.file
        if cached.is_file():
            try:
                return self._checked(network, cached, CACHED)
            except InputError as error:
                self.report(str(error))
        if (
            self.server
            and self.server.worth_asking
            and self.server.fetch(network, cached, report=self.report)
        ):
            return self._checked(network, cached, DOWNLOADED)
        return Weights(name, UNTRAINED, None, "", "")

    @staticmethod
    def _checked(network: Network, path: Path, source: str) -> Weights:
        published = agrees(path, network)
        if published == "no" and path.name == network.file:
            raise InputError(
                f"{path}: not the file that Keras published (md5 should be {network.md5}); delete it, "
                f"or name your own weights {network.name}.h5"
            )
        check_weight_file(path, network)
        return Weights(network.name, source, path, digest(path, kind="sha256"), published)


def weights_table(found: list[Weights]) -> pd.DataFrame:
    """Return the rows of weights.csv; where a file lies is not among them: it would stale the networks."""
    return pd.DataFrame([[getattr(one, name) for name in COLUMNS] for one in found], columns=COLUMNS)


def how_to_get(found: list[Weights], *, folder: Path) -> str:
    """Return one message on how to get the weights that are missing; "" when none is."""
    missing = [one.network for one in found if one.source == UNTRAINED]
    if not missing:
        return ""
    return (
        f"No ImageNet weights here for {', '.join(missing)}: built untrained, greyed, outside every "
        f"conclusion. With a connection, `make repro` fetches them and embeds anew; without one, put Keras's "
        f"no-top files (from {ADDRESS}/) into {folder}/ as <network>.h5 first."
    )


def load_network_settings(profile: str, overrides: dict | None = None) -> NetworkSettings:
    """Return section `networks` of a profile; raises InputError for an impossible value."""
    values = load_section(profile, "networks", overrides)
    return fill(NetworkSettings, values, where=f"{profile}.networks")


def weights_folder(settings: NetworkSettings) -> Path:
    """Return where the user's own weight files lie; a relative folder is one of the repository."""
    return repository_root() / Path(settings.weights_folder).expanduser()


def check_placed(settings: NetworkSettings) -> None:
    """Raise InputError for a file of the user's that cannot be what its name says; takes no time."""
    for name in settings.names:
        network = find_network(name)
        if placed := placed_file(network, weights_folder(settings)):
            check_weight_file(placed, network)


def collect(
    profile: str, *, server: Server | None = None, report: Callable[[str], None] = print
) -> list[Weights]:
    """Look for the weights of a profile's networks, write weights.csv where it changes, and return them.

    A server that several profiles share is asked only once whether it is there.
    """
    settings, paths = load_network_settings(profile), Paths.of(profile)
    asked = (server or Server()) if settings.download else None
    store = WeightStore(weights_folder(settings), server=asked, report=report)
    found = [store.find(name) for name in settings.names]
    files.write_table(paths.result("weights"), weights_table(found))
    here = sum(one.path is not None for one in found)
    report(f"{profile}: ImageNet weights for {here} of {len(found)} networks")
    return found


def recorded(profile: str, settings: NetworkSettings) -> list[Weights]:
    """Return the weights that stage weights recorded, their files found again.

    Raises InputError when weights.csv is missing, names other networks, or a file has changed since.
    """
    path = Paths.of(profile).result("weights")
    table = files.read_table(path, made_by="stage weights", keep_default_na=False)
    store = WeightStore(weights_folder(settings), report=lambda line: None)
    found = [store.find(name) for name in settings.names]
    now = {(one.network, one.sha256) for one in found}
    if now != set(zip(table["network"], table["sha256"], strict=True)):
        raise InputError(f"{path}: the weight files have changed since; run `dvc repro` again")
    return found


def main() -> int:
    """Find or fetch the ImageNet weights of profiles (default: those of `profiles` in params.yaml)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE")
    parser.add_argument("--address", default=address(), help="another server of Keras's weight files")
    arguments = parser.parse_args()

    def collect_all() -> None:
        server = Server(arguments.address)
        for profile in arguments.profiles or load_parameters()["profiles"]:
            found = collect(profile, server=server)
            if message := how_to_get(found, folder=weights_folder(load_network_settings(profile))):
                print(message)

    return exit_status(collect_all)


if __name__ == "__main__":
    sys.exit(main())
