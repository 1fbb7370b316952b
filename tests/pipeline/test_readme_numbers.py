"""A person wrote the README's sentences; each number in them, and what it is to show, follows from results/.

A fact is a piece of a sentence as it must stand there, made of the results, and whether they bear it out.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from solesearch.core.measures import precision, precision_words, time_ratios
from solesearch.core.model_names import PROPOSED, network_row
from solesearch.core.paths import Paths
from solesearch.core.published import published_row

Fact = tuple[str, bool]
WRITTEN_BY_HAND = ("Results", "Beyond the papers", "Time and memory")


@pytest.fixture(autouse=True)
def committed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As committed: whoever has run the pipeline has newer results, and nothing is wrong with the README."""
    monkeypatch.setenv("SOLESEARCH_ROOT", str(repository))


def table(profile: str, name: str) -> pd.DataFrame:
    return pd.read_csv(Paths.of(profile).result(name), keep_default_na=False, na_values=[""])


def cell(profile: str, name: str, column: str, **where):
    """The one cell of a results table whose row has these values."""
    rows = table(profile, name)
    for key, value in where.items():
        rows = rows[rows[key.rstrip("_")].astype(str) == str(value)]
    assert len(rows) == 1, f"{len(rows)} rows of {profile}/{name} with {where}"
    return rows[column].iloc[0]


def signed(profile: str, name: str, value: str, **where) -> str:
    middle, low, high = (cell(profile, name, column, **where) for column in (value, "low", "high"))
    return f"{middle:+.3f} ({low:+.3f} to {high:+.3f})"


# --- Results ---------------------------------------------------------------------------------------------


def precision_facts() -> Iterator[Fact]:
    for profile, words in (
        ("zappos", "On the real photographs"),
        ("sample", "On the drawn, synthetic catalogue"),
    ):
        seeds = precision(profile)
        trained, twin = (seeds.loc[model, "naive"] for model in (PROPOSED, "untrained_discriminator"))
        gap = abs(trained["mean"] - twin["mean"])
        yield (
            f"{words} ({int(trained['n']):,} queries, naive gallery) the trained discriminator reaches "
            f"{precision_words(seeds, PROPOSED)}, its untrained twin "
            f"{precision_words(seeds, 'untrained_discriminator')}; the gap of {gap:.3f} is not clear of the "
            "seeds' range: nothing is claimed for or against training",
            gap <= max(trained["max"] - trained["min"], twin["max"] - twin["min"]),
        )
    real = precision("zappos").xs("naive", level="gallery")
    yield f"The best control there is HOG with {real['mean']['hog']:.3f}", _best_control(real) == "hog"
    yield (
        f"which 10,000 photos and which k is not stated, so {real['mean'][PROPOSED]:.3f} neither confirms",
        True,
    )
    stricter = precision("zappos").loc[PROPOSED, "product_excluded"]
    lost = real["mean"][PROPOSED] - stricter["mean"]
    yield (
        "the trained one reaches "
        f"{precision_words(precision('zappos'), PROPOSED, 'product_excluded')}: a difference "
        f"of {lost:.3f}, not clear of the seeds' range",
        stricter["max"] >= real["min"][PROPOSED],
    )


def _best_control(real: pd.DataFrame) -> str:
    controls = real.loc[["hog", "pixels", "colour_histogram", "mean_colour"], "mean"]
    assert controls.max() > real["max"][PROPOSED], "and no longer does the trained one fail to beat it"
    return controls.idxmax()


def network_facts() -> Iterator[Fact]:
    weights = table("zappos", "networks").query("weights != 'untrained'")["model"]
    plain = [model for model in weights if (row := network_row(model)) and row.plain]
    real = precision("zappos").xs("naive", level="gallery")["mean"]
    best, printed = real[plain].idxmax(), published_row(real[plain].idxmax())
    yield (
        f"Of the ImageNet networks that have real weights here ({', '.join(sorted(plain))}), {best} "
        "is the best with "
        f"{real[best]:.3f}, {real[best] - real[PROPOSED]:.3f} above the trained discriminator, which "
        "does not reach "
        f"it; P prints {printed['precision']:.2f} for it and "
        f"{published_row(PROPOSED)['precision']:.2f} for its own",
        real[best] > precision("zappos").loc[(PROPOSED, "naive"), "max"],
    )
    ratios = time_ratios(table("zappos", "latency")).drop(PROPOSED).dropna(subset=["paper"])
    off = {name: np.abs(np.log(ratios["measured"] / ratios[name])) for name in ("paper", "chapter")}
    alike, other = (int((gaps <= np.log(2)).sum()) for gaps in off.values())
    first, second = off["paper"].sort_values(ascending=False).index[:2]
    named = ", ".join(
        f"{name} ({ratios['paper'][name]:.3g} in P, {ratios['measured'][name]:.3g} here)"
        for name in (first, second)
    )
    yield (
        f"the times of {alike} of {len(ratios)} networks lie within a factor of 2 of P's (batch 1, "
        "profile zappos); "
        f"furthest off: {named}. Against the 0.04 s that C gives for the proposed model, {other} do",
        alike + 2 == len(ratios),
    )


def claim_facts() -> Iterator[Fact]:
    verdicts = table("zappos", "claims")["verdict"].value_counts()
    yield (
        f"Of {verdicts.sum()} claims {verdicts['reproduced']} are reproduced on the real photographs, "
        f"{verdicts['partly']} partly, {verdicts['not reproduced']} are not, and "
        f"{verdicts['not testable here']} "
        "cannot be tested there",
        True,
    )


# --- Beyond the papers -----------------------------------------------------------------------------------


def ladder_facts() -> Iterator[Fact]:
    where = {"rung": "adversarial training", "split": "test", "variant": "paper"}
    parts = []
    for recipe, words in (
        ("plain", "with their vector"),
        ("layers_max_whitened", "with several layers pooled by their maximum and whitened"),
    ):
        seeds = str(cell("zappos", "ladder_effects", "seeds", recipe=recipe, **where)).split()
        mean = {  # of the seeds that both have
            variant: np.mean(
                [
                    cell("zappos", "ladder", "value", variant=variant, recipe=recipe, split="test", seed=seed)
                    for seed in seeds
                ]
            )
            for variant in ("untrained", "paper")
        }
        effect = {
            key: cell("zappos", "ladder_effects", key, recipe=recipe, **where)
            for key in ("difference", "low", "high")
        }
        interval = f"{effect['low']:+.3f} to {effect['high']:+.3f}"
        undecided = cell("zappos", "ladder_effects", "verdict", recipe=recipe, **where) == "undecided"
        parts.append(
            f"from {mean['untrained']:.3f} to {mean['paper']:.3f} {words} "
            f"({effect['difference']:+.3f}, 95 % interval "
            f"{interval}: undecided)"
        )
        assert undecided
    queries = cell("zappos", "ladder_effects", "n", recipe="plain", **where)
    yield f"On the {queries:,} test photos of `zappos`, each searched without its own product", True
    yield " and ".join(parts), True
    best = {
        "variant": "untrained_gradients",
        "recipe": "first_mean_half_whitened",
        "split": "test",
        "seed": "all",
    }
    value, low, high = (cell("zappos", "ladder", column, **best) for column in ("value", "low", "high"))
    hog, rival = (
        cell("zappos", "ladder", "value", variant=name, split="test", seed="all")
        for name in ("hog", "MobileNetV2")
    )
    yield (
        f"reaches {value:.3f} ({low:.3f} to {high:.3f}): above HOG ({hog:.3f}) and not told apart "
        "from ImageNet "
        f"MobileNetV2 ({rival:.3f})",
        cell("zappos", "ladder", "finalist", **best) == 1,
    )


def goal_facts() -> Iterator[Fact]:
    reached = {
        row["goal"]: row["reached"] == "yes" for row in table("zappos", "ladder_goals").to_dict("records")
    }
    above = {
        rival: signed("zappos", "ladder_goals", "measured", goal=f"precision above {rival}")
        for rival in ("HOG", "MobileNetV2")
    }
    size, time = (
        cell("zappos", "ladder_goals", "measured", goal=name)
        for name in ("embedding file", "time of a photo")
    )
    yield (
        f"precision above HOG ({above['HOG'].replace(' (', ', ').rstrip(')')}), a file of at most 5 "
        f"MB ({size:.3g} MB) and "
        f"a photo in at most 2 ms ({time:.3g} ms)",
        reached["precision above HOG"] and reached["embedding file"] and reached["time of a photo"],
    )
    yield (
        f"precision above MobileNetV2 is missed ({above['MobileNetV2'].replace(' (', ', ').rstrip(')')})",
        not reached["precision above MobileNetV2"],
    )


def speed_facts() -> Iterator[Fact]:
    loop = cell("zappos", "training_speed", "images_per_second", what="plain two-tape loop")
    words = []
    for what in ("InfoGan.train_step", "InfoGan.train_step, two seeds side by side"):
        ratio, low, high = (
            cell("zappos", "training_speed", name, what=what) for name in ("ratio", "ratio_low", "ratio_high")
        )
        words.append(f"{ratio:.2f} times ({low:.2f} to {high:.2f})")
    yield (
        f"takes in {loop:.1f} images a second as a plain two-tape loop; as it is here, {words[0]} "
        "with one training on "
        f"both cores and {words[1]} with two seeds side by side",
        True,
    )


def growth_facts() -> Iterator[Fact]:
    where = {"experiment": "new photos", "queries": "all", "gallery": "product_excluded"}
    value = {
        way: f"{cell('zappos', 'growth', 'precision', way=way, **where):.3f}"
        for way in ("before", "added", "retrained", "stale")
    }
    yield (
        f"precision@5 of {cell('zappos', 'growth', 'n', way='before', **where):,} test queries is "
        f"{value['before']} "
        f"before, {value['added']} with the new photos added to the index and the network left alone, "
        f"{value['retrained']} after training on and embedding everything anew, and {value['stale']} when",
        True,
    )


def code_facts() -> Iterator[Fact]:
    codes = table("zappos", "latent_codes").query("measure == 'information_bound'")
    codes = codes[codes["item"].str.fullmatch(r"code \d+")]
    low, high = codes["value"].min(), codes["value"].max()
    yield (
        f"Each of the {codes['item'].nunique()} codes of {codes['seed'].nunique()} trainings carries "
        f"at least {low:.2f} "
        f"to {high:.2f} nats",
        True,
    )


def handbag_facts() -> Iterator[Fact]:
    where = {"model": "infogan", "seed": "all", "measure": "class", "class_": "all"}
    everything, shoes, bags = (
        f"{cell('chapter', 'likeness', 'value', gallery=gallery, **where):.3f}"
        for gallery in ("all", "without_bags", "bags_only")
    )
    yield f"is {everything} with all photos, {shoes} without bags, {bags} among bags alone", True


# --- Time and memory -------------------------------------------------------------------------------------


def machine_facts() -> Iterator[Fact]:
    for profile in ("sample", "zappos"):
        stages = json.loads((Paths.of(profile).results / "run.json").read_text())["stages"].values()
        minutes = sum(stage["seconds"] for stage in stages) / 60
        memory = max(stage["peak_memory_mb"] for stage in stages) / 1024
        yield f"`{profile}` takes {minutes:.0f} minutes and {memory:.1f} GiB", True


MAKERS = (
    *(
        precision_facts,
        network_facts,
        claim_facts,
        ladder_facts,
        goal_facts,
        speed_facts,
        growth_facts,
        code_facts,
    ),
    *(handbag_facts, machine_facts),
)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_each_fact_stands_in_the_readme_and_holds(repository: Path, make) -> None:
    text = " ".join((repository / "README.md").read_text(encoding="utf-8").split())
    for words, holds in make():
        assert words in text, f"the README has to say: {words}"
        assert holds, f"the results no longer bear out: {words}"


def test_no_other_measured_number_stands_in_those_sections(repository: Path) -> None:
    """A number with decimals is a measured one, or one that the papers print."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<!-- results:begin -->.*?<!-- results:end -->", "", text, flags=re.S)
    sections = re.findall(rf"(?ms)^## (?:{'|'.join(WRITTEN_BY_HAND)})$(.*?)(?=^## )", text)
    assert len(sections) == len(WRITTEN_BY_HAND)
    prose = " ".join(" ".join(sections).split())
    for words, _ in (fact for make in MAKERS for fact in make()):
        prose = prose.replace(words, "")
    assert set(re.findall(r"(?<!Fig )\d+\.\d+", prose)) <= {"0.84"}, (
        "a number that no fact of this file covers"
    )
