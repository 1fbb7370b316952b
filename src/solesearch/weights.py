"""ImageNet weights as a tracked input: the user's file, Keras's own download cache, or the download.

The project works without them: a network whose weights are not to be had is built untrained, and says so in
every table. `python -m solesearch.weights [PROFILE ...]` writes results/<profile>/weights.csv.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from solesearch import files
from solesearch.errors import InputError, exit_status
from solesearch.networks import Network, NetworkSettings, check_weight_file, find_network
from solesearch.paths import Paths, repository_root
from solesearch.settings import fill, load_parameters, load_section
from solesearch.surroundings import keras_home

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"
PLACED, CACHED, DOWNLOADED, UNTRAINED = "placed", "keras cache", "download", "untrained"
PATIENCE = 4.0  # seconds that a server may stay silent; an unreachable one is asked once, not per network
BLOCK = 1 << 20
COLUMNS = ["network", "source", "sha256", "published_file"]


@dataclass(frozen=True)
class Weights:
    """The weights that a network gets: a file and where it came from, or none."""

    network: str
    source: str  # placed, keras cache, download or untrained
    path: Path | None
    sha256: str  # of the file; "" without one
    published_file: str  # yes: Keras's hash agrees; no: it does not; unknown: Keras checks none


class ServerAwayError(Exception):
    """A file was not to be had; `answered` tells whether the server at least said so."""

    def __init__(self, message: str, *, answered: bool):
        """Take the line for the user, and whether asking for another file makes sense."""
        super().__init__(message)
        self.answered = answered


def keras_cache() -> Path:
    """Return where keras.applications keeps its downloads: $KERAS_HOME or ~/.keras, folder models."""
    return keras_home() / "models"


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
    """Fetch Keras's file of a network to `target`, whole or not at all.

    Raises ServerAwayError when the server is silent for `PATIENCE` seconds, refuses or breaks off, and when
    the content does not have Keras's hash.
    """
    url = f"{address}/{network.folder}/{network.file}"
    with files.replacing(target) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer, temporary.open("wb") as out:
                _copy(answer, out, expected=answer.headers.get("Content-Length"))
        except OSError as error:
            temporary.touch()
            answered = isinstance(error, urllib.error.HTTPError)
            raise ServerAwayError(f"{url}: {getattr(error, 'reason', error)}", answered=answered) from error
        if agrees(temporary, network) == "no":
            reason = "the content does not have Keras's hash; nothing was kept"
            raise ServerAwayError(f"{url}: {reason}", answered=True)
    report(f"{network.name}: downloaded {target.stat().st_size / 1e6:.0f} MB")


def _copy(answer, out, *, expected: str | None) -> None:
    written = 0
    while block := answer.read(BLOCK):
        written += out.write(block)
    if expected is not None and written != int(expected):
        raise OSError(f"broke off after {written} of {expected} bytes")


def reachable(address: str) -> bool:
    """Tell within `PATIENCE` seconds whether the server of the weight files answers at all."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PATIENCE):
            return True
    except urllib.error.HTTPError:
        return True  # it answers; that the bare folder is no file does not matter
    except OSError:
        return False


class WeightStore:
    """Looks for weights in the order: placed by the user, Keras's cache, download into Keras's cache."""

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path | None = None,
        address: str = ADDRESS,
        may_download: bool = True,
        report: Callable[[str], None] = print,
    ):
        """Take the user's folder, Keras's cache (default: Keras's own) and the server's address."""
        self.folder, self.cache, self.address = folder, cache or keras_cache(), address
        self.report, self._asks = report, may_download
        self._known: bool | None = None

    def find(self, name: str) -> Weights:
        """Return the weights for the network `name`; source is "untrained" where there are none.

        Raises InputError for a file that is no HDF5 or holds another number of values, and for one under
        Keras's own name whose hash differs: a broken download.
        """
        network = find_network(name)
        placed = placed_file(network, self.folder)
        if placed:
            return self._checked(network, placed, PLACED)
        cached = self.cache / network.file
        if cached.is_file():
            return self._checked(network, cached, CACHED)
        if self._server_answers():
            try:
                download(network, address=self.address, target=cached, report=self.report)
                return self._checked(network, cached, DOWNLOADED)
            except ServerAwayError as error:
                self.report(str(error))
                self._known = error.answered  # a server that fell silent is not asked eleven times more
        return Weights(name, UNTRAINED, None, "", "")

    def _server_answers(self) -> bool:
        if self._known is None:
            self._known = self._asks and reachable(self.address)
        return self._known

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
    """Return the rows of weights.csv: network, source, sha256, published_file."""
    return pd.DataFrame([[getattr(one, name) for name in COLUMNS] for one in found], columns=COLUMNS)


def how_to_get(found: list[Weights], *, folder: Path) -> str:
    """Return one message on how to get the weights that are missing; "" when none is."""
    missing = [one.network for one in found if one.source == UNTRAINED]
    if not missing:
        return ""
    return (
        f"No ImageNet weights here for {', '.join(missing)}: built untrained, greyed, outside every "
        f"conclusion. With a connection, `make weights` fetches them; or put Keras's no-top files (from "
        f"{ADDRESS}/) into {folder}/ as <network>.h5. Then run `make repro` again."
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


def collect(profile: str, *, address: str = ADDRESS, report: Callable[[str], None] = print) -> pd.DataFrame:
    """Look for the weights of a profile's networks, write weights.csv and return it."""
    settings, paths = load_network_settings(profile), Paths.of(profile)
    folder = weights_folder(settings)
    store = WeightStore(folder, address=address, may_download=settings.download, report=report)
    found = [store.find(name) for name in settings.names]
    table, target = weights_table(found), paths.result("weights")
    files.write_table(target, table)
    here = sum(one.source != UNTRAINED for one in found)
    report(f"{profile}: ImageNet weights for {here} of {len(found)} networks")
    if message := how_to_get(found, folder=folder):
        report(message)
    return table


def recorded(profile: str, settings: NetworkSettings) -> list[Weights]:
    """Return the weights that stage weights recorded, their files found again.

    Raises InputError when weights.csv is missing, names other networks, or a file has changed since.
    """
    path = Paths.of(profile).result("weights")
    table = files.read_table(path, made_by="stage weights", keep_default_na=False)
    store = WeightStore(weights_folder(settings), may_download=False)
    found = [store.find(name) for name in settings.names]
    now = {(one.network, one.sha256) for one in found}
    if now != set(zip(table["network"], table["sha256"], strict=True)):
        raise InputError(f"{path}: the weight files have changed since; run `dvc repro` again")
    return found


def main() -> int:
    """Find or fetch the ImageNet weights of profiles (default: those of `profiles` in params.yaml)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE")
    parser.add_argument("--address", default=ADDRESS, help="another server of Keras's weight files")
    arguments = parser.parse_args()

    def collect_all() -> None:
        for profile in arguments.profiles or load_parameters()["profiles"]:
            collect(profile, address=arguments.address)

    return exit_status(collect_all)


if __name__ == "__main__":
    sys.exit(main())
