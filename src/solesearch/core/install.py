"""Makes .venv from requirements.lock; `make` runs it with a Python 3.11 and nothing installed yet.

pip fetches uv and uv the rest, in a third of pip's time; where uv cannot, pip does. Where packages come from
(index, certificate, proxy, cache) is the user's business, said to pip or in uv's variables; each is told the
other's. What they install, and into which Python, is said here: settings that aim elsewhere are not passed on
(surroundings.csv), and every call names its interpreter.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from solesearch.core.errors import InputError, exit_status
from solesearch.core.surroundings import past_the_proxy

ENVIRONMENT = Path(".venv")
PYTHON = ENVIRONMENT / "bin" / "python"
READY = ENVIRONMENT / ".ready"
LOCK, PEERS = Path("requirements.lock"), Path("requirements-peers.lock")
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
UV = ("-m", "uv", "--no-config", "--system-certs")
LOCKING = ("--generate-hashes", "--no-emit-index-url", "--universal", "--python-version", "3.11")


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
    said = {name: environment.get(variable, "") for name, variable in UV_NAMES.items()}
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


def reason() -> str:
    """Return why .venv is made anew, one line; "" when there is none yet."""
    if not READY.is_file():
        return ""
    made_in = READY.read_text(encoding="utf-8").strip().rsplit(" ", 2)[0]  # before the digest's two numbers
    if made_in and made_in != str(Path.cwd()):
        return f"{ENVIRONMENT} belongs to {made_in}: this folder was copied or moved, so it is made anew."
    return f"{ENVIRONMENT} was made from other pins, so it is made anew."


def install(mark: str) -> None:
    """Make .venv in the working folder and leave `mark` in it; raises InputError when it cannot be made."""
    print(*filter(None, [reason(), f"Making {ENVIRONMENT} (about a minute, 2.5 GB) ..."]), flush=True)
    if ENVIRONMENT.is_symlink():  # the link goes, not the environment of another folder
        ENVIRONMENT.unlink()
    base = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([base, "-m", "venv", "--clear", str(ENVIRONMENT)], check=False).returncode:
        raise InputError("python -m venv failed; on Debian: apt install python3-venv")
    environment = settled()
    _install_lock(environment)
    editable = ("--no-deps", "--no-build-isolation", "--editable", ".")
    if not (_uv(environment, "install", *editable) or _pip(environment, *editable)):
        raise InputError("the project itself could not be installed; the lines above say why")
    peers = ("--no-deps", "--no-build-isolation", "--require-hashes", "--requirement", str(PEERS))
    if not (_uv(environment, "install", *peers, quiet=True) or _pip(environment, *peers, quiet=True)):
        print("Annoy and hnswlib need a C++ compiler and were left out; the index benchmark goes on without.")
    if not Path(".git").exists():  # a ZIP
        _run([str(ENVIRONMENT / "bin" / "dvc"), "config", "--local", "core.no_scm", "true"], environment)
    READY.write_text(mark + "\n", encoding="utf-8")


def settled(*, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environment for pip and uv, with what variables and files say of the network."""
    command, environment = [str(PYTHON), "-m", "pip", "config", "list"], dict(os.environ)
    # `user = true` in a file would otherwise mean: list the user's file alone
    all_files = {**environment, "PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0"}
    asked = subprocess.run(command, env=all_files, capture_output=True, text=True, check=False)
    settings = pip_settings(asked.stdout)
    return network({name: settings[name] for name in settings if name not in without}, environment)


def _install_lock(environment: dict[str, str]) -> None:
    """Install the lock; uv comes from it, too: its lines are cut out and installed by pip first."""
    lock = LOCK.read_text(encoding="utf-8")
    only_uv = ENVIRONMENT / "uv.lock"
    only_uv.write_text(re.search(r"(?ms)^uv==.*?[^\\]$", lock)[0] + "\n", encoding="utf-8")
    if _pip(environment, "--require-hashes", "--requirement", str(only_uv)):
        # any of the user's indexes may have the wheel: which one is right, the hash says
        if _uv(environment, "sync", "--require-hashes", "--index-strategy", "unsafe-best-match", str(LOCK)):
            return
        print("uv could not install requirements.lock; pip tries, which takes some minutes.", flush=True)
    if not _pip(environment, "--require-hashes", "--requirement", str(LOCK)):
        raise InputError(
            "requirements.lock could not be installed; the lines above say why. Behind a mirror or a proxy: "
            "PIP_INDEX_URL, PIP_CERT and https_proxy, or pip's own configuration, are kept to"
        )


def _uv(environment: dict[str, str], command: str, *options: str, quiet: bool = False) -> bool:
    offline = environment.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on")
    no_index = ("--no-index",) if offline else ()
    aimed = ("pip", command, "--quiet", "--python", str(PYTHON), *no_index)
    return _run([str(PYTHON), *UV, *aimed, *options], environment, quiet=quiet)


def _pip(environment: dict[str, str], *options: str, quiet: bool = False) -> bool:
    return _run([str(PYTHON), "-m", "pip", "install", "--quiet", *options], environment, quiet=quiet)


def _run(command: list[str], environment: dict[str, str], *, quiet: bool = False) -> bool:
    words = subprocess.DEVNULL if quiet else None
    return not subprocess.run(command, env=environment, stderr=words, check=False).returncode


def lock() -> None:
    """Resolve pyproject.toml anew into requirements.lock, with hashes and without host names.

    Additional places of pip's are left out: the lock holds the hashes of all wheels there are.
    """
    environment = settled(without=("extra-index-url", "find-links"))
    environment["UV_CUSTOM_COMPILE_COMMAND"] = "make lock"
    common = ("--quiet", "--python", str(PYTHON), *LOCKING)
    extras = ("--extra", "test", "--extra", "stores", "--upgrade")
    command = [str(PYTHON), *UV, "pip", "compile", *common]
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    peers, wanted = project["optional-dependencies"]["peers"], ENVIRONMENT / "peers.in"
    wanted.write_text("\n".join(peers) + "\n", encoding="utf-8")
    whole = [*command, "pyproject.toml", *extras, "--output-file", str(LOCK)]
    beside = [*command, str(wanted), "--no-deps", "--no-header", "--no-annotate", "--output-file", str(PEERS)]
    if not (_run(whole, environment) and _run(beside, environment)):
        raise InputError("uv could not resolve pyproject.toml; the lines above say why")


def main() -> int:
    """`python -m solesearch.core.install MARK` makes .venv, `--lock` resolves the pins anew."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.core.install", description=main.__doc__)
    parser.add_argument("mark", nargs="?", default="", help="the folder and the digest of the pins, for make")
    parser.add_argument("--lock", action="store_true", help="write requirements.lock anew instead")
    chosen = parser.parse_args()
    return exit_status(lock if chosen.lock else lambda: install(chosen.mark))


if __name__ == "__main__":
    sys.exit(main())
