"""What `make repro` does: check, run the stages, sum up. `python -m solesearch.pipeline.repro [PROFILE ...]`.

Without a name, the profiles that params.yaml lists. A profile that is named is added to that list where it is
missing, since DVC knows no other, and its stages alone are run. `--data FOLDER` links the photographs of the
named profile first, `--fetch` fetches UT-Zap50K where none lie. Plain `dvc repro` does the middle part.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import repository_root
from solesearch.core.settings import active_profiles
from solesearch.networks import weights
from solesearch.pipeline import preflight, report
from solesearch.pipeline.slot import TermsNotAcceptedError, activate, fetch_photographs, link_photographs


def stage_names(profile: str) -> list[str]:
    """Return the stages of dvc.yaml that run for a profile, as DVC names them: `train@sample`, ..."""
    read = yaml.safe_load((repository_root() / "dvc.yaml").read_text(encoding="utf-8"))
    return [f"{name}@{profile}" for name, stage in read["stages"].items() if "foreach" in stage]


def run_stages(profiles: Sequence[str]) -> None:
    """Run `dvc repro`, for all or for these profiles; raises InputError where it fails.

    Ctrl-C reaches DVC and its stages as well; they are waited for, so that their words come first.
    """
    targets = [name for profile in profiles for name in stage_names(profile)]
    process = subprocess.Popen([sys.executable, "-m", "dvc", "repro", *targets], cwd=repository_root())
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if status:
        raise InputError(
            "the pipeline stopped; what was finished stays, and the same command goes on from there"
        )


def reproduce(named: Sequence[str]) -> None:
    """Check, run and sum up the named profiles, or those that params.yaml lists."""
    profiles = list(dict.fromkeys(named)) or active_profiles()
    preflight.check_all(profiles)
    for profile in profiles:
        if activate(profile):
            print(f"params.yaml: added {profile} to profiles", flush=True)
    lacking = weights.look_for_all(profiles)  # what has come makes DVC embed with it
    run_stages(profiles if named else [])
    print(report.summary(profiles))
    for message in lacking:
        print(f"\n{message}")


def main() -> int:
    """Run the pipeline for profiles (default: those of `profiles` in params.yaml)."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.pipeline.repro", description=main.__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="link it to data/PROFILE first")
    parser.add_argument("--fetch", action="store_true", help="fetch UT-Zap50K where data/PROFILE is empty")
    parser.add_argument("--accept", action="store_true", help="accept its terms (data/README.md) unasked")
    parser.add_argument("--from", dest="source", default="", metavar="URL", help="folder of its two zips")
    chosen = parser.parse_args()
    named = [name for given in chosen.profiles for name in given.replace(",", " ").split()]
    if (chosen.data or chosen.fetch) and len(named) != 1:
        parser.error("--data and --fetch are for the photographs of one PROFILE; name it")

    def work() -> int | None:
        if chosen.data:
            slot = link_photographs(*named, chosen.data)
            print(f"{slot} -> {slot.resolve()}", flush=True)
        elif chosen.fetch:
            try:
                fetch_photographs(*named, accepted=chosen.accept, source=chosen.source)
            except TermsNotAcceptedError as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
        return reproduce(named)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
