"""Tables of README and docs, and the terminal's summary, against worked numbers; damaged files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from comparison_tables import NETWORKS, latency_table, networks_table, retrieval_table, sizes_table

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.measures import time_ratios
from solesearch.core.paths import Paths
from solesearch.core.published import published, published_by_scaling
from solesearch.pipeline import charts, reader_tables, report, results_page

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
README = f"# title\n\n{BEGIN}\nold\n{END}\n\nby hand\n"
AWAY = "not run yet"


def retrieval(values: dict[str, list[float]], *, excluded_by: float = 0.01, n: int = 1000) -> pd.DataFrame:
    """One row a model, seed and gallery; models with one value have seed 0."""
    rows = []
    for model, per_seed in values.items():
        seeds = [0] if len(per_seed) == 1 else range(1, len(per_seed) + 1)
        for seed, value in zip(seeds, per_seed, strict=True):
            for gallery, off in (("naive", 0.0), ("product_excluded", excluded_by)):
                rows.append((model, seed, gallery, "precision", 5, "all", value - off, n))
                # rows that must not be taken: another k, class and metric
                decoys = [("precision", 1, "all"), ("precision", 5, "macro"), ("map", 0, "all")]
                rows += [(model, seed, gallery, *decoy, 0.111, n) for decoy in decoys]
    return pd.DataFrame(rows, columns=["model", "seed", "gallery", "metric", "k", "class", "value", "n"])


REAL = {"infogan": [0.870, 0.876], "untrained_discriminator": [0.887, 0.889], "hog": [0.956]}


@pytest.fixture
def results(workspace: Path) -> Path:
    """A repository without results, with pages that have a place for their tables."""
    (workspace / "docs").mkdir()
    for page, name in (("README", "results"), ("docs/reviewer", "claims"), ("docs/author", "charts")):
        (workspace / f"{page}.md").write_text(README.replace("results:", f"{name}:"))
    return workspace / "results"


def put(results: Path, profile: str, **tables: pd.DataFrame) -> None:
    (results / profile).mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        files.write_table(Paths.of(profile).result(name), table)


def put_comparison(results: Path, profile: str = "paper", **changed: pd.DataFrame) -> None:
    tables = {"retrieval": retrieval_table(), "networks": networks_table(), "latency": latency_table()}
    put(results, profile, **{**tables, "sizes": sizes_table(), **changed})


def rows_of(table: str) -> dict[str, list[str]]:
    """First cell -> the others."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


# --- numbers ---


def test_table_of_all_models(results):
    put(results, "paper", retrieval=retrieval(REAL))
    rows = rows_of(results_page.precision_table(["sample", "paper"]))
    assert rows["InfoGAN (proposed)"] == ["0.84", AWAY, AWAY, "0.873 (0.870–0.876)", "0.863 (0.860–0.866)"]
    assert rows["HOG"] == ["—", AWAY, AWAY, "0.956", "0.946"]
    assert rows["Mean colour"] == ["—", AWAY, AWAY, "—", "—"] and len(rows) == 7


def ladder(values: dict[int, float], *, k: int = 5) -> pd.DataFrame:
    """The first finalist's trainings {seed: value}, their mean, and rows that must not be taken."""
    rows = [("dictionary: half whitened", str(seed), "test", 1, value) for seed, value in values.items()]
    rows += [("dictionary: half whitened", "all", "test", 1, 0.111)]
    rows += [("dictionary: half whitened", "1", "validation", 1, 0.111), ("other", "1", "test", 2, 0.111)]
    columns = ["title", "seed", "split", "finalist", "value"]
    return pd.DataFrame(rows, columns=columns).assign(gallery="product_excluded", k=k)


def test_table_of_the_readme(results):
    """MobileNetV2 leads the networks with weights; VGG16 saw fewer photos, and MobileNet has no weights."""
    models = {**REAL, "MobileNetV2": [0.930], "MobileNet": [0.990], "MobileNet-0.25": [0.909]}
    table = pd.concat([retrieval(models), retrieval({"VGG16": [0.990]}, n=400)])
    networks = pd.DataFrame({"model": ["MobileNetV2", "MobileNet", "MobileNet-0.25", "VGG16"]})
    networks["weights"] = ["file", "untrained", "file", "file"]
    put(results, "paper", retrieval=table, networks=networks, ladder=ladder({1: 0.92, 2: 0.95}))
    untrained = networks.assign(weights="untrained")
    put(results, "sample", retrieval=retrieval({**models, "hog": [0.8]}), networks=untrained)
    rows = rows_of(report.readme_table(["sample", "paper"]))
    whole = ["0.873 (0.870–0.876)"] * 2 + ["0.863 (0.860–0.866)"] * 2
    assert rows["InfoGAN (proposed)"] == ["0.84", *whole]
    assert rows["HOG"] == ["—", "0.800", "0.956", "0.790", "0.946"]
    assert rows["Best without labels: dictionary"] == ["—", "—", "—", AWAY, "0.935 (0.920–0.950)"]
    none = "no ImageNet weights"
    assert rows["Best ImageNet network: MobileNetV2"] == ["0.73", none, "0.930", none, "0.920"]
    assert len(rows) == 5


def test_table_of_the_readme_without_a_network_or_a_run(results):
    assert rows_of(report.readme_table(["sample"]))["Best ImageNet network: —"] == ["—", AWAY, AWAY]
    networks = pd.DataFrame({"model": ["VGG16"], "weights": ["untrained"]})
    put(results, "sample", retrieval=retrieval({**REAL, "VGG16": [0.5]}), networks=networks)
    rows = rows_of(report.readme_table(["sample"]))
    assert rows["Best ImageNet network: —"] == ["—", "no ImageNet weights", "no ImageNet weights"]
    assert rows[f"Best without labels: {AWAY}"] == ["—", "—", AWAY]


def test_published_table_is_the_printed_one() -> None:
    """Sums, added by hand from P Table II."""
    table = published().set_index("model")
    sums = [table["size_mb"].sum(), table["time_s"].sum()]
    assert len(table) == 13 and sums == pytest.approx([2108.7, 1.524])
    groups = table["precision"].groupby(table.index.str.extract("^(VGG|ResNet|Inc|Mob|Dense)")[0].to_numpy())
    assert groups.sum().to_dict() == pytest.approx(
        {"VGG": 1.56, "ResNet": 2.41, "Inc": 1.15, "Mob": 1.17, "Dense": 1.81}
    )
    means = published_by_scaling().groupby("scaling")["precision"].agg(["mean", "size"])
    # (.75 + .81 + .79 + .80 + .82) / 5, (.64 + .51 + .44 + .73) / 4, (.61 + .64 + .56) / 3
    assert means["mean"].to_dict() == pytest.approx({"caffe": 0.794, "tf": 0.58, "torch": 1.81 / 3})


def test_time_ratios_worked():
    ratios = time_ratios(latency_table())
    assert ratios.index[0] == "infogan" and ratios["measured"].is_monotonic_increasing
    assert "hog" not in ratios.index and "decode_and_resize_64x96" not in ratios.index
    measured, _, paper, chapter = ratios.loc["VGG19"]
    assert [measured, paper, chapter] == pytest.approx([177 / 2.1, 0.21 / 0.004, 0.21 / 0.04])
    assert ratios.loc["MobileNetV2", "onnx"] == pytest.approx((19 / 3) / (2.1 / 3))
    assert ratios.loc["MobileNet-0.25", ["paper", "chapter"]].isna().all()
    table = latency_table()
    assert time_ratios(table[table["model"] != "infogan"]).empty


# --- docs/results.md ---


def test_table_two_worked_rows(results):
    put_comparison(results)
    known = pd.DataFrame({"network": ["MobileNetV2", "MobileNet-0.25"], "published_file": ["unknown", "yes"]})
    put(results, "paper", weights=known)
    rows = rows_of(results_page.table_two(["sample", "paper"]))
    assert list(rows)[:9] == [*NETWORKS[:8], "MobileNet-0.25"] and list(rows)[-1] == "InfoGAN (proposed)"
    # 139 ms / 2.1 ms = 66.19; .22 s / .004 s = 55; 14,714,688 values of 4 bytes
    expected = ["528", "528", "58.9", "220 (55×)", AWAY, "139 (66.2×)", "0.75", AWAY]
    assert rows["VGG16"] == [*expected, "untrained: 0.620 (n = 400)"]
    assert rows["MobileNetV2"] == [
        "14",
        "14",
        "9.03",
        "40 (10×)",
        AWAY,
        "19 (9.05×)",
        "0.73",
        AWAY,
        "0.931 †",
    ]
    assert rows["MobileNet-0.25"] == ["—", "—", "0.874", "—", AWAY, "3.2 (1.52×)", "—", AWAY, "0.909"]
    expected = ["23.7", "23.1 (training checkpoint)", "1.73", "4 (1×)", AWAY, "2.1 (1×)", "0.84", AWAY]
    assert rows["InfoGAN (proposed)"] == [*expected, "0.850 (0.845–0.855)"]


def test_attributes_beside_their_chance(results):
    rows = [
        ("infogan", "heel", 0.5), ("infogan", "toe", 0.75), ("random", "heel", 0.3), ("random", "toe", 0.26),
        ("VGG19", "heel", 0.4), ("VGG19+classes", "toe", 0.9),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model", "attribute", "value"])
    table = table.assign(low=table["value"] - 0.1, high=table["value"] + 0.1, chance=0.25)
    networks = pd.DataFrame({"model": ["VGG19"], "weights": ["untrained"]})
    put(results, "paper", attributes=table, networks=networks)
    put(results, "sample", attributes=table[:0])  # a catalogue without attributes
    found = results_page.attributes_table(["sample", "paper", "chapter"])
    assert found.startswith("| Model | paper, heel | paper, toe |")
    assert rows_of(found) == {
        "Chance": ["0.250", "0.250"],
        "InfoGAN (proposed)": ["0.500 (0.400–0.600)", "0.750 (0.650–0.850)"],
        "VGG19": ["untrained: 0.400 (0.300–0.500)", "—"],
    }
    assert results_page.attributes_table(["sample"]) == AWAY


def test_latency_table_leaves_out_the_compiled_networks(results):
    put_comparison(results)
    latency = {"paper": latency_table(), "sample": None}
    rows = rows_of(results_page.latency_table(latency))
    quantised = ["ONNX Runtime, 8-bit weights", "0.7", "2,857", AWAY, AWAY, "431,472", "1.8"]
    assert rows["InfoGAN (proposed)"] == quantised, "the last of its rows"
    assert rows["MobileNet"][0] == "ONNX Runtime" and "VGG16" not in rows
    assert rows["Decode, resize to 64 × 96"][:2] == ["Pillow", "0.5"]


def test_macro_table_has_intervals_of_whatever_has_run(results):
    columns = ["model", "seed", "gallery", "metric", "k", "value", "low", "high"]
    rows = [
        (model, seed, gallery, "precision", 5, value, value - 0.02, value + 0.02)
        for model, value in (("infogan", 0.8), ("VGG16", 0.6), ("VGG16+classes", 0.5))
        for seed in ("1", "all")
        for gallery in ("naive", "product_excluded")
    ]
    put_comparison(results, "paper", macro_intervals=pd.DataFrame(rows, columns=columns))
    found = results_page.macro_table(["sample", "paper"])
    assert found.startswith("| Model | paper, naive | paper, product excluded |")
    assert rows_of(found) == {
        "InfoGAN (proposed)": ["0.800 (0.780–0.820)"] * 2,
        "VGG16": ["untrained: 0.600 (0.580–0.620)"] * 2,
    }


def test_checkpoints_table_names_the_chosen_step_of_each_seed(results):
    names = ["model", "seed", "step", "gallery", "metric", "k", "value", "n", "chosen"]
    rows = [
        ("infogan", seed, step, gallery, "precision", 5, 0.5 + step / 1000 - off, 90, step == 50 * seed)
        for seed in (1, 2)
        for step in (0, 50, 100)
        for gallery, off in (("naive", 0.0), ("product_excluded", 0.1))
    ]
    rows.append(("hog", 0, 0, "naive", "precision", 5, 0.9, 90, False))
    put(results, "sample", checkpoints=pd.DataFrame(rows, columns=names))
    lines = results_page.checkpoints_table(["sample"]).splitlines()
    assert lines[2:] == [
        "| sample (synthetic) | 1 | 50 | 2 | 0.550 | 0.450 | 0.500 | 0.400 |",
        "| sample (synthetic) | 2 | 100 | 2 | 0.600 | 0.500 | 0.500 | 0.400 |",
    ]


RECORD = {
    "cpu": "AMD EPYC", "cores": 2, "memory_gb": 23.5, "versions": {"keras": "3.15.1", "numpy": "2.4.6"},
    "stages": {
        "01_prepare_data": {"seconds": 30, "peak_memory_mb": 512},
        "02_train_infogan": {"seconds": 3000, "peak_memory_mb": 2048},
    },
}  # fmt: skip


def test_minutes_and_memory_worked(results):
    put(results, "sample")
    (results / "sample" / "run.json").write_text(json.dumps(RECORD))
    # (30 + 3000) / 60 = 50.5, rounded to even
    machine = ["AMD EPYC, 2 cores, 23.5 GiB", "keras 3.15.1, numpy 2.4.6"]
    assert results_page.run_cells("sample") == ["50", "02_train_infogan (50)", "2.0 GiB", *machine]
    assert results_page.run_cells("paper") == ["not recorded"] * 5


@pytest.mark.parametrize("text", ["{", '{"stages": {"train": {"seconds": "long"}}}', "[]"])
def test_damaged_run_record_is_named(results, text):
    put(results, "sample")
    (results / "sample" / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json: not a record"):
        results_page.run_cells("sample")


def test_torn_table_is_named(results):
    put(results, "sample", retrieval=retrieval(REAL))
    Paths.of("sample").result("retrieval").write_text("a,b\n1,2,3\n4,5,6,7\n")
    with pytest.raises(InputError, match=r"retrieval\.csv: damaged"):
        results_page.precision_table(["sample"])


# --- the pages ---


def test_pages_are_written_once_and_the_rest_of_the_readme_stays(results, capsys):
    root = results.parent
    put_comparison(results)
    report.update_pages(root)
    text, page = ((root / name).read_text() for name in ("README.md", "docs/results.md"))
    assert text.startswith(f"# title\n\n{BEGIN}\n\n| Precision@5 |") and text.endswith(
        f"\n\n{END}\n\nby hand\n"
    )
    assert "| VGG16 | 528 | 528 | 58.9 | 220 (55×) |" in page and "{" not in page
    report.update_pages(root)
    assert "nothing" in capsys.readouterr().out
    put(results, "paper", retrieval=retrieval({**REAL, "hog": [0.957]}))
    report.update_pages(root)
    assert "0.957" in (root / "README.md").read_text() and not list(root.glob("**/.*partial*"))


@pytest.mark.parametrize("text", ["no markers\n", f"{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_broken_markers_are_named_and_leave_the_readme_alone(results, text):
    path = results.parent / "README.md"
    path.write_text(text)
    with pytest.raises(InputError, match="needs a line <!-- results:begin -->"):
        report.update_pages(results.parent)
    assert path.read_text() == text


def test_the_committed_pages_are_what_the_results_give(repository, monkeypatch):
    """As committed: whoever has run the pipeline has newer results, and nothing is wrong with the README."""
    monkeypatch.setenv("SOLESEARCH_ROOT", str(repository))
    for path, text in report.pages(repository).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make readme`"


# --- tables for reviewers and authors ---


def test_claims_stand_under_the_command_and_the_minutes_of_their_stage(results):
    names = list(reader_tables.CENTRAL)
    table = pd.DataFrame({"claim": names, "verdict": "not testable here"}).assign(
        measured="", low="", high=""
    )
    table = table.set_index("claim")
    table.loc["P-T2-precision-Proposed"] = ["not reproduced", "0.8056", "0.7802", "0.8311"]
    table.loc["P-needs-no-labels"] = ["reproduced", "0", "0", "0"]
    put(results, "paper", claims=table.reset_index())
    record = {**RECORD, "stages": {"06_evaluate": {"seconds": 90, "peak_memory_mb": 1}}}
    (results / "paper" / "run.json").write_text(json.dumps(record))
    found = reader_tables.claims_by_stage(["sample", "paper"])
    evaluate, networks, claims = found.split("### ")[1:]
    assert evaluate.startswith(
        "`dvc repro evaluate@PROFILE`\n\nNotebook 06_evaluate, minutes: 1.5 for paper."
    )
    assert "0.84 ± 0.02 | not run yet | 0.8056 (0.7802 to 0.8311) ✗ |" in evaluate
    assert f"Notebook 03_networks, minutes: {AWAY}." in networks
    assert "| Training needs no labels. (P, section 1) | 0 | not run yet | 0 ✓ |" in claims
    assert found.count("(P, ") + found.count("(C, ") == len(names)


def test_every_registered_chart_stands_in_the_table(repository):
    rows = rows_of(reader_tables.charts_table(repository))
    names = {re.search(r"`(\w+)`", cell).group(1): cell for cell in rows}
    assert list(names) == sorted(charts.CHARTS)
    assert {name for name, cell in names.items() if rows[cell][2] != "—"} == set(charts.SHOWN)
    for name, chart in charts.CHARTS.items():
        tables = [table.partition("/")[2] for table in rows[names[name]][1].split(", ")]
        assert tables == list(chart.tables) and chart.draw.__module__.split(".")[-1] in names[name]


# --- the terminal ---


def test_summary_says_where_things_lie_and_aligns_the_table(results):
    put_comparison(results)
    text = report.summary(["paper"])
    assert "results   results/paper/" in text and "figures   figures/paper/  nothing there yet" in text
    lines = text.splitlines()
    [head] = [line for line in lines if "precision@5" in line]
    [hog] = [line for line in lines if line.startswith("  HOG")]
    assert hog.index("0.953") == head.index("naive") and hog.index("0.928") == head.index("product excluded")
    assert "VGG16, untrained (no ImageNet weights here)" in text and "MobileNetV2, untrained" not in text


def test_summary_without_names_takes_the_profiles_that_run(results):
    assert report.summary([]).startswith("sample (synthetic): not run yet")
    with pytest.raises(InputError, match="no section for profile 'zapos'"):
        report.summary(["zapos"])


def test_the_command_loads_nothing_heavy(results):
    code = (
        "import sys; from solesearch.pipeline import report; sys.argv[1:] = []; report.main(); "
        "print([m for m in ('tensorflow', 'keras', 'matplotlib', 'faiss', 'skimage') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
