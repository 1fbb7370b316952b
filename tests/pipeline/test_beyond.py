"""The README's block on what goes beyond the papers: each sentence from a small table, and faulty ones."""

from pathlib import Path

import pandas as pd
import pytest

from solesearch.beyond.growth_experiment import COLUMNS as GROWTH
from solesearch.beyond.likeness import COLUMNS as LIKENESS
from solesearch.core.errors import InputError
from solesearch.cost.training_benchmark import COLUMNS as SPEED
from solesearch.cost.training_benchmark import CONTENDERS, FED, PIPELINE
from solesearch.pipeline import beyond


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository: no profile has results."""
    (tmp_path / "params.yaml").write_text("profiles:\n  - zappos\nzappos: {}\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setenv("SOLESEARCH_ROOT", str(tmp_path))
    for profile in ("zappos", "chapter"):
        (tmp_path / "results" / profile).mkdir(parents=True)
    return tmp_path / "results"


def write(path: Path, rows: list[dict], columns: list[str]) -> None:
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)


def test_without_tables_every_sentence_says_not_run(results: Path) -> None:
    assert beyond.goals() == ""
    for tell in (beyond.speed, beyond.growth, beyond.codes, beyond.handbags):
        assert "not run yet" in tell()


def speed_rows() -> list[dict]:
    """What the benchmark writes: ratios of every contender, none of the input pipeline's own rows."""
    ratios = {"InfoGan.train_step": 1.5, "InfoGan.train_step, two seeds side by side": 2.0}
    rows = []
    for contender in CONTENDERS:
        ratio = ratios.get(contender.what, 1.0)
        numbers = {"ratio": ratio, "ratio_low": ratio - 0.1, "ratio_high": ratio + 0.1}
        rows.append({"what": contender.what, "images_per_second": 20 * ratio, **numbers})
    return rows + [{"what": what, "images_per_second": 900.0} for what in (PIPELINE, FED)]


def test_speed_is_told_from_the_benchmarks_own_rows(results: Path) -> None:
    write(results / "zappos" / "training_speed.csv", speed_rows(), SPEED)
    told = beyond.speed()
    assert "20.0 images a second" in told
    assert "1.50 times (1.40 to 1.60) with one training" in told
    assert "2.00 times (1.90 to 2.10) with two seeds" in told


def growth_rows(gallery: str, **values: float) -> list[dict]:
    same = {"experiment": "new photos", "queries": "all", "gallery": gallery, "low": 0.1, "high": 0.9}
    return [{**same, "way": way, "precision": value, "n": 1440} for way, value in values.items()]


def test_growth_is_told_from_the_stricter_gallery(results: Path) -> None:
    rows = growth_rows("naive", before=0.91, added=0.92, retrained=0.93, stale=0.94)
    rows += growth_rows("product_excluded", before=0.81, added=0.82, retrained=0.83, stale=0.7)
    write(results / "zappos" / "growth.csv", rows, GROWTH)
    told = beyond.growth()
    assert "1,440 test queries is 0.810 before, 0.820 with" in told
    assert "0.830 after" in told and "0.700 when" in told
    write(results / "zappos" / "growth.csv", rows[:-1], GROWTH)
    with pytest.raises(InputError, match="not all ways of growing"):
        beyond.growth()


def test_handbags_are_told_for_all_seeds_together(results: Path) -> None:
    values = {"all": 0.6, "without_bags": 0.5, "bags_only": 0.9}
    rows = [
        {"model": "infogan", "seed": seed, "gallery": gallery, "measure": "class", "class": label,
         "value": value + (seed != "all") + (label != "all"), "low": 0, "high": 1, "n": 9}
        for gallery, value in values.items() for seed in ("1", "all") for label in ("all", "handbags")
    ]  # fmt: skip
    write(results / "chapter" / "likeness.csv", rows, LIKENESS)
    assert "0.600 with all photos, 0.500 without bags, 0.900 among bags" in beyond.handbags()
    write(results / "chapter" / "likeness.csv", rows[:-4], LIKENESS)
    with pytest.raises(InputError, match="0 rows"):
        beyond.handbags()


def test_goals_show_differences_with_their_interval_and_sizes_without(results: Path) -> None:
    columns = ["goal", "wanted", "measured", "low", "high", "reached", "note"]
    rows = [
        ("precision above HOG", "above 0", 0.01234, -0.001, 0.02, "no", "why"),
        ("precision above MobileNetV2", "above 0", None, None, None, "not testable here", "no weights"),
        ("embedding file", "at most 5 MB", 2.8347, None, None, "yes", ""),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(results / "zappos" / "ladder_goals.csv", index=False)
    lines = beyond.goals().splitlines()[2:]
    assert "+0.012 (-0.001 to +0.020)" in lines[0] and "✗ missed" in lines[0]
    assert "– not testable here" in lines[1]
    assert "2.83" in lines[2] and "✓ reached" in lines[2]
