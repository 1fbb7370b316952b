"""ImageNet weights as a tracked input: the user's file, Keras's own download cache, or the download.

The project works without them: a network whose weights are not to be had is built untrained, and says so in
every table. `python -m solesearch.networks.weights [PROFILE ...]` writes results/<profile>/weights.csv.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.model_names import NO_WEIGHTS
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import active_profiles
from solesearch.core.surroundings import keras_home
from solesearch.networks.networks import Network, NetworkSettings, check_weight_file, find_network

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"
PATIENCE = 4.0  # seconds that a server may stay silent; an unreachable one is asked once, not per network
MOST_FAILURES = 3  # in a row: then the server is given up for this run
COLUMNS = ["network", "weights", "sha256", "published_file"]


@dataclass(frozen=True)
class Weights:
    """The weights that a network gets: a file, or none."""

    network: str
    path: Path | None
    sha256: str  # of the file; "" without one
    published_file: str  # yes: Keras's hash agrees; no: it does not; unknown: Keras checks none

    @property
    def weights(self) -> str:
        """Return what tables say, wherever the file lies: imagenet or untrained."""
        return NO_WEIGHTS if self.path is None else "imagenet"


def keras_cache() -> Path:
    """Return where keras.applications keeps its downloads: $KERAS_HOME or ~/.keras, folder models."""
    return keras_home() / "models"


class Server:
    """The server of Keras's weight files: asked whether it is there once, given up when it stays away."""

    def __init__(self, address: str = ""):
        """Take an address; default is $SOLESEARCH_WEIGHTS, a mirror, or Keras's own server."""
        self.address, self.failures = address or os.environ.get("SOLESEARCH_WEIGHTS") or ADDRESS, 0

    @cached_property
    def is_there(self) -> bool:
        """Whether it answers within `PATIENCE` seconds; that the bare folder is no file does not matter."""
        try:
            urllib.request.urlopen(urllib.request.Request(self.address, method="HEAD"), timeout=PATIENCE)
        except (urllib.error.HTTPError, http.client.HTTPException):
            return True
        except (OSError, ValueError):
            return False
        return True

    def fetch(self, network: Network, target: Path, *, report: Callable[[str], None]) -> bool:
        """Fetch Keras's file of a network to `target`, whole or not at all, and tell whether it came.

        What went wrong is one line. A kill leaves a file of another name, which the next run overwrites.
        """
        if self.failures == MOST_FAILURES or not self.is_there:
            return False
        try:
            self._fetch(network, target)
        except Exception as error:  # Keras's get_file raises this very class when the server refuses
            refused = isinstance(error.__context__, urllib.error.HTTPError)  # of this file; others may come
            self.failures = 0 if refused else self.failures + 1
            report(f"{network.name}, {network.file}: not fetched ({' '.join(str(error).split())})")
            return False
        self.failures = 0
        report(f"{network.name}: downloaded {target.stat().st_size / 1e6:.0f} MB")
        return True

    def _fetch(self, network: Network, target: Path) -> None:
        import keras  # only here: without a server the stage starts without TensorFlow

        if not sys.stdout.isatty():
            keras.utils.disable_interactive_logging()  # its bar is a line every few kilobytes there
        part = target.with_name(f"{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(target.parent, os.W_OK):  # get_file would take another folder
            raise InputError(f"{target.parent} cannot be written; set KERAS_HOME, or use weights/")
        try:
            with _patience():
                keras.utils.get_file(
                    part.name,
                    f"{self.address}/{network.folder}/{network.file}",
                    file_hash=network.md5 or None,
                    cache_dir=str(target.parent),
                    cache_subdir="",
                    force_download=True,
                )
            check_weight_file(part, network)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # get_file sets none, so a silent server would hold it for ever
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def placed_file(network: Network, folder: Path) -> Path | None:
    """Return the user's file for a network: <name>.h5, <name>.weights.h5, or under Keras's own name."""
    names = (f"{network.name}.h5", f"{network.name}.weights.h5", network.file)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def find_weights(
    name: str, *, folder: Path, server: Server | None = None, report: Callable[[str], None] = print
) -> Weights:
    """Return the weights for the network `name`: the user's in `folder`, Keras's cache, or a download to it.

    Without a `server` nothing is fetched; where there are none the network stays untrained. Raises
    InputError for a file of the user's that holds no such weights. A damaged file in Keras's cache, which
    nobody placed, is fetched anew and replaced when that has come.
    """
    network = find_network(name)
    if placed := placed_file(network, folder):
        return _checked(network, placed)
    cached = keras_cache() / network.file
    if cached.is_file():
        try:
            return _checked(network, cached)
        except InputError as error:
            report(str(error))
    if server and server.fetch(network, cached, report=report):
        return _checked(network, cached)
    return Weights(name, None, "", "")


def _checked(network: Network, path: Path) -> Weights:
    published = "unknown"
    if network.md5:
        with path.open("rb") as file:
            published = "yes" if hashlib.file_digest(file, "md5").hexdigest() == network.md5 else "no"
    if published == "no" and path.name == network.file:
        raise InputError(
            f"{path}: not the file that Keras published (md5 should be {network.md5}); delete it, "
            f"or name your own weights {network.name}.h5"
        )
    check_weight_file(path, network)
    return Weights(network.name, path, files.digest(path), published)


def weights_table(found: Sequence[Weights]) -> pd.DataFrame:
    """Return the rows of weights.csv; where a file lies is not among them: it would stale the networks."""
    return pd.DataFrame([[getattr(one, name) for name in COLUMNS] for one in found], columns=COLUMNS)


def weights_folder(settings: NetworkSettings) -> Path:
    """Return where the user's own weight files lie; a relative folder is one of the repository."""
    return repository_root() / Path(settings.weights_folder).expanduser()


def check_placed(settings: NetworkSettings) -> None:
    """Raise InputError for a file of the user's that cannot be what its name says; takes no time."""
    for network in map(find_network, settings.names):
        if placed := placed_file(network, weights_folder(settings)):
            check_weight_file(placed, network)


def collect(
    profile: str, *, server: Server | None = None, report: Callable[[str], None] = print
) -> list[Weights]:
    """Look for the weights of a profile's networks, write weights.csv where it changes, and return them."""
    settings = NetworkSettings.load(profile)
    asked = (server or Server()) if settings.download else None
    folder = weights_folder(settings)
    found = [find_weights(name, folder=folder, server=asked, report=report) for name in settings.names]
    files.write_table(Paths.of(profile).result("weights"), weights_table(found))
    here = sum(one.path is not None for one in found)
    report(f"{profile}: ImageNet weights for {here} of {len(found)} networks")
    return found


def recorded(profile: str, settings: NetworkSettings) -> list[Weights]:
    """Return the weights that stage weights recorded, their files found again.

    Raises InputError when weights.csv is missing, names other networks, or a file has changed since.
    """
    path = Paths.of(profile).result("weights")
    table = files.read_table(path, made_by="stage weights", keep_default_na=False)
    folder = weights_folder(settings)
    found = [find_weights(name, folder=folder, report=lambda line: None) for name in settings.names]
    if {(one.network, one.sha256) for one in found} != set(
        zip(table["network"], table["sha256"], strict=True)
    ):
        raise InputError(f"{path}: the weight files have changed since; run `dvc repro` again")
    return found


def look_for_all(profiles: Sequence[str]) -> list[str]:
    """Look for the weights of several profiles; return how to get those that are missing, a line a profile.

    One server serves them all, so that one which is away is asked only once.
    """
    server, lines = Server(), []
    for profile in profiles:
        missing = [one.network for one in collect(profile, server=server) if one.path is None]
        folder = weights_folder(NetworkSettings.load(profile))
        if missing:
            lines.append(
                f"No ImageNet weights here for {', '.join(missing)}: built untrained, greyed, outside every "
                "conclusion. With a connection, `make repro` fetches them and embeds anew; without one, put "
                f"Keras's no-top files (from {ADDRESS}/) into {folder}/ "
                "as <network>.h5 first."
            )
    return list(dict.fromkeys(lines))


def main() -> int:
    """Find or fetch the ImageNet weights of profiles (default: those of `profiles` in params.yaml)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE")
    profiles = parser.parse_args().profiles

    def look() -> None:
        for line in look_for_all(profiles or active_profiles()):
            print(line)

    return exit_status(look)


if __name__ == "__main__":
    sys.exit(main())
