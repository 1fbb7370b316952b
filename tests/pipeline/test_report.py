"""The README's tables and sentences against worked numbers, and what happens to damaged files."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_runs import handed_out

from solesearch.core.errors import InputError
from solesearch.core.measures import Measure, compare
from solesearch.core.published import published
from solesearch.evaluation import tables
from solesearch.pipeline import report
from solesearch.pipeline.findings import findings

ROOT = Path(__file__).parents[2]
SEED_ONE_AND_TWO = (1, 2)
RETRIEVAL = ["model", "seed", "gallery", "metric", "k", "class", "value", "n"]
CHECKPOINTS = ["model", "seed", "step", "gallery", "metric", "k", "value", "n", "chosen"]
LATENCY = [
    *("model", "runtime", "batch", "median_ms", "p95_ms"),
    *("images_per_s", "parameters", "file_mb", "machine"),
]
README = """# title

<!-- results:begin -->
old
<!-- results:end -->

by hand

<!-- findings:begin -->
<!-- findings:end -->
<!-- machine:begin -->
<!-- machine:end -->
"""


def retrieval(values: dict[str, list[float]], *, excluded_by: float = 0.01, n: int = 1000) -> pd.DataFrame:
    """One row a model, seed and gallery; models with one value have seed 0."""
    rows = []
    for model, per_seed in values.items():
        seeds = [0] if len(per_seed) == 1 else range(1, len(per_seed) + 1)
        for seed, value in zip(seeds, per_seed, strict=True):
            for gallery, off in (("naive", 0.0), ("product_excluded", excluded_by)):
                row = (model, seed, gallery, "precision", 5, "all", value - off, n)
                # rows that must not be taken: another k, class and metric
                decoys = [("precision", 1, "all"), ("precision", 5, "macro"), ("map", 0, "all")]
                rows += [row, *[(model, seed, gallery, *decoy, 0.111, n) for decoy in decoys]]
    return pd.DataFrame(rows, columns=RETRIEVAL)


REAL = {
    "infogan": [0.870, 0.876],
    "untrained_discriminator": [0.887, 0.889],
    "hog": [0.956],
    "pixels": [0.884],
    "random": [0.33, 0.34],
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An empty repository with the profiles sample and zappos."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text("profiles: [sample]\nsample: {}\nzappos: {}\n")
    (tmp_path / "README.md").write_text(README)
    monkeypatch.setenv("SOLESEARCH_ROOT", str(tmp_path))
    return tmp_path


def put(repository: Path, profile: str, name: str, table: pd.DataFrame) -> Path:
    path = repository / "results" / profile / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def cells(table: str, first: str) -> list[str]:
    """The cells of the Markdown row whose first cell is `first`."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()]
    (row,) = [row for row in rows if row[0] == first]
    return row[1:]


# --- numbers ---------------------------------------------------------------------------------------------


def test_results_table_worked_numbers(repository):
    put(repository, "zappos", "retrieval", retrieval(REAL))
    table = tables.results_table(["sample", "zappos"])
    assert table.splitlines()[0] == (
        "| Model | paper | sample (synthetic), naive | sample (synthetic), product excluded "
        "| zappos (real photographs), naive | zappos (real photographs), product excluded |"
    )
    ours = cells(table, "InfoGAN (proposed)")
    assert ours == ["0.84", "not run yet", "not run yet", "0.873 (0.870–0.876)", "0.863 (0.860–0.866)"]
    assert cells(table, "HOG") == ["—", "not run yet", "not run yet", "0.956", "0.946"]
    assert cells(table, "Mean colour") == ["—", "not run yet", "not run yet", "—", "—"]
    assert len(table.splitlines()) == 2 + 7


def test_results_note_names_queries_and_seeds(repository):
    put(repository, "zappos", "retrieval", retrieval(REAL, n=1440))
    assert "zappos 1,440 queries, seeds 1, 2." in tables.results_note(["sample", "zappos"])


def test_published_holds_the_papers_table():
    table = published().set_index("model")
    assert len(table) == 13
    assert not table.isna().to_numpy().any()
    assert tuple(table.loc["Proposed", ["size_mb", "time_s", "precision"]]) == (23.7, 0.004, 0.84)
    # sums, added by hand from the printed table
    assert table["size_mb"].sum() == pytest.approx(2108.7)
    assert table["time_s"].sum() == pytest.approx(1.524)
    groups = table["precision"].groupby(table.index.str.extract("^(VGG|ResNet|Inc|Mob|Dense)")[0].to_numpy())
    assert groups.sum().to_dict() == pytest.approx(
        {"VGG": 1.56, "ResNet": 2.41, "Inc": 1.15, "Mob": 1.17, "Dense": 1.81}
    )


def test_latency_table_sets_the_profiles_side_by_side_without_the_compiled_networks(repository):
    compiled = "TensorFlow (tf.function)"
    rows = [
        ("infogan", compiled, 1, 1.8765, 2.0, 500.0, 430000, 1.72, "AMD | 2 cores"),
        ("infogan", compiled, 32, 33.0, 35.0, 969.7, 430000, 1.72, "AMD | 2 cores"),
        ("VGG16", compiled, 1, 139.2, 150.0, 7.0, 14714688, 58.9, "AMD | 2 cores"),
        ("MobileNet", "ONNX Runtime", 1, 5.0, 6.0, 200.0, 3228864, 12.9, "AMD | 2 cores"),
        ("hog", "scikit-image", 1, 2.5, 3.0, 400.0, 0, 0.0, "AMD | 2 cores"),
        ("decode_and_resize_64x96", "Pillow", 1, 0.5, 0.6, 2000.0, 0, 0.0, "AMD | 2 cores"),
    ]
    put(repository, "sample", "latency", pd.DataFrame(rows, columns=LATENCY))
    put(repository, "paper", "latency", pd.DataFrame(rows[:1], columns=LATENCY).assign(median_ms=2.0))
    lines = tables.latency_table(["sample", "paper", "zappos"]).splitlines()
    away = "not run yet | not run yet"
    assert lines[2:7] == [
        f"| InfoGAN (proposed) | {compiled} | 1.88 | 970 | 2 | — | {away} | 430,000 | 1.7 |",
        f"| MobileNet | ONNX Runtime | 5 | — | — | — | {away} | 3,228,864 | 12.9 |",
        f"| HOG | scikit-image | 2.5 | — | — | — | {away} | — | — |",
        f"| Decode, resize to 64 × 96 | Pillow | 0.5 | — | — | — | {away} | — | — |",
        "",
    ]
    assert "sample: AMD | 2 cores" in lines[7]


def checkpoints(chosen: dict[int, int]) -> pd.DataFrame:
    rows = [
        (
            "infogan",
            seed,
            step,
            gallery,
            "precision",
            5,
            0.5 + step / 1000 + off,
            90,
            chosen.get(seed) == step,
        )
        for seed in SEED_ONE_AND_TWO
        for step in (0, 50, 100)
        for gallery, off in (("naive", 0.0), ("product_excluded", -0.1))
    ]
    rows += [
        ("hog", 0, 0, gallery, "precision", 5, 0.9, 90, False) for gallery in ("naive", "product_excluded")
    ]
    return pd.DataFrame(rows, columns=CHECKPOINTS)


def test_checkpoints_table_names_the_chosen_step_of_each_seed(repository):
    put(repository, "sample", "checkpoints", checkpoints({1: 50, 2: 100}))
    lines = tables.checkpoints_table(["sample"]).splitlines()
    assert lines[2] == "| sample (synthetic) | 1 | 50 | 2 | 0.550 | 0.450 | 0.500 | 0.400 |"
    assert lines[3] == "| sample (synthetic) | 2 | 100 | 2 | 0.600 | 0.500 | 0.500 | 0.400 |"


def test_checkpoints_table_refuses_a_seed_without_choice(repository):
    put(repository, "sample", "checkpoints", checkpoints({1: 50}))
    with pytest.raises(InputError, match=r"checkpoints\.csv: seed 2 has 0 chosen steps"):
        tables.checkpoints_table(["sample"])


# --- comparisons and sentences ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((0.873,), (0.884,), "lower"),  # nothing random: a range of 0
        ((0.870, 0.876), (0.887, 0.889), "lower"),  # gap .015, range .006
        ((0.90, 0.91), (0.887, 0.889), "higher"),
        ((0.870, 0.890), (0.891, 0.892), "within"),  # gap .0115 < range .020
        ((0.0, 0.0, 1.0), (0.75, 1.7, 1.7), "within"),  # gap 1.05 > ranges of 1, but they overlap
        ((0.88341,), (0.88344,), "within"),  # printed alike
    ],
)
def test_compare_worked(first, second, verdict):
    sides = [Measure(values, seeded=len(values) > 1, queries=10) for values in (first, second)]
    assert compare(*sides) == verdict


def test_compare_claims_nothing_from_one_seed():
    alone = Measure((0.9,), seeded=True, queries=10)
    fixed = Measure((0.1,), seeded=False, queries=10)
    assert compare(alone, fixed) == compare(fixed, alone) == "unknown"


fractions = st.lists(st.floats(0, 1), min_size=2, max_size=4).map(tuple)


@given(fractions, fractions)
def test_compare_is_antisymmetric_and_never_claims_a_gap_within_the_range(one, two):
    first, second = Measure(one, True, 10), Measure(two, True, 10)
    opposite = {"higher": "lower", "lower": "higher", "within": "within"}
    verdict = compare(first, second)
    assert compare(second, first) == opposite[verdict]
    if verdict == "higher":
        assert min(one) > max(two)
        assert first.mean - second.mean > max(max(one) - min(one), max(two) - min(two))


@pytest.mark.parametrize(
    ("trained", "untrained", "said"),
    [
        (
            [0.870, 0.876],
            [0.887, 0.889],
            "the gap of 0.015 is larger than the seeds' range: training does not",
        ),
        ([0.930, 0.932], [0.887, 0.889], "the gap of 0.043 is larger than the seeds' range: training helps"),
        ([0.870, 0.890], [0.887, 0.889], "the gap of 0.008 is not clear of the seeds' range: nothing is"),
    ],
)
def test_training_finding_follows_the_numbers(repository, trained, untrained, said):
    values = {**REAL, "infogan": trained, "untrained_discriminator": untrained}
    put(repository, "zappos", "retrieval", retrieval(values))
    first = findings(["sample", "zappos"])[0]
    assert first.startswith(
        "On the real photographs (1,000 queries, naive gallery) the trained discriminator"
    )
    assert said in first


def test_findings_name_the_best_control_and_are_three_to_five(repository):
    put(repository, "zappos", "retrieval", retrieval(REAL))
    put(repository, "sample", "retrieval", retrieval({**REAL, "hog": [0.1]}))
    found = findings(["sample", "zappos"])
    assert len(found) == 5
    assert found[1].startswith(
        "The best control there is HOG with 0.956, so the trained discriminator does not"
    )
    assert "reaches 0.863 (0.860–0.866): 0.010 less" in found[2]
    assert found[3].startswith("On the drawn, synthetic catalogue")
    assert "P prints 0.84" in found[4]
    assert "0.873" in found[4]


def test_control_finding_turns_when_the_numbers_turn(repository):
    put(repository, "sample", "retrieval", retrieval({**REAL, "infogan": [0.98, 0.981]}))
    found = findings(["sample", "zappos"])
    assert "HOG with 0.956, so the trained discriminator beats every feature" in found[1]
    assert found[-1].startswith("zappos (real photographs): not run yet")


def test_exclusion_within_the_range_is_not_called_a_loss(repository):
    put(repository, "sample", "retrieval", retrieval(REAL, excluded_by=0.004))
    assert "a difference of 0.004, not clear of the seeds' range" in findings(["sample"])[2]


def test_one_seed_claims_nothing(repository):
    rows = retrieval({**REAL, "infogan": [0.5, 0.5]})
    put(repository, "sample", "retrieval", rows[~((rows["model"] == "infogan") & (rows["seed"] == 2))])
    assert "with one seed there is no range" in findings(["sample"])[0]


def test_nothing_run_says_so(repository):
    assert findings(["sample", "zappos"]) == ["Nothing to report: sample, zappos not run yet."]


# --- damaged files ---------------------------------------------------------------------------------------


def test_missing_column_is_named(repository):
    put(repository, "sample", "retrieval", retrieval(REAL).drop(columns="gallery"))
    with pytest.raises(InputError, match=r"retrieval\.csv: lacks the columns gallery"):
        tables.results_table(["sample"])


def test_value_that_is_no_number_is_named_with_its_line(repository):
    path = put(repository, "sample", "retrieval", retrieval(REAL))
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("0.111", "oops")
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"retrieval\.csv, line 4: value is 'oops'"):
        tables.results_table(["sample"])


@pytest.mark.parametrize("text", ["", "a,b\n1,2,3\n4,5,6,7\n"])
def test_empty_or_torn_csv_is_named(repository, text):
    put(repository, "sample", "retrieval", retrieval(REAL)).write_text(text)
    with pytest.raises(InputError, match=r"retrieval\.csv"):
        tables.results_table(["sample"])


def test_precision_in_percent_is_refused(repository):
    put(repository, "sample", "retrieval", retrieval({"hog": [95.6]}))
    with pytest.raises(InputError, match="outside 0 to 1"):
        tables.results_table(["sample"])


def test_doubled_rows_are_refused(repository):
    put(repository, "sample", "retrieval", pd.concat([retrieval(REAL), retrieval(REAL)]))
    with pytest.raises(InputError, match="occur twice"):
        tables.results_table(["sample"])


# --- machine ---------------------------------------------------------------------------------------------


def test_machine_block_worked(repository):
    record = {
        "cpu": "AMD EPYC",
        "cores": 2,
        "memory_gb": 23.5,
        "versions": {"keras": "3.15.1", "numpy": "2.4.6"},
        "stages": {
            "01_prepare_data": {"seconds": 30, "peak_memory_mb": 512},
            "02_train_infogan": {"seconds": 3000, "peak_memory_mb": 2048},
        },
    }
    folder = repository / "results" / "sample"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))
    table = report.machine_block(["sample", "zappos"])
    assert cells(table, "sample (synthetic)") == [
        "50",  # (30 + 3000) / 60 = 50.5, rounded to even
        "02_train_infogan (50)",
        "2.0 GiB",
        "AMD EPYC, 2 cores, 23.5 GiB",
        "keras 3.15.1, numpy 2.4.6",
    ]
    assert cells(table, "zappos (real photographs)") == ["not recorded"] * 5


@pytest.mark.parametrize("text", ["{", "[]", '{"stages": {"train": {"seconds": "long"}}}', '{"stages": [1]}'])
def test_damaged_run_record_is_named(repository, text):
    folder = repository / "results" / "sample"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json: not a record"):
        report.machine_block(["sample"])


# --- the README ------------------------------------------------------------------------------------------


def test_update_fills_blocks_keeps_the_rest_and_is_idempotent(repository):
    put(repository, "zappos", "retrieval", retrieval(REAL))
    path = repository / "README.md"
    assert report.update_readme(path) is True
    text = path.read_text()
    assert "old" not in text
    assert "| InfoGAN (proposed) | 0.84 |" in text
    assert "\n- On the real photographs" in text
    assert text.startswith("# title\n\n<!-- results:begin -->\n\n|")
    assert "\n<!-- results:end -->\n\nby hand\n\n<!-- findings:begin -->\n" in text
    assert report.update_readme(path) is False
    assert path.read_text() == text
    assert not list(repository.glob(".*partial*"))


def test_check_goes_from_1_to_0_and_back_when_a_result_changes(repository, capsys):
    put(repository, "zappos", "retrieval", retrieval(REAL))
    assert report.main(["--check"]) == 1
    assert capsys.readouterr().err == "README.md: not what the results give; run `make readme`\n"
    assert (repository / "README.md").read_text() == README  # --check writes nothing
    assert report.main([]) == 0
    assert report.main(["--check"]) == 0
    put(repository, "zappos", "retrieval", retrieval({**REAL, "hog": [0.957]}))
    assert report.main(["--check"]) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- results:begin -->\n", "never ended"),
        ("<!-- results:begin -->\n<!-- machine:end -->\n", "line 2"),
        ("<!-- results:begin -->\n<!-- machine:begin -->\n", "line 2"),
        ("<!-- results:end -->\n<!-- results:begin -->\n", "line 1"),
        ("<!-- results:begin -->\n<!-- results:end -->\n<!-- typo:begin -->\n<!-- typo:end -->\n", "line 3"),
        ("no markers at all\n", "no line <!-- results:begin -->"),
    ],
)
def test_broken_markers_are_named_and_leave_the_readme_alone(repository, text, said, capsys):
    path = repository / "README.md"
    path.write_text(text)
    assert report.main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert path.read_text() == text


def test_a_failed_write_leaves_the_old_readme(repository, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("solesearch.core.files.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        report.update_readme(repository / "README.md")
    assert (repository / "README.md").read_text() == README
    assert not list(repository.glob(".*partial*"))


def test_the_readme_is_what_the_results_give(monkeypatch, capsys, tmp_path):
    """As committed: whoever has run the pipeline has newer results, and nothing is wrong with the README."""
    monkeypatch.setenv("SOLESEARCH_ROOT", str(handed_out(ROOT, tmp_path / "handed_out")))
    assert report.main(["--check"]) == 0, capsys.readouterr().err


# --- the terminal ----------------------------------------------------------------------------------------


def test_summary_says_where_things_lie_and_aligns_the_table(repository):
    put(repository, "zappos", "retrieval", retrieval(REAL))
    pictures = repository / "figures" / "zappos"
    pictures.mkdir(parents=True)
    (pictures / "loss_curves.png").touch()
    text = report.summary(["zappos"])
    assert "results   results/zappos/  retrieval.csv" in text
    assert "figures   figures/zappos/  loss_curves.png" in text
    assert "pictures  figures/zappos/galleries/  nothing there yet" in text
    lines = text.splitlines()
    (head,) = [line for line in lines if "precision@5" in line]
    (hog,) = [line for line in lines if line.startswith("  HOG")]
    assert hog.index("0.956") == head.index("naive")
    assert hog.index("0.946") == head.index("product excluded")


def test_summary_without_names_takes_the_profiles_that_run(repository):
    assert report.summary([]).startswith("sample (synthetic): not run yet")
    assert "zappos" not in report.summary([])


def test_summary_of_an_unknown_profile_is_one_line(repository, capsys):
    assert report.main(["--summary", "zapos"]) == 1
    said = "error: params.yaml has no section for profile 'zapos'; there are sample, zappos\n"
    assert capsys.readouterr().err == said


def test_summary_loads_nothing_heavy(repository):
    code = (
        "import sys; from solesearch.pipeline import report; report.main(['--summary', 'sample']); "
        "print([m for m in ('tensorflow', 'keras', 'matplotlib', 'faiss', 'skimage') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
