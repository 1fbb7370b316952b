"""The README's tables and sentences, made from the committed results alone: no figure is typed by hand.

`python -m solesearch.report` fills the README's blocks (`<!-- NAME:begin -->` to `<!-- NAME:end -->`),
`--check` exits 1 when they are not what the results give, `--summary [PROFILE ...]` ends `make repro` with a
plain table. Needs pandas and nothing heavier: no TensorFlow, no matplotlib.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from solesearch import files
from solesearch.errors import InputError
from solesearch.paths import Paths, repository_root
from solesearch.settings import load_parameters

K = 5  # P's galleries show five neighbours; k itself is never stated
MODELS = {
    "infogan": "InfoGAN (proposed)",
    "untrained_discriminator": "Discriminator, untrained",
    "hog": "HOG",
    "pixels": "Raw pixels",
    "colour_histogram": "Colour histogram",
    "mean_colour": "Mean colour",
    "random": "Random",
}
CONTROLS = ("hog", "pixels", "colour_histogram", "mean_colour")
GALLERIES = {"naive": "naive", "product_excluded": "product excluded"}
# profile -> (what its photos are, where a sentence places them)
PROFILES = {
    "sample": ("synthetic", "the drawn, synthetic catalogue"),
    "zappos": ("real photographs", "the real photographs"),
    "paper": ("official UT-Zap50K", "the official UT-Zap50K tree"),
    "smoke": ("synthetic, for tests", "the tests' few drawn, synthetic photos"),
}
DRAWN = ("sample", "smoke")
REAL_FIRST = ("paper", "zappos", "sample")
README_PROFILES = ("sample", "zappos", "paper")  # the last one only where it was run
NOT_RUN, NOT_RECORDED, NONE = "not run yet", "not recorded", "—"
PROPOSED_IN_PAPER = "Proposed"
MARKER = re.compile(r"<!-- ([A-Za-z][\w-]*):(begin|end) -->")


# --- reading ---------------------------------------------------------------------------------------------


def read_result(profile: str, name: str, *, text: str, numbers: str) -> pd.DataFrame | None:
    """Return results/<profile>/<name>.csv, its columns `text` as str, `numbers` as float; None if absent.

    Raises InputError that names the file when a column is missing or a number is none.
    """
    path = Paths.of(profile).result(name)
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a whole CSV ({error}); run stage evaluate again") from error
    missing = [column for column in f"{text} {numbers}".split() if column not in table]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; run stage evaluate again")
    for column in numbers.split():
        values = pd.to_numeric(table[column], errors="coerce")
        if values.isna().any():
            line = int(values.isna().to_numpy().argmax()) + 2
            raise InputError(f"{path}, line {line}: {column} is {table[column][line - 2]!r}, not a number")
        table[column] = values
    return table


def published() -> pd.DataFrame:
    """Return P Table II, one row a model: model, size_mb, time_s, precision (a fraction), source."""
    return pd.read_csv(Path(__file__).with_name("published.csv"))


def published_row(model: str) -> pd.Series | None:
    """Return what P prints for `model` (`infogan` is its proposed one); None where it prints nothing."""
    wanted = PROPOSED_IN_PAPER if model == "infogan" else model
    table = published()
    found = table[table["model"].str.lower() == wanted.lower().replace("_", "")]
    return None if found.empty else found.iloc[0]


def precision_rows(profile: str) -> pd.DataFrame | None:
    """Return a profile's precision@5 over all queries: model, seed, gallery, value, n; None if not run.

    Raises InputError for a precision outside 0..1 and for a row that is there twice.
    """
    table = read_result(profile, "retrieval", text="model gallery metric class", numbers="seed k value n")
    if table is None:
        return None
    path = Paths.of(profile).result("retrieval")
    rows = table[(table["metric"] == "precision") & (table["k"] == K) & (table["class"] == "all")]
    if not rows["value"].between(0, 1).all():
        raise InputError(f"{path}: a precision lies outside 0 to 1; run stage evaluate again")
    if rows.duplicated(["model", "seed", "gallery"]).any():
        raise InputError(f"{path}: a model, seed and gallery occur twice; run stage evaluate again")
    return rows


# --- one number and its seeds ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """One model's precision@5 in one gallery: a value a seed (fractions), and the number of queries."""

    values: tuple[float, ...]
    seeded: bool  # False: nothing random, one value says it all
    queries: int

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Largest minus smallest value over the seeds."""
        return max(self.values) - min(self.values)

    def __str__(self) -> str:
        """Return `0.873 (0.870–0.876)`; one value stands alone."""
        if len(self.values) == 1:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ({min(self.values):.3f}–{max(self.values):.3f})"


def measure(rows: pd.DataFrame, model: str, gallery: str) -> Measure | None:
    """Return a model's measure from `precision_rows`; None where the model was not judged."""
    found = rows[(rows["model"] == model) & (rows["gallery"] == gallery)].sort_values("seed")
    if found.empty:
        return None
    return Measure(tuple(found["value"]), bool((found["seed"] != 0).any()), int(found["n"].min()))


def compare(first: Measure, second: Measure) -> str:
    """Say how `first` stands to `second`: higher, lower, within (the seeds' range) or unknown (one seed).

    A gap counts only when it is larger than the range over the seeds of either, their ranges do not
    overlap, and the printed means differ.
    """
    if any(side.seeded and len(side.values) == 1 for side in (first, second)):
        return "unknown"
    gap = first.mean - second.mean
    overlap = max(first.values) >= min(second.values) and max(second.values) >= min(first.values)
    alike = f"{first.mean:.3f}" == f"{second.mean:.3f}"
    if overlap or alike or abs(gap) <= max(first.spread, second.spread):
        return "within"
    return "higher" if gap > 0 else "lower"


# --- tables ----------------------------------------------------------------------------------------------


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are set left, the others right."""
    lines = [header, ["---" if column < left else "---:" for column in range(len(header))], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def title(profile: str) -> str:
    """Return `sample (synthetic)`; a profile of the user's own stands alone."""
    return f"{profile} ({PROFILES[profile][0]})" if profile in PROFILES else profile


def readme_profiles() -> list[str]:
    """Return the README's columns: sample and zappos always, paper once it has results."""
    return [name for name in README_PROFILES if name != "paper" or precision_rows(name) is not None]


def results_table(profiles: Sequence[str]) -> str:
    """Return precision@5 as Markdown: a row a model; P's column, then each profile's two galleries."""
    header = ["Model", "paper"]
    header += [f"{title(profile)}, {words}" for profile in profiles for words in GALLERIES.values()]
    measured = {profile: precision_rows(profile) for profile in profiles}
    rows = []
    for model, name in MODELS.items():
        paper = published_row(model)
        cells = [name, NONE if paper is None else f"{paper['precision']:.2f}"]
        for profile in profiles:
            cells += precision_cells(measured[profile], model)
        rows.append(cells)
    return markdown_table(header, rows)


def precision_cells(rows: pd.DataFrame | None, model: str) -> list[str]:
    """Return a model's cells, one a gallery."""
    if rows is None:
        return [NOT_RUN] * len(GALLERIES)
    return [str(measure(rows, model, gallery) or NONE) for gallery in GALLERIES]


def results_note(profiles: Sequence[str]) -> str:
    """Return what the table's numbers are: measure, seeds, number of queries, and the paper's terms."""
    counts = []
    for profile in profiles:
        rows = precision_rows(profile)
        if rows is not None and not rows.empty:
            seeds = sorted({int(seed) for seed in rows["seed"] if seed})
            named = f", seeds {', '.join(map(str, seeds))}" if seeds else ""
            counts.append(f"{profile} {int(rows['n'].max()):,} queries{named}")
    measured = f" Measured: {'; '.join(counts)}." if counts else ""
    paper = published_row("infogan")
    return (
        f"Precision@{K} over all test queries, mean over the seeds and their range in parentheses.{measured} "
        f"Paper: {paper['source'].partition(' (')[0]}, for 10,000 UT-Zap50K photos in eight classes, k not "
        "stated; it stands beside the measured columns, not against them."
    )


def latency_table(profiles: Sequence[str]) -> str:
    """Return the time of one photo (median, batch 1) and the sizes as Markdown, P's values beside them."""
    header = ["Profile", "Model", "Runtime", "measured ms", "paper ms", "parameters", "file MB", "paper MB"]
    rows, machines = [], []
    for profile in profiles:
        table = read_result(
            profile, "latency", text="model runtime machine", numbers="batch median_ms parameters file_mb"
        )
        if table is None:
            rows.append([title(profile), *[NOT_RUN] * 3, NONE, *[NOT_RUN] * 2, NONE])
            continue
        single = table[table["batch"] == 1]
        rows += [_latency_cells(profile, row) for _, row in single.iterrows()]
        machines += [f"{profile}: {name}" for name in single["machine"].unique()]
    note = f"Batch 1, decoded photo to vector. {'. '.join(machines)}.\n" if machines else ""
    paper = published_row("infogan")
    return (
        f"{markdown_table(header, rows, left=3)}\n\n{note}"
        f"Paper: {paper['source']}, on the CPU of another machine; which of the networks its size counts "
        "is not stated."
    )


def _latency_cells(profile: str, row: pd.Series) -> list[str]:
    paper = published_row(row["model"])
    return [
        title(profile),
        MODELS.get(row["model"], row["model"]),
        row["runtime"],
        f"{row['median_ms']:.3g}",
        NONE if paper is None else f"{paper['time_s'] * 1000:g}",
        f"{int(row['parameters']):,}" if row["parameters"] else NONE,
        f"{row['file_mb']:.1f}" if row["file_mb"] else NONE,
        NONE if paper is None else f"{paper['size_mb']:g}",
    ]


def checkpoints_table(profiles: Sequence[str]) -> str:
    """Return the chosen training step of each seed as Markdown, beside the untrained step 0."""
    header = ["Profile", "Seed", "Chosen step", "of checkpoints"]
    header += [f"{when}, {words}" for when in ("chosen", "untrained") for words in GALLERIES.values()]
    rows = []
    for profile in profiles:
        table = read_result(
            profile, "checkpoints", text="model gallery metric chosen", numbers="seed step k value n"
        )
        if table is None:
            rows.append([title(profile), *[NOT_RUN] * (len(header) - 1)])
            continue
        swept = table[table["model"] == "infogan"]  # the controls stand there, too, without a choice
        rows += [_checkpoint_cells(profile, seed, found) for seed, found in swept.groupby("seed")]
    note = (
        f"Precision@{K} on the validation photos, by which the step was chosen; test photos played no part."
    )
    return f"{markdown_table(header, rows)}\n\n{note}"


def _checkpoint_cells(profile: str, seed: float, rows: pd.DataFrame) -> list[str]:
    steps = rows.loc[rows["chosen"].str.lower() == "true", "step"].unique()
    if len(steps) != 1:
        path = Paths.of(profile).result("checkpoints")
        raise InputError(f"{path}: seed {seed:g} has {len(steps)} chosen steps; run stage evaluate again")
    trained = rows.loc[rows["step"] > 0, "step"].nunique()
    values = rows[(rows["metric"] == "precision") & (rows["k"] == K)].set_index(["step", "gallery"])["value"]
    cells = [title(profile), f"{seed:g}", f"{steps[0]:g}", str(trained)]
    for step in (steps[0], 0):
        cells += [f"{values[step, name]:.3f}" if (step, name) in values else NONE for name in GALLERIES]
    return cells


# --- sentences -------------------------------------------------------------------------------------------

TRAINING = {
    "higher": "the gap of {gap} is larger than the seeds' range: training helps here",
    "lower": "the gap of {gap} is larger than the seeds' range: training does not help here",
    "within": "the gap of {gap} is not clear of the seeds' range: nothing is claimed for or against training",
    "unknown": "with one seed there is no range to hold the gap of {gap} against, so nothing is claimed",
}
CONTROL = {
    "higher": "so the trained discriminator beats every feature that nobody trained",
    "lower": "so the trained discriminator does not beat a feature that nobody trained",
    "within": "too close to the trained discriminator to claim a difference",
    "unknown": "and with one seed nothing is claimed on which of the two is better",
}
EXCLUSION = {
    "higher": "a rise of {gap}",
    "lower": "{gap} less, which is what the query's own product had brought",
    "within": "a difference of {gap}, not clear of the seeds' range",
    "unknown": "a difference of {gap}, from one seed",
}


def findings(profiles: Sequence[str]) -> list[str]:
    """Return the sentences on what was found, real photographs first.

    The wording follows from the comparison of the numbers (`compare`); no outcome is written down here.
    """
    done = {profile: rows for profile in profiles if (rows := precision_rows(profile)) is not None}
    order = [profile for profile in (*REAL_FIRST, *profiles) if profile in done]
    order = list(dict.fromkeys(order))
    if not order:
        return [f"Nothing to report: {', '.join(profiles)} {NOT_RUN}."]
    first, *others = order
    told = [training_finding, control_finding, exclusion_finding]
    sentences = [tell(first, done[first]) for tell in told]
    sentences += [training_finding(profile, done[profile]) for profile in others[:1]]
    sentences += [paper_finding(first, done[first])] if first not in DRAWN else [_missing_finding(profiles)]
    return [sentence for sentence in sentences if sentence]


def place(profile: str) -> str:
    """Return the words that a sentence uses for a profile's photos."""
    return PROFILES[profile][1] if profile in PROFILES else f"the photos of profile {profile}"


def _gap(first: Measure, second: Measure) -> str:
    return f"{abs(first.mean - second.mean):.3f}"


def training_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on the trained discriminator and its untrained twin; None where one is missing."""
    trained, untrained = (measure(rows, model, "naive") for model in ("infogan", "untrained_discriminator"))
    if not trained or not untrained:
        return None
    verdict = TRAINING[compare(trained, untrained)].format(gap=_gap(trained, untrained))
    return (
        f"On {place(profile)} ({trained.queries:,} queries, naive gallery) the trained discriminator reaches "
        f"{trained}, its untrained twin {untrained}; {verdict}."
    )


def control_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on the best feature that nobody trained; None where there is nothing to compare."""
    trained = measure(rows, "infogan", "naive")
    controls = {name: found for name in CONTROLS if (found := measure(rows, name, "naive"))}
    if not trained or not controls:
        return None
    best = max(controls, key=lambda name: controls[name].mean)
    verdict = CONTROL[compare(trained, controls[best])]
    return f"The best control there is {MODELS[best]} with {controls[best]}, {verdict}."


def exclusion_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on the gallery without the query's own product; None where it was not judged."""
    naive, excluded = (measure(rows, "infogan", gallery) for gallery in GALLERIES)
    if not naive or not excluded:
        return None
    verdict = EXCLUSION[compare(excluded, naive)].format(gap=_gap(excluded, naive))
    return f"Without the query's own product in the gallery, the trained one reaches {excluded}: {verdict}."


def paper_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence that sets P's published precision beside the measured one."""
    trained, paper = measure(rows, "infogan", "naive"), published_row("infogan")
    if not trained:
        return None
    return (
        f"P prints {paper['precision']:.2f} for its network on eight classes of UT-Zap50K; which 10,000 "
        f"photos and which k is not stated, so {trained.mean:.3f} neither confirms nor refutes it."
    )


def _missing_finding(profiles: Sequence[str]) -> str | None:
    absent = [title(name) for name in profiles if name not in DRAWN]
    return f"{', '.join(absent)}: {NOT_RUN}, so nothing here speaks of photographs." if absent else None


# --- time and memory -------------------------------------------------------------------------------------


def read_run(profile: str) -> dict[str, Any]:
    """Return results/<profile>/run.json (the machine's facts and `stages`); {} if absent.

    Raises InputError that names the file when it is not such a record.
    """
    path = Paths.of(profile).results / "run.json"
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        stages = record.get("stages", {}).values()
        [float(stage[key]) for stage in stages for key in ("seconds", "peak_memory_mb") if key in stage]
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a record of a run ({error}); run the profile again") from error
    return record


def machine_block(profiles: Sequence[str]) -> str:
    """Return minutes and memory of each profile as Markdown, and the machine they were taken on."""
    header = ["Profile", "minutes", "longest stage", "peak memory", "machine", "versions"]
    return markdown_table(header, [[title(name), *run_cells(name)] for name in profiles], left=6)


def run_cells(profile: str) -> list[str]:
    """Return minutes, longest stage, peak memory, machine and versions of a profile, as far as recorded."""
    record = read_run(profile)
    stages = record.get("stages", {})
    seconds = {name: float(stage["seconds"]) for name, stage in stages.items() if "seconds" in stage}
    peaks = [float(stage["peak_memory_mb"]) for stage in stages.values() if "peak_memory_mb" in stage]
    longest = max(seconds, key=seconds.get) if seconds else None
    facts = [record.get("cpu"), _with_unit(record, "cores", "cores"), _with_unit(record, "memory_gb", "GiB")]
    versions = record.get("versions") or {}
    return [
        minutes(sum(seconds.values())) if seconds else NOT_RECORDED,
        f"{longest} ({minutes(seconds[longest])})" if longest else NOT_RECORDED,
        f"{max(peaks) / 1024:.1f} GiB" if peaks else NOT_RECORDED,
        ", ".join(fact for fact in facts if fact) or NOT_RECORDED,
        ", ".join(f"{name} {number}" for name, number in versions.items()) or NOT_RECORDED,
    ]


def _with_unit(record: dict[str, Any], key: str, unit: str) -> str | None:
    return f"{record[key]:g} {unit}" if isinstance(record.get(key), int | float) else None


def minutes(seconds: float) -> str:
    """Return seconds as minutes: one decimal below ten, none above."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"


# --- the README ------------------------------------------------------------------------------------------


def results_block() -> str:
    """Return precision, time and chosen checkpoints, one table each."""
    profiles = readme_profiles()
    parts = [results_table(profiles), results_note(profiles), "One photo, and how large the model is:"]
    parts += [latency_table(profiles), "The checkpoint that each seed was judged with:"]
    return "\n\n".join([*parts, checkpoints_table(profiles)])


def findings_block() -> str:
    """Return the findings as a list."""
    return "\n".join(f"- {sentence}" for sentence in findings(readme_profiles()))


BLOCKS: dict[str, Callable[[], str]] = {
    "results": results_block,
    "findings": findings_block,
    "machine": lambda: machine_block(readme_profiles()),
}


def filled(text: str, *, name: str) -> str:
    """Return `text` with every block's content replaced; raises InputError for markers that do not pair."""
    kept, inside = [], None
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        marker = MARKER.fullmatch(line.strip())
        if marker is None:
            kept += [line] if inside is None else []
            continue
        block, edge = marker.groups()
        if block not in BLOCKS or (edge == "begin") != (inside is None) or (inside or block) != block:
            raise InputError(
                f"{name}, line {number}: {line.strip()} is out of place or unknown; blocks are "
                f"{', '.join(BLOCKS)}, each begun and ended once"
            )
        kept += [line, "", BLOCKS[block](), ""] if edge == "begin" else [line]
        inside = block if edge == "begin" else None
    if inside:
        raise InputError(f"{name}: <!-- {inside}:begin --> is never ended; add <!-- {inside}:end -->")
    return "\n".join(kept) + "\n"


def read_readme(path: Path) -> str:
    """Return the README's text; raises InputError when it is missing or has no results block."""
    if not path.is_file():
        raise InputError(
            f"{path}: not there; write it with <!-- results:begin --> and <!-- results:end --> lines"
        )
    text = path.read_text(encoding="utf-8")
    if "<!-- results:begin -->" not in text.splitlines():
        raise InputError(f"{path}: has no line <!-- results:begin -->, so no table can be put in")
    return text


def update_readme(path: Path) -> bool:
    """Fill the README's blocks from the results, whole or not at all; return whether it changed."""
    old = read_readme(path)
    new = filled(old, name=path.name)
    if new != old:
        files.write_text(path, new)
    return new != old


# --- the terminal ----------------------------------------------------------------------------------------


def summary(profiles: Sequence[str]) -> str:
    """Return where results and figures lie, and precision@5, as plain text for the terminal.

    Without profiles: those that params.yaml runs. Raises InputError for a profile that it does not have.
    """
    parameters = load_parameters()
    known = [name for name, value in parameters.items() if isinstance(value, dict)]
    unknown = [name for name in profiles if name not in known]
    if unknown:
        raise InputError(f"params.yaml has no profile {unknown[0]!r}; there are {', '.join(known)}")
    return "\n\n".join(_profile_summary(name) for name in (profiles or parameters["profiles"]))


def _profile_summary(profile: str) -> str:
    paths, rows = Paths.of(profile), precision_rows(profile)
    if rows is None:
        return f"{title(profile)}: {NOT_RUN}; add it to `profiles` in params.yaml, then `make repro`"
    table = [[f"precision@{K}", *GALLERIES.values()]]
    table += [[name, *precision_cells(rows, model)] for model, name in MODELS.items()]
    spent, _, peak, *_ = run_cells(profile)
    lines = [
        title(profile),
        f"  results   {_listed(paths.results, paths.root, '*.csv')}",
        f"  figures   {_listed(paths.figures, paths.root, '*.png')}",
        f"  pictures  {_listed(paths.galleries, paths.root, '*.png')}",
        f"  notebooks {_listed(paths.notebooks, paths.root, '*.ipynb')}",
        f"  minutes   {spent}, peak memory {peak}",
        "",
        *(f"  {line}" for line in plain_table(table)),
    ]
    return "\n".join(lines)


def _listed(folder: Path, root: Path, pattern: str) -> str:
    names = sorted(path.name for path in folder.glob(pattern))
    return f"{folder.relative_to(root).as_posix()}/  {', '.join(names) or 'nothing there yet'}"


def plain_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines whose columns are padded to one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _readme(path: Path, *, check: bool) -> int:
    if not check:
        print(f"{path.name}: {'updated' if update_readme(path) else 'unchanged'}")
        return 0
    if filled(text := read_readme(path), name=path.name) == text:
        return 0
    print(f"{path.name}: not what the results give; run `make readme`", file=sys.stderr)
    return 1


def main(arguments: list[str] | None = None) -> int:
    """Fill the README's blocks from the results, check them, or print a summary."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.report", description=main.__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="write nothing; exit 1 when the README is stale")
    choice.add_argument("--summary", nargs="*", metavar="PROFILE", help="print where everything lies")
    parser.add_argument("--readme", type=Path, help="another file than README.md")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.summary is not None:
            print(summary(chosen.summary))
            return 0
        return _readme(chosen.readme or repository_root() / "README.md", check=chosen.check)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
