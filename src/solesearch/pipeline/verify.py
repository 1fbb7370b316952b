"""A reviewer's one command: do the committed results hold? `make verify`.

The quick way re-reads: every committed file against the hash of the run that made it (dvc.lock), every table
that can be derived from others or from runs/, every verdict, every chart drawn again, the README's blocks. A
changed number fails at least one of them. `--full` runs the profile in a temporary copy, from the
photographs on, and compares with the committed results within the tolerances of tolerances.csv. A line a
check: PASS, FAIL or SKIP with the reason; the exit status is 1 after any FAIL.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from solesearch.claims import claims, claims_report
from solesearch.core.errors import InputError, exit_status
from solesearch.core.files import read_table
from solesearch.core.measures import DRAWN
from solesearch.core.model_names import NO_WEIGHTS
from solesearch.core.paths import Paths
from solesearch.core.settings import load_parameters
from solesearch.evaluation import study
from solesearch.figures import drawing, registry
from solesearch.people import human_study, study_analysis
from solesearch.photos.catalog import other_photographs
from solesearch.photos.photo_table import class_counts, read_photos
from solesearch.pipeline import charts, report
from solesearch.retrieval import uncertainty
from solesearch.retrieval.retrieval import summarise

PASS, FAIL, SKIP = "PASS", "FAIL", "SKIP"
ROUNDED = 2e-5  # tables keep six digits
SAME_LOOK = 0.1  # mean difference of pixels, of 255: another build of the drawing library moves edges
RECORDED = ("cpu", "cores", "memory_gb", "versions", "git_commit", "stages")  # of run.json
# Tables that compare the networks with others, or choose among them, beyond the rows that name one.
REST_ON_NETWORKS = (
    *("claims", "differences", "ladder", "ladder_goals", "latent_codes"),
    *("human_study", "human_study_agreement", "human_study_annotators"),
)
WEIGHTLESS = ("latency", "sizes")  # times and sizes are the same with weights and without
LEFT_BEHIND = (".git", ".venv", "runs", ".nb", "cache", "tmp", "data", "weights", "__pycache__")


@dataclass(frozen=True)
class Check:
    """One line of the answer."""

    state: str
    name: str
    words: str

    def __str__(self) -> str:
        """Return `PASS  results/sample/retrieval.csv: same bytes as the run left`."""
        return f"{self.state}  {self.name}: {self.words}"


# --- against the run's own record ------------------------------------------------------------------------


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
    inside = sorted(one for one in path.rglob("*") if one.is_file())
    entries = [{"md5": recorded_digest(one), "relpath": one.relative_to(path).as_posix()} for one in inside]
    listed = json.dumps(entries, sort_keys=True).encode()
    return f"{hashlib.md5(listed, usedforsecurity=False).hexdigest()}.dir"


def check_recorded(paths: Paths) -> Iterator[Check]:
    """Compare every committed file with the hash of the run that made it."""
    recorded = recorded_outputs(paths)
    if not recorded:
        yield Check(FAIL, "dvc.lock", f"records no run of {paths.profile}; `make repro` writes one")
    for name, md5 in sorted(recorded.items()):
        path = paths.root / name
        if path.exists():
            same = recorded_digest(path) == md5
            words = "the bytes that the run left" if same else "differs from what the run left (dvc.lock)"
            yield Check(PASS if same else FAIL, name, words)
        elif "/galleries/" in name and paths.profile not in DRAWN:
            yield Check(SKIP, name, "shows photographs, so it is not committed")
        else:
            yield Check(FAIL, name, "is missing; the run left one (dvc.lock)")


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
    words = f"lacks {', '.join(missing)}" if missing else f"{len(record['stages'])} stages with their seconds"
    yield Check(FAIL if missing else PASS, name, words)


# --- tables from tables ----------------------------------------------------------------------------------


def check_derived(paths: Paths) -> Iterator[Check]:
    """Compute the tables again that follow from runs/<profile>/, where that is there."""
    if not (paths.run / "evaluation" / "queries.csv").is_file():
        yield Check(SKIP, f"runs/{paths.profile}", "not there, so no table is derived from single queries")
        return
    makers = derived_tables(paths)
    for name, make in makers.items():
        target = paths.result(name)
        if not target.is_file():
            yield Check(FAIL, f"results/{paths.profile}/{name}.csv", "is missing")
            continue
        fault = table_fault(_rounded(make()), pd.read_csv(target))
        yield Check(FAIL if fault else PASS, f"results/{paths.profile}/{name}.csv", fault or "derived again")


def derived_tables(paths: Paths) -> dict[str, Callable[[], pd.DataFrame]]:
    """Return table name -> what computes it again from runs/."""
    queries, photos = uncertainty.read_queries(paths), read_photos(paths)
    opened = study.Study.open(paths.profile)
    settings = uncertainty.load_resampling(paths.profile)
    tables: dict[str, pd.DataFrame] = {}

    def uncertain(name: str) -> pd.DataFrame:
        if not tables:
            window, untrained = opened.evaluation.exclusion_window, uncertainty.untrained_networks(paths)
            tables.update(
                uncertainty.uncertainty_tables(queries, photos, settings, window=window, untrained=untrained)
            )
        return tables[name]

    return {
        "catalogue": lambda: class_counts(photos),
        "training": lambda: study.training_log(opened),
        "checkpoints": lambda: study.read_checkpoints(opened),
        "retrieval": lambda: summarised(queries),
        **{name: lambda name=name: uncertain(name) for name in ("intervals", "seed_spread", "differences")},
        **study_makers(paths, settings),
    }


def study_makers(paths: Paths, resampling: uncertainty.Resampling) -> dict[str, Callable[[], pd.DataFrame]]:
    """Return table name -> what computes a table of the human study again; {} where none was planned."""
    plan_path = human_study.plan_file(paths.human_study)
    if not plan_path.is_file():
        return {}
    plan = human_study.read_plan(plan_path)
    key = human_study.read_key(human_study.key_file(paths.human_study), plan=plan)
    settings = human_study.HumanStudySettings.load(paths.profile)
    answers, source = study_analysis.answers_of(paths, plan, key, settings)
    tables = study_analysis.study_tables(
        answers, key, source=source, settings=settings, resampling=resampling
    )
    return {name: lambda table=table: table for name, table in tables.items()}


def summarised(queries: pd.DataFrame) -> pd.DataFrame:
    """Return results rows (see retrieval.summarise) of every model, seed and gallery among queries."""
    ks = [k for metric, k in uncertainty.measures(queries).values() if metric == "precision"]
    groups = queries.groupby(["model", "seed", "gallery"], sort=False)
    rows = [
        summarise(rows, model=model, seed=seed, gallery=gallery, ks=ks)
        for (model, seed, gallery), rows in groups
    ]
    return pd.concat(rows, ignore_index=True)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as a committed file would give it back: six digits, its types guessed."""
    return pd.read_csv(io.StringIO(table.to_csv(index=False, float_format="%.6g")))


def as_text(column: pd.Series) -> pd.Series:
    """Return a column as text, "" for gaps."""
    return column.astype(object).where(column.notna(), "").astype(str)


def table_fault(found: pd.DataFrame, committed: pd.DataFrame) -> str:
    """Return where two tables differ, beyond the rounding of six digits; "" where they do not."""
    if list(found.columns) != list(committed.columns):
        return f"has the columns {', '.join(committed.columns)}, not {', '.join(found.columns)}"
    if len(found) != len(committed):
        return f"has {len(committed)} rows, not {len(found)}"
    for column in found:
        first, second = found[column], committed[column]
        if all(map(pd.api.types.is_numeric_dtype, (first, second))) and first.dtype != bool:
            same = np.isclose(first, second, rtol=ROUNDED, atol=1e-9, equal_nan=True)
        else:
            same = (as_text(first) == as_text(second)).to_numpy()
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            return f"line {row + 2}: {column} is {second.iloc[row]}, computed again {first.iloc[row]}"
    return ""


def check_verdicts(paths: Paths) -> Iterator[Check]:
    """Compute every verdict again from the committed tables, and both reports."""
    ledger, folder = claims.read_ledger(), f"results/{paths.profile}"
    target = paths.result("claims")
    if not target.is_file():
        yield Check(FAIL, f"{folder}/claims.csv", "is missing; stage claims writes it")
        return
    found = claims.verdicts(paths.profile, ledger=ledger)
    committed = read_table(target, made_by="stage claims", dtype=str, keep_default_na=False)
    fault = table_fault(found.astype(str), committed)
    yield Check(FAIL if fault else PASS, f"{folder}/claims.csv", fault or f"{len(found)} verdicts again")
    for kind, make in (("md", claims_report.markdown_report), ("html", claims_report.html_report)):
        path, wanted = paths.results / f"claims.{kind}", make(paths.profile, found, ledger)
        same = path.is_file() and path.read_text(encoding="utf-8") == wanted
        words = "written again, the same" if same else "not what the verdicts give (or missing)"
        yield Check(PASS if same else FAIL, f"{folder}/claims.{kind}", words)


# --- figures and README ----------------------------------------------------------------------------------


def check_figures(paths: Paths) -> Iterator[Check]:
    """Draw every chart again from its committed table and compare the picture."""
    for name, chart in charts.CHARTS.items():
        target, line = paths.figures / f"{name}.png", f"figures/{paths.profile}/{name}.png"
        lacking = [table for table in chart.tables if not paths.result(table).is_file()]
        if lacking and not target.is_file():
            yield Check(SKIP, line, f"no table {lacking[0]}.csv, and no picture")
            continue
        try:
            figure = registry.drawn(chart, paths)
            fault, words = picture_fault(picture_bytes(figure), target, most=SAME_LOOK)
        except InputError as error:
            fault, words = True, str(error)
        yield Check(FAIL if fault else PASS, line, words)


def picture_bytes(figure) -> bytes:
    """Return a figure as the PNG that `figures.save` writes; closes it."""
    from matplotlib import pyplot

    picture = io.BytesIO()
    drawing.write_picture(figure, picture, kind="png")
    pyplot.close(figure)
    return picture.getvalue()


def picture_fault(wanted: bytes, path: Path, *, most: float) -> tuple[bool, str]:
    """Return (whether a PNG differs too much from what it should be, in words); `most` is of 255."""
    if not path.is_file():
        return True, "is missing"
    if path.read_bytes() == wanted:
        return False, "drawn again, the same bytes"
    try:
        with Image.open(io.BytesIO(wanted)) as first, Image.open(path) as second:
            pixels = [np.asarray(image.convert("RGB"), dtype=float) for image in (first, second)]
    except OSError as error:
        return True, f"is no picture ({error})"
    if pixels[0].shape != pixels[1].shape:
        return True, f"is {pixels[1].shape[1]}x{pixels[1].shape[0]} pixels, drawn again another size"
    change = float(np.abs(pixels[0] - pixels[1]).mean())
    return change > most, f"drawn again, pixels differ by {change:.2f} of 255 (at most {most:g})"


def check_readme(paths: Paths) -> Iterator[Check]:
    """See that the README's generated blocks are what the results give.

    After a run of the user's own the results are newer than the README, if only by their times.
    """
    path = paths.root / "README.md"
    text = report.read_readme(path)
    if report.filled(text, name=path.name) == text:
        yield Check(PASS, "README.md", "its blocks are what the results give")
    elif ran_since_commit(paths.root):
        yield Check(SKIP, "README.md", "older than your own run (dvc.lock); `make readme` writes its numbers")
    else:
        yield Check(FAIL, "README.md", "its blocks are stale; run `make readme`")


def ran_since_commit(root: Path) -> bool:
    """Tell whether dvc.lock records another run than the committed one; False where Git knows of none."""
    command = ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no", "--", "dvc.lock"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no Git
        return False
    return ended.returncode == 0 and bool(ended.stdout.strip())


# --- the quick way ---------------------------------------------------------------------------------------

QUICK = (
    check_recorded, check_environment, check_derived, check_verdicts, check_figures, check_readme,
)  # fmt: skip


def quick(paths: Paths) -> Iterator[Check]:
    """Re-read a profile; bad input of one check is a FAIL of its own and does not stop the others."""
    for check in QUICK:
        try:
            yield from check(paths)
        except InputError as error:
            yield Check(FAIL, check.__name__.removeprefix("check_"), str(error))


# --- the full way ----------------------------------------------------------------------------------------


def tolerances() -> pd.DataFrame:
    """Return the table: file, column, kind (absolute, factor, share, skip, pixels), tolerance, reason."""
    return pd.read_csv(Path(__file__).with_name("tolerances.csv"), keep_default_na=False)


def expected_minutes(paths: Paths) -> float:
    """Return the minutes that the committed run took; 0 where that is not recorded."""
    stages = report.read_run(paths.profile).get("stages", {})
    return sum(float(stage.get("seconds", 0)) for stage in stages.values()) / 60


def full(paths: Paths) -> Iterator[Check]:
    """Run the profile in a temporary copy and compare its tables and charts with the committed ones."""
    with tempfile.TemporaryDirectory(prefix="solesearch-verify-") as folder:
        copy = Path(folder) / "solesearch"
        copy_project(paths, copy)
        fault = run_pipeline(copy)
        if fault:
            yield Check(FAIL, "dvc repro", fault)
            return
        yield check_photographs(paths, Paths(paths.profile, copy))
        yield from compare_results(paths, Paths(paths.profile, copy))


def check_photographs(paths: Paths, again: Paths) -> Check:
    """Tell whether the new run's photographs are those of the committed results, which the rest presumes."""
    now = json.loads(again.manifest.read_text(encoding="utf-8"))
    differs = other_photographs(now, paths.results / "manifest.json")
    name, words = f"results/{paths.profile}/manifest.json", "the photographs of the committed results"
    return Check(FAIL if differs else PASS, name, differs or words)


def copy_project(paths: Paths, target: Path) -> None:
    """Copy the project without runs and environment; link photographs and weights; keep one profile."""
    shutil.copytree(paths.root, target, ignore=shutil.ignore_patterns(*LEFT_BEHIND), symlinks=True)
    (target / "data").mkdir()
    for slot in (paths.root / "data").iterdir():
        (target / "data" / slot.name).symlink_to(slot.resolve())
    if (paths.root / "weights").exists():
        (target / "weights").symlink_to((paths.root / "weights").resolve())
    params = target / "params.yaml"
    parameters = {**load_parameters(), "profiles": [paths.profile]}
    params.write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")


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
    """Compare every committed table and chart with the new run's, within the tolerances.

    Where this machine has ImageNet weights that the committed run had not, the rows of those networks have
    become real: they are told apart and left out, with what rests on them; the rest is compared as ever.
    """
    rules, real = tolerances(), became_real(committed, again)
    for path in sorted(committed.results.glob("*.csv")):
        other, name = again.results / path.name, f"results/{committed.profile}/{path.name}"
        if not other.is_file():
            yield Check(FAIL, name, "the new run did not write it")
            continue
        tables, own_rules = (pd.read_csv(path), pd.read_csv(other)), rules[rules["file"] == path.stem]
        yield from compare_table(name, tables, own_rules, real=set() if path.stem in WEIGHTLESS else real)
    most = float(rules.loc[rules["kind"] == "pixels", "tolerance"].iloc[0])
    for path in sorted(committed.figures.glob("*.png")):
        other = again.figures / path.name
        wanted = other.read_bytes() if other.is_file() else b""
        fault, words = picture_fault(wanted, path, most=most)
        excused = bool(fault) and shows(path.stem, committed, real)
        words = f"{words}; it shows {_listed(real)}, real here" if excused else words
        state = SKIP if excused else FAIL if fault else PASS
        yield Check(state, f"figures/{committed.profile}/{path.name}", words)


def compare_table(
    name: str, tables: tuple[pd.DataFrame, pd.DataFrame], rules: pd.DataFrame, *, real: set[str]
) -> Iterator[Check]:
    """Compare a committed table with the new run's, without the rows of networks that have become real."""
    rows = [named_in(table, real) for table in tables]
    kept = [table[~row].reset_index(drop=True) for table, row in zip(tables, rows, strict=True)]
    fault = within(*kept, rules)
    if fault and real and Path(name).stem in REST_ON_NETWORKS:
        yield Check(SKIP, name, f"differs, and rests on {_listed(real)}, real here ({fault})")
        return
    yield Check(FAIL if fault else PASS, name, fault or "run again, within the tolerances")
    if rows[0].any():
        words = f"{rows[0].sum()} rows have become real: ImageNet weights of {_listed(real)}"
        yield Check(SKIP, name, words)


def shows(chart: str, committed: Paths, real: set[str]) -> bool:
    """Tell whether a chart is drawn from a table that networks which have become real are in, or behind."""
    known = charts.CHARTS.get(chart)
    for name in (*known.tables, *known.beside) if known and real else ():
        path = committed.result(name)
        if name in REST_ON_NETWORKS or (path.is_file() and named_in(pd.read_csv(path), real).any()):
            return name not in WEIGHTLESS
    return False


def became_real(committed: Paths, again: Paths) -> set[str]:
    """Return the networks that were untrained in the committed run and have weights in the new one."""
    plain = []
    for paths in (committed, again):
        path = paths.result("networks")
        table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["model", "weights"])
        plain.append(
            {re.split("[+@]", model)[0] for model in table.loc[table["weights"] == NO_WEIGHTS, "model"]}
        )
    return plain[0] - plain[1]


def named_in(table: pd.DataFrame, networks: set[str]) -> pd.Series:
    """Return which rows of a table are about one of the networks: as it is, retrained, scaled otherwise."""

    def about(cell: object) -> bool:
        return re.split("[+@]", str(cell))[0] in networks

    texts = table.select_dtypes(exclude="number")
    return texts.map(about).any(axis=1) if networks and len(texts.columns) else pd.Series(False, table.index)


def _listed(networks: set[str]) -> str:
    return ", ".join(sorted(networks))


def within(committed: pd.DataFrame, again: pd.DataFrame, rules: pd.DataFrame) -> str:
    """Return where a table lies beyond the tolerances of its columns, or nothing; others must be equal."""
    if list(committed.columns) != list(again.columns) or len(committed) != len(again):
        return (
            f"is {committed.shape[0]} x {committed.shape[1]}, run again {again.shape[0]} x {again.shape[1]}"
        )
    kinds = {row["column"]: (row["kind"], float(row["tolerance"])) for row in rules.to_dict("records")}
    for column in committed:
        kind, tolerance = kinds.get(column, ("equal", 0.0))
        fault = column_fault(committed[column], again[column], kind=kind, tolerance=tolerance)
        if fault:
            return f"{column}: {fault}"
    return ""


def column_fault(committed: pd.Series, again: pd.Series, *, kind: str, tolerance: float) -> str:
    """Return how far a column lies beyond its tolerance, or nothing."""
    if kind == "skip":
        return ""
    alike = as_text(committed) == as_text(again)
    if kind == "share":
        return f"{alike.mean():.2f} are equal, {tolerance:g} asked for" if alike.mean() < tolerance else ""
    if kind == "equal":
        row = int(np.flatnonzero(~alike)[0]) if not alike.all() else 0
        return "" if alike.all() else f"line {row + 2}: {committed.iloc[row]}, run again {again.iloc[row]}"
    first, second = (pd.to_numeric(one, errors="coerce").to_numpy(float) for one in (committed, again))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(first - second) if kind == "absolute" else np.maximum(first / second, second / first)
    beyond = ~alike.to_numpy() & ~(apart <= tolerance)
    row = int(np.flatnonzero(beyond)[0]) if beyond.any() else 0
    words = f"line {row + 2}: {first[row]:.4g}, run again {second[row]:.4g} (tolerance {tolerance:g}, {kind})"
    return words if beyond.any() else ""


# --- the command -----------------------------------------------------------------------------------------


def verify(profile: str, *, whole: bool) -> bool:
    """Print a line a check and a last one with the counts; return whether nothing failed."""
    paths, counts = Paths.of(profile), {PASS: 0, FAIL: 0, SKIP: 0}
    claims.load_claim_settings(profile)  # an unknown profile is named before anything else
    minutes = expected_minutes(paths)
    print(f"{profile}: {f'about {minutes:.0f} minutes' if whole else 'about half a minute'}", flush=True)
    for check in full(paths) if whole else quick(paths):
        print(check, flush=True)
        counts[check.state] += 1
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
