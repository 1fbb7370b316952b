"""A reviewer's one command: do the committed results hold? `make verify`.

The quick way re-reads: every committed folder against the hash of the run that made it (dvc.lock), every
verdict and every chart from the tables again. `--full` runs the profile in a temporary copy, from the
photographs on, and compares its tables with the committed ones within tolerances.csv; seconds are no part of
that. A line a check: PASS, FAIL or SKIP with the reason; the exit status is 1 after any FAIL.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from matplotlib.testing.compare import compare_images
from matplotlib.testing.exceptions import ImageComparisonFailure
from pandas.api.types import is_numeric_dtype

from solesearch.claims import verdicts
from solesearch.core.errors import InputError, exit_status
from solesearch.core.files import read_table
from solesearch.core.measures import DRAWN
from solesearch.core.model_names import NO_WEIGHTS
from solesearch.core.paths import Paths
from solesearch.core.settings import check_known, load_parameters
from solesearch.figures import drawing, registry
from solesearch.photos.catalog import other_photographs
from solesearch.pipeline import charts  # noqa: F401 (imports every module that registers a chart)

PASS, FAIL, SKIP = "PASS", "FAIL", "SKIP"
SAME_LOOK = 2  # root mean square of pixels' difference, of 255: another build of matplotlib moves edges
RECORDED = ("cpu", "cores", "memory_gb", "versions", "git_commit", "stages")  # of run.json
# Tables that compare the networks with others, or choose among them, beyond the rows that name one.
REST_ON_NETWORKS = (
    *("claims", "differences", "ladder", "ladder_goals", "latent_codes"),
    *("human_study", "human_study_agreement", "human_study_annotators"),
)
LEFT_BEHIND = (".git", ".venv", ".venv-gpu", "runs", ".nb", "cache", "tmp", "data", "weights", "__pycache__")


class Check(NamedTuple):
    """One line of the answer."""

    state: str
    name: str
    words: str

    def __str__(self) -> str:
        """Return `PASS  results/sample/evaluate: the bytes that the run left`."""
        return f"{self.state}  {self.name}: {self.words}"


def check(name: str, fault: str, fine: str) -> Check:
    """Return a FAIL that says `fault`, or a PASS where that is empty."""
    return Check(FAIL, name, fault) if fault else Check(PASS, name, fine)


# --- the quick way: against the run's own record, and from the tables again ------------------------------


def recorded_outputs(paths: Paths) -> dict[str, str]:
    """Return path -> md5 of the profile's results and figures as dvc.lock records them; {} without a record.

    Raises InputError when dvc.lock is not valid.
    """
    lock = paths.root / "dvc.lock"
    if not lock.is_file():
        return {}
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
        outputs = [out for stage in stages.values() for out in stage.get("outs", [])]
        mine = (f"results/{paths.profile}/", f"figures/{paths.profile}/")
        return {out["path"]: out["md5"] for out in outputs if out["path"].startswith(mine)}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{lock}: not a record of a run ({error}); restore it") from error


def recorded_digest(path: Path) -> str:
    """Return the md5 as dvc.lock has it: of a file's bytes, or of the list of a folder's files and md5s."""
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    inside = (one for one in path.rglob("*") if one.is_file())
    entries = [{"md5": recorded_digest(one), "relpath": one.relative_to(path).as_posix()} for one in inside]
    entries.sort(key=lambda entry: entry["relpath"])
    listed = json.dumps(entries, sort_keys=True).encode()
    return f"{hashlib.md5(listed, usedforsecurity=False).hexdigest()}.dir"


def check_recorded(paths: Paths) -> Iterator[Check]:
    """Compare every committed folder with the hash of the run that made it."""
    recorded = recorded_outputs(paths)
    if not recorded:
        yield Check(FAIL, "dvc.lock", f"records no run of {paths.profile}; `make repro` writes one")
    for name, md5 in sorted(recorded.items()):
        path = paths.root / name
        shows_photographs = name.startswith("figures/") and not name.endswith("/charts")
        if paths.profile not in DRAWN and shows_photographs:
            yield Check(SKIP, name, "shows photographs, so it is not committed")
        elif not path.exists():
            yield Check(FAIL, name, "is missing; the run left one (dvc.lock)")
        else:
            fault = "" if recorded_digest(path) == md5 else "differs from what the run left (dvc.lock)"
            yield check(name, fault, "the bytes that the run left")


def check_environment(paths: Paths) -> Iterator[Check]:
    """See that the machine of the run is recorded beside the results, with the seconds of every stage."""
    name = f"results/{paths.profile}/run.json"
    try:
        record = json.loads((paths.root / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Check(FAIL, name, f"cannot be read ({error})")
        return
    missing = [key for key in RECORDED if not record.get(key)]
    missing += [stage for stage, facts in record.get("stages", {}).items() if "seconds" not in facts]
    yield check(name, f"lacks {', '.join(missing)}" if missing else "", "machine, versions, seconds a stage")


def check_verdicts(paths: Paths) -> Iterator[Check]:
    """Compute every verdict again from the committed tables."""
    target = paths.result("claims")
    committed = read_table(target, made_by="stage claims", dtype=str, keep_default_na=False)
    again = verdicts.verdicts(paths.profile).astype(str).reset_index(drop=True)
    fault = table_fault(committed, again, rules=tolerances()[-1:])  # the last allows no difference
    yield check(str(target.relative_to(paths.root)), fault, f"{len(again)} verdicts again")


def check_charts(paths: Paths) -> Iterator[Check]:
    """Draw every committed chart again from its committed table and compare the picture."""
    with tempfile.TemporaryDirectory() as folder:
        for target in sorted(paths.chart("x").parent.glob("*.png")):
            try:
                figure = registry.draw_chart(target.stem, profile=paths.profile)
                [again] = drawing.save(figure, Path(folder) / target.stem)
                fault = compare_images(target, again, tol=SAME_LOOK) or ""
            except (InputError, ImageComparisonFailure, OSError) as error:
                fault = str(error)
            yield check(str(target.relative_to(paths.root)), " ".join(fault.split()), "drawn again, the same")


def quick(paths: Paths) -> Iterator[Check]:
    """Re-read a profile; bad input of one check is a FAIL of its own and does not stop the others."""
    for part in (check_recorded, check_environment, check_verdicts, check_charts):
        try:
            yield from part(paths)
        except InputError as error:
            yield Check(FAIL, part.__name__.removeprefix("check_"), str(error))


# --- the full way: run again, and compare within tolerances ----------------------------------------------


def tolerances() -> list[NamedTuple]:
    """Return the rows of tolerances.csv, which says the reason of each: file, column, kind, tolerance.

    File and column are patterns, and the first row that fits a column holds. Its numbers may lie `absolute`
    or a `factor` apart; it is not looked at (`skip`); or the `share` of its equal cells counts.
    """
    table = pd.read_csv(Path(__file__).with_name("tolerances.csv"), keep_default_na=False)
    return list(table.itertuples(index=False))


def full(paths: Paths) -> Iterator[Check]:
    """Run the profile in a temporary copy and compare its tables with the committed ones."""
    if not paths.result("networks").is_file():
        raise InputError(f"{paths.results}: no results to compare a run with; `make repro` writes them")
    with tempfile.TemporaryDirectory(prefix="solesearch-verify-") as folder:
        again = Paths(paths.profile, Path(folder) / "solesearch")
        copy_project(paths, again.root)
        if fault := run_pipeline(again.root):
            yield Check(FAIL, "dvc repro", fault)
            return
        now = json.loads(again.manifest.read_text(encoding="utf-8"))
        name = str(paths.photo_manifest.relative_to(paths.root))
        yield check(name, other_photographs(now, paths.photo_manifest), "the same photographs")
        yield from compare_results(paths, again)


def copy_project(paths: Paths, target: Path) -> None:
    """Copy the project without runs and environment; link photographs and weights; keep one profile."""
    shutil.copytree(paths.root, target, ignore=shutil.ignore_patterns(*LEFT_BEHIND), symlinks=True)
    (target / "data").mkdir()
    for slot in (paths.root / "data").iterdir():
        (target / "data" / slot.name).symlink_to(slot.resolve())
    if (paths.root / "weights").exists():
        (target / "weights").symlink_to((paths.root / "weights").resolve())
    parameters = {**load_parameters(), "profiles": [paths.profile]}
    (target / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")


def run_pipeline(root: Path) -> str:
    """Run `dvc repro` in a copy, its progress on the terminal; return why it failed, or nothing."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "SOLESEARCH_ROOT": str(root)}
    for command in (["config", "--local", "core.no_scm", "true"], ["repro", "--force"]):
        ended = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=root, env=environment, stdout=sys.stderr, check=False
        )
        if ended.returncode:
            return f"dvc {command[0]} ended with status {ended.returncode}; its words are above"
    return ""


def compare_results(committed: Paths, again: Paths) -> Iterator[Check]:
    """Compare every committed table with the new run's, within the tolerances.

    Where this machine has ImageNet weights that the committed run had not, the rows of those networks have
    become real: they are left out and said, with what rests on them; the rest is compared as ever.
    """
    rules, real = tolerances(), became_real(committed, again)
    for path in sorted(committed.results.glob("*/*.csv")):
        other = again.results / path.relative_to(committed.results)
        name = str(path.relative_to(committed.root))
        if not other.is_file():
            yield Check(FAIL, name, "the new run did not write it")
            continue
        tables = pd.read_csv(path), pd.read_csv(other)
        kept = [table[~named_in(table, real)] for table in tables]
        fault = table_fault(*kept, rules=[rule for rule in rules if fnmatch(path.stem, rule.file)])
        if fault and real and path.stem in REST_ON_NETWORKS:
            yield Check(SKIP, name, f"rests on {', '.join(sorted(real))}, real here ({fault})")
            continue
        yield check(name, fault, "run again, within the tolerances")
        if left_out := len(tables[0]) - len(kept[0]):
            yield Check(SKIP, name, f"{left_out} rows of {', '.join(sorted(real))}, real here")


def became_real(committed: Paths, again: Paths) -> set[str]:
    """Return the networks that were untrained in the committed run and have weights in the new one."""
    tables = [pd.read_csv(paths.result("networks")) for paths in (committed, again)]
    untrained = [table.loc[table["weights"] == NO_WEIGHTS, "model"] for table in tables]
    before, now = ({re.split("[+@]", model)[0] for model in models} for models in untrained)
    return before - now


def named_in(table: pd.DataFrame, networks: set[str]) -> pd.Series:
    """Return which rows of a table are about one of the networks: as it is, retrained, scaled otherwise."""
    about = table.select_dtypes(exclude="number").map(lambda cell: re.split("[+@]", str(cell))[0] in networks)
    return about.any(axis=1) if len(about.columns) else pd.Series(False, table.index)


def table_fault(committed: pd.DataFrame, again: pd.DataFrame, *, rules: list[NamedTuple]) -> str:
    """Return the first column, and its first row, that lies beyond its tolerance; nothing without one."""
    if list(committed.columns) != list(again.columns) or len(committed) != len(again):
        return f"is {len(committed)} x {list(committed)}, run again {len(again)} x {list(again)}"
    for column in committed:
        rule = next(rule for rule in rules if fnmatch(column, rule.column))
        if fault := column_fault(committed[column], again[column], kind=rule.kind, tolerance=rule.tolerance):
            return f"{column}, {fault}"
    return ""


def column_fault(committed: pd.Series, again: pd.Series, *, kind: str, tolerance: float) -> str:
    """Return the first row of a column that lies beyond its tolerance, counted from 1, or nothing."""
    if kind == "skip":
        return ""
    if kind == "share":
        equal = (committed.astype(str).to_numpy() == again.astype(str).to_numpy()).mean()
        return f"rows: {equal:.2f} are equal, a share of {tolerance:g} asked for" if equal < tolerance else ""
    beyond = ~within(committed, again, kind=kind, tolerance=tolerance)
    if not beyond.any():
        return ""
    at = int(beyond.argmax())
    values = f"{committed.iloc[at]}, run again {again.iloc[at]}"
    allowed = f"{kind} {tolerance:g} allowed, {beyond.sum()} of {len(beyond)} rows beyond"
    return f"row {committed.index[at] + 1}: {values} ({allowed})"


def within(committed: pd.Series, again: pd.Series, *, kind: str, tolerance: float) -> np.ndarray:
    """Return which rows lie `absolute` or a `factor` apart at most, bool [n]; what is no number is equal."""
    if not (is_numeric_dtype(committed) and is_numeric_dtype(again)):
        first, second = committed.to_numpy(object), again.to_numpy(object)
        return (first == second) | (committed.isna().to_numpy() & again.isna().to_numpy())
    first, second = committed.to_numpy(float), again.to_numpy(float)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    if kind == "factor":
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second, tolerance = np.log(first), np.log(second), np.log(tolerance)
    return same | np.isclose(first, second, rtol=0, atol=tolerance)


# --- the command -----------------------------------------------------------------------------------------


def verify(profile: str, *, whole: bool) -> bool:
    """Print a line a check and a last one with the counts; return whether nothing failed."""
    check_known([profile])
    counts = {PASS: 0, FAIL: 0, SKIP: 0}
    for line in (full if whole else quick)(Paths.of(profile)):
        print(line, flush=True)
        counts[line.state] += 1
    print(f"{profile}: {counts[PASS]} passed, {counts[FAIL]} failed, {counts[SKIP]} skipped")
    return counts[FAIL] == 0


def main(arguments: list[str] | None = None) -> int:
    """Check a profile's committed results; exit 1 when anything differs."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.pipeline.verify", description=main.__doc__)
    parser.add_argument("profile", nargs="?", default="sample")
    parser.add_argument("--full", action="store_true", help="run the profile in a temporary copy and compare")
    chosen, passed = parser.parse_args(arguments), []
    status = exit_status(lambda: passed.append(verify(chosen.profile, whole=chosen.full)))
    return status or int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
