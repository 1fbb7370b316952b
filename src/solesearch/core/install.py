"""Makes .venv from requirements.lock, with GPU=1 .venv-gpu from requirements-gpu.lock; `make` runs it with a
Python 3.11 and nothing installed yet.

pip fetches uv and uv the rest, in a third of pip's time; where uv cannot, pip does. Where packages come from
(index, certificate, proxy, cache) is the user's business, said to pip or in uv's variables; each is told the
other's. What they install, and into which Python, is said here: settings that aim elsewhere are not passed on
(surroundings.csv), and every call names its interpreter.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

from solesearch.core.errors import InputError, exit_status
from solesearch.core.surroundings import past_the_proxy

PEERS = Path("requirements-peers.lock")
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
NETWORK = (  # settings of pip's that say where packages come from; all others of its files are left out
    "index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert", "client-cert", "proxy",
    "timeout", "retries", "cache-dir", "no-cache-dir", "keyring-provider",
)  # fmt: skip
UV_NAMES = {  # the same in uv's words
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "no-cache-dir": "UV_NO_CACHE",
}
UV_OLDER_NAMES = {"index-url": "UV_INDEX_URL", "extra-index-url": "UV_EXTRA_INDEX_URL"}
UV = ("-m", "uv", "--no-config", "--system-certs")
LOCKING = ("--generate-hashes", "--no-emit-index-url", "--universal", "--python-version", "3.11")
CPU_BUILDS = (
    "tensorflow-cpu",
    "faiss-cpu",
)  # not in the environment with CUDA: the same modules by other names


class Build(NamedTuple):
    """One of the two environments: where it lies, which pins it holds, and what its making takes."""

    environment: Path
    lock: Path
    cost: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.environment / "bin" / "python"

    @property
    def ready(self) -> Path:
        """The file that a finished install leaves, with make's mark."""
        return self.environment / ".ready"


CPU = Build(Path(".venv"), Path("requirements.lock"), "about a minute, 2.5 GB")
GPU = Build(Path(".venv-gpu"), Path("requirements-gpu.lock"), "some minutes, 3.5 GB to fetch, 8 GB")


# --- where packages come from ------------------------------------------------------------------------------


def pip_settings(listing: str) -> dict[str, str]:
    """Return what `pip config list` says of the network; variables go before files."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        said = re.fullmatch(r"(global|install|:env:)\.([\w-]+)=('.*'|\".*\")", line.strip())
        if said:
            name = said[2].replace("_", "-").replace("default-timeout", "timeout")
            found[said[1]][name] = " ".join(str(ast.literal_eval(said[3])).split())
    merged = {name: value for settings in found.values() for name, value in settings.items()}
    settings = {name: merged[name] for name in NETWORK if merged.get(name)}
    for name in ("extra-index-url", "find-links"):  # pip warns of folders that are not there, uv stops
        places = [place for place in settings.pop(name, "").split() if _is_there(place)]
        settings |= {name: " ".join(places)} if places else {}
    return settings


def _is_there(place: str) -> bool:
    path = place.removeprefix("file://")
    return ("://" in path and path == place) or Path(path).expanduser().exists()


def network(settings: dict[str, str], environment: dict[str, str]) -> dict[str, str]:
    """Return the environment for pip and uv: the given one, and in it what both are told of the network.

    What pip knows (`settings`) is told to uv, what uv's variables say to pip; each keeps its own.
    """
    older = {name: environment.get(variable, "") for name, variable in UV_OLDER_NAMES.items()}
    said = {name: environment.get(own) or older.get(name, "") for name, own in UV_NAMES.items()}
    # an index of uv's may have a name, `name=address`
    there = {name: re.sub(r"(?<!\S)[\w.-]+=(?=\w+:)", "", words) for name, words in said.items() if words}
    there = {"cert": _system_certificates(), **there, **settings}
    told = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in there.items() if value}
    for name, variable in UV_NAMES.items():
        if there.get(name) and not said[name]:
            told[variable] = there[name].replace(" ", ",") if name == "find-links" else there[name]
    if "UV_INDEX" in told and "extra-index-url" in settings:  # pip's: it takes the best of all its indexes
        told["UV_INDEX_STRATEGY"] = environment.get("UV_INDEX_STRATEGY", "unsafe-best-match")
    if "proxy" in there:
        told |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), there["proxy"])
    told |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    dropped = ("SOURCE_DATE_EPOCH", "PYTHONPATH")
    kept = {name: value for name, value in environment.items() if name not in dropped}
    return {**kept, **told, **past_the_proxy({**kept, **told})}


def _system_certificates() -> str:
    """Return the system's bundle of certificates, which holds those of a company's own; "" where none is."""
    return next((file for file in CERTIFICATES if Path(file).is_file()), "")


# --- the steps ---------------------------------------------------------------------------------------------


def reason(build: Build) -> str:
    """Return why an environment is made anew, one line; "" when there is none yet."""
    if not build.ready.is_file():
        return ""
    made_in = (
        build.ready.read_text(encoding="utf-8").strip().rsplit(" ", 2)[0]
    )  # before the digest's two numbers
    if made_in and made_in != str(Path.cwd()):
        return (
            f"{build.environment} belongs to {made_in}: this folder was copied or moved, so it is made anew."
        )
    return f"{build.environment} was made from other pins, so it is made anew."


def check_platform(build: Build, *, system: str, processor: str) -> None:
    """Raise InputError for the environment with CUDA on a machine for which there are no CUDA wheels."""
    if build == GPU and (system, processor) not in (("Linux", "x86_64"), ("Linux", "AMD64")):
        raise InputError(
            f"GPU=1 needs Linux on x86-64, since CUDA wheels exist for nothing else; this is {system} on "
            f"{processor}: leave GPU=1 out"
        )


def install(mark: str, build: Build = CPU) -> None:
    """Make an environment in the working folder and leave `mark` in it; raises InputError when it cannot."""
    check_platform(build, system=platform.system(), processor=platform.machine())
    environment = build.environment
    print(*filter(None, [reason(build), f"Making {environment} ({build.cost}) ..."]), flush=True)
    if environment.is_symlink():  # the link goes, not the environment of another folder
        environment.unlink()
    base = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([base, "-m", "venv", "--clear", str(environment)], check=False).returncode:
        raise InputError("python -m venv failed; on Debian: apt install python3-venv")
    variables = settled(build.python)
    _install_lock(build, variables)
    editable = ("--no-deps", "--no-build-isolation", "--editable", ".")
    if not (_uv(build, variables, "install", *editable) or _pip(build, variables, *editable)):
        raise InputError("the project itself could not be installed; the lines above say why")
    peers = ("--no-deps", "--no-build-isolation", "--require-hashes", "--requirement", str(PEERS))
    by_uv = _uv(build, variables, "install", *peers, quiet=True)
    if not by_uv and not _pip(build, variables, *peers, quiet=True):
        print("Annoy and hnswlib need a C++ compiler and were left out; the index benchmark goes on without.")
    if not Path(".git").exists():  # a ZIP
        _run([str(environment / "bin" / "dvc"), "config", "--local", "core.no_scm", "true"], variables)
    build.ready.write_text(mark + "\n", encoding="utf-8")


def settled(python: Path, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environment for pip and uv, with what variables and files say of the network."""
    command, environment = [str(python), "-m", "pip", "config", "list"], dict(os.environ)
    # `user = true` in a file would otherwise mean: list the user's file alone
    all_files = {**environment, "PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0"}
    asked = subprocess.run(command, env=all_files, capture_output=True, text=True, check=False)
    settings = pip_settings(asked.stdout)
    return network({name: settings[name] for name in settings if name not in without}, environment)


def _install_lock(build: Build, variables: dict[str, str]) -> None:
    """Install the lock; uv comes from it, too: its lines are cut out and installed by pip first."""
    lock = build.lock.read_text(encoding="utf-8")
    only_uv = build.environment / "uv.lock"
    only_uv.write_text(re.search(r"(?ms)^uv==.*?[^\\]$", lock)[0] + "\n", encoding="utf-8")
    if _pip(build, variables, "--require-hashes", "--requirement", str(only_uv)):
        # any of the user's indexes may have the wheel: which one is right, the hash says
        any_index = ("--index-strategy", "unsafe-best-match")
        if _uv(build, variables, "sync", "--require-hashes", *any_index, str(build.lock)):
            return
        print(f"uv could not install {build.lock}; pip tries, which takes some minutes.", flush=True)
    # the lock is whole, and what milvus-lite asks for by name (faiss-cpu) is faiss-gpu in one of the two
    if not _pip(build, variables, "--no-deps", "--require-hashes", "--requirement", str(build.lock)):
        raise InputError(
            f"{build.lock} could not be installed; the lines above say why. Behind a mirror or a proxy: "
            "PIP_INDEX_URL, PIP_CERT and https_proxy, or pip's own configuration, are kept to"
        )


def _uv(build: Build, environment: dict[str, str], command: str, *options: str, quiet: bool = False) -> bool:
    offline = environment.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on")
    no_index = ("--no-index",) if offline else ()
    aimed = ("pip", command, "--quiet", "--python", str(build.python), *no_index)
    return _run([str(build.python), *UV, *aimed, *options], environment, quiet=quiet)


def _pip(build: Build, environment: dict[str, str], *options: str, quiet: bool = False) -> bool:
    command = [str(build.python), "-m", "pip", "install", "--quiet"]
    return _run([*command, *options], environment, quiet=quiet)


def _run(command: list[str], environment: dict[str, str], *, quiet: bool = False) -> bool:
    words = subprocess.DEVNULL if quiet else None
    return not subprocess.run(command, env=environment, stderr=words, check=False).returncode


def lock(build: Build = CPU) -> None:
    """Resolve pyproject.toml anew into the three locks, with hashes and without host names.

    The one with CUDA takes every version from the other, so that the two differ in nothing that they need
    not. Additional places of pip's are left out: the locks hold the hashes of all wheels there are. uv and
    the interpreter are those of `build`.
    """
    environment = settled(build.python, without=("extra-index-url", "find-links"))
    environment["UV_CUSTOM_COMPILE_COMMAND"] = "make lock"
    command = [str(build.python), *UV, "pip", "compile", "--quiet", "--python", str(build.python), *LOCKING]
    extras = ("--extra", "test", "--extra", "stores", "--extra", "book", "--upgrade")
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted, left_out = build.environment / "peers.in", build.environment / "left-out.in"
    wanted.write_text("\n".join(project["optional-dependencies"]["peers"]) + "\n", encoding="utf-8")
    left_out.write_text("".join(f"{name}; python_version < '0'\n" for name in CPU_BUILDS), encoding="utf-8")
    instead = ("--group", "gpu", "--override", str(left_out), "--constraint", str(CPU.lock))
    whole = [*command, "pyproject.toml", *extras, "--output-file", str(CPU.lock)]
    cuda = [*command, "pyproject.toml", *extras, *instead, "--output-file", str(GPU.lock)]
    beside = [*command, str(wanted), "--no-deps", "--no-header", "--no-annotate", "--output-file", str(PEERS)]
    if not all(_run(one, environment) for one in (whole, cuda, beside)):
        raise InputError("uv could not resolve pyproject.toml; the lines above say why")


def main() -> int:
    """`python -m solesearch.core.install MARK` makes .venv or .venv-gpu, `--lock` resolves the pins anew."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.core.install", description=main.__doc__)
    parser.add_argument("mark", nargs="?", default="", help="the folder and the digest of the pins, for make")
    parser.add_argument("--gpu", action="store_true", help="the environment with CUDA instead")
    parser.add_argument("--lock", action="store_true", help="write the locks anew instead")
    chosen = parser.parse_args()
    build = GPU if chosen.gpu else CPU
    return exit_status(lambda: lock(build) if chosen.lock else install(chosen.mark, build))


if __name__ == "__main__":
    sys.exit(main())
