"""What a user's machine may not aim: the one place that sets the environment of everything here.

`surroundings.csv` says which variables are set, removed and kept, and why (`%` stands for any ending; what
is set goes before what is kept, and that before what is removed; `outside` is removed by make alone). The
Makefile reads the same table. Importing the package applies it, so that commands, kernels, tests and all
their children are alike with make and without. What is not listed stays the user's: cores, GPUs, proxies.

Standard library only: `solesearch.core.install` runs before anything is installed.
"""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

TABLE = Path(__file__).with_name("surroundings.csv")
SOURCE = os.path.realpath(Path(__file__).parents[2])
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "grpc_proxy", "ws_proxy", "wss_proxy")
KERAS_HOME = "SOLESEARCH_KERAS_HOME"  # the user's own, which holds the weights that Keras has downloaded


def rules() -> dict[str, dict[str, str]]:
    """Return the table: what is done (set, keep, remove, outside) -> name or pattern -> value."""
    found: dict[str, dict[str, str]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        name, do, value, _ = line.split(",", 3)
        found.setdefault(do, {})[name] = value.replace("{prefix}", sys.prefix)
    return found


def _listed(name: str, patterns: dict[str, str]) -> bool:
    return name in patterns or any(
        name.startswith(one.removesuffix("%")) for one in patterns if one.endswith("%")
    )


def cleaned(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Return the environment that a process of this project gets, from one that the user may have aimed."""
    table = rules()
    kept = {
        name: value
        for name, value in environment.items()
        if _listed(name, table["keep"]) or not _listed(name, table["remove"])
    }
    if "inline" in environment.get("MPLBACKEND", ""):  # a kernel chose it
        kept["MPLBACKEND"] = environment["MPLBACKEND"]
    if "DVC_STAGE" in environment:  # DVC started this, in the right folder
        kept.pop("SOLESEARCH_ROOT", None)
    if _is_set(environment, "KERAS_HOME") and environment["KERAS_HOME"] != table["set"]["KERAS_HOME"]:
        kept[KERAS_HOME] = environment["KERAS_HOME"]
    if SOURCE in map(os.path.realpath, filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))):
        kept["PYTHONPATH"] = SOURCE  # a child runs the code that its parent runs
    return {**kept, **table["set"], **past_the_proxy(kept)}


def _is_set(environment: MutableMapping[str, str], name: str) -> bool:
    return bool(environment.get(name, "").strip())


def past_the_proxy(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Return the variables that keep requests to this machine off a proxy; none where no proxy is set.

    Without a proxy they stay as they are: on macOS `no_proxy` alone would hide the system's proxies.
    """
    if not any(_is_set(environment, name) for one in PROXIES for name in (one, one.upper())):
        return {}
    names = ["no_proxy", "NO_PROXY", *(["no_grpc_proxy"] if _is_set(environment, "no_grpc_proxy") else [])]
    said = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return {name: _with_loopback(environment.get(name) or said) for name in names}


def _with_loopback(hosts: str) -> str:
    named = [one.strip() for one in hosts.split(",") if one.strip()]
    return ",".join([*named, *(one for one in LOOPBACK if one not in named and "*" not in named)])


def keras_home() -> Path:
    """Return the user's own folder of Keras: $KERAS_HOME as he set it, or ~/.keras."""
    now = os.environ.get("KERAS_HOME", "")
    his = os.environ.get(KERAS_HOME, "") if now == rules()["set"]["KERAS_HOME"] else now
    return Path(his).expanduser() if his.strip() else Path.home() / ".keras"


def settle() -> None:
    """Apply the table to this process, and so to its children; called once, when the package is imported.

    A command (`python -m solesearch.X`) that Python itself was aimed at starts once more without that.
    """
    wanted = cleaned(os.environ)
    if _must_start_again(wanted):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)
    for stream in (sys.stdout, sys.stderr):  # a sign that the terminal lacks must not end a command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _must_start_again(wanted: dict[str, str]) -> bool:
    """Tell whether Python read variables at its start that only a new start can undo."""
    if os.name != "posix" or not _is_command() or sys.flags.ignore_environment:
        return False
    aimed = {name for name in os.environ if name.startswith("PYTHON") and name not in rules()["set"]}
    other_bytes = not sys.flags.utf8_mode and locale.getencoding().lower() not in ("utf-8", "utf8")
    return other_bytes or any(os.environ[name] != wanted.get(name) for name in aimed)


def _is_command() -> bool:
    after = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
    return bool(after) and after[0].split(".")[0] == __package__.split(".")[0] and sys.argv[:1] == ["-m"]
