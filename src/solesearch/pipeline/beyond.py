"""The README's block on what goes beyond the papers, made from the committed tables of a profile."""

from __future__ import annotations

import pandas as pd

from solesearch.core.errors import InputError
from solesearch.core.measures import NONE, NOT_RUN, read_result
from solesearch.evaluation.tables import markdown_table

PROFILE, CHAPTER = "zappos", "chapter"
K = 5
REACHED = {"yes": "✓ reached", "no": "✗ missed"}


def beyond_block() -> str:
    """Return the goals, and what codes, growing and the training's speed came to, as Markdown."""
    sentences = [tell() for tell in (speed, growth, codes, handbags)]
    parts = [goals(), "\n".join(f"- {sentence}" for sentence in sentences)]
    return "\n\n".join(part for part in parts if part)


def goals() -> str:
    """Return how far the best model without labels got, a row a goal; "" where the ladder has not run."""
    table = read_result(
        PROFILE, "ladder_goals", text="goal wanted measured low high reached note", numbers=""
    )
    if table is None:
        return ""
    rows = [
        [row["goal"], row["wanted"], _measured(row), REACHED.get(row["reached"], f"– {row['reached']}")]
        for _, row in table.iterrows()
    ]
    return markdown_table(["Goal", "wanted", "measured", ""], rows, left=4)


def _measured(row: pd.Series) -> str:
    if not row["measured"]:
        return NONE
    value = float(row["measured"])
    if not row["low"]:
        return f"{value:.3g}"
    return f"{value:+.3f} ({float(row['low']):+.3f} to {float(row['high']):+.3f})"


def _cell(table: pd.DataFrame, wanted: str, **where: str) -> pd.Series:
    """Return the one row of a table with these values; InputError names the table's kind where it is not."""
    rows = table
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if len(rows) != 1:
        raise InputError(f"table {wanted}: {len(rows)} rows with {where} instead of one; run its stage again")
    return rows.iloc[0]


def speed() -> str:
    """Return one sentence on the training's images per second beside a plain loop's."""
    # rows of the input pipeline have no ratio: read as text, a number where it is used
    columns = "what ratio ratio_low ratio_high"
    table = read_result(PROFILE, "training_speed", text=columns, numbers="images_per_second")
    if table is None:
        return f"Training speed: {NOT_RUN} (`make speed`)."
    loop = _cell(table, "training_speed", what="plain two-tape loop")
    parts = []
    for what, words in (
        ("InfoGan.train_step", "one training on both cores"),
        ("InfoGan.train_step, two seeds side by side", "two seeds side by side, as the pipeline trains them"),
    ):
        row = _cell(table, "training_speed", what=what)
        ratio, low, high = (float(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
        parts.append(f"{ratio:.2f} times ({low:.2f} to {high:.2f}) with {words}")
    return (
        f"A training step takes in {loop['images_per_second']:.1f} images a second as a plain two-tape loop; "
        f"as it is here, {' and '.join(parts)}."
    )


def growth() -> str:
    """Return one sentence on what adding photos does to precision."""
    numbers = "precision low high n"
    table = read_result(PROFILE, "growth", text="experiment queries gallery way", numbers=numbers)
    if table is None:
        return f"Adding photos: {NOT_RUN}."
    first = table.iloc[0]
    rows = table[
        (table["experiment"] == first["experiment"])
        & (table["queries"] == first["queries"])
        & (table["gallery"] == "product_excluded")
    ].set_index("way")
    if not {"before", "added", "retrained", "stale"} <= set(rows.index):
        raise InputError("table growth: not all ways of growing are there; run stage growth again")
    value = {way: f"{row['precision']:.3f}" for way, row in rows.iterrows()}
    return (
        f"Adding photos: precision@{K} of {int(rows['n']['before']):,} test queries is {value['before']} "
        f"before, {value['added']} with the new photos added to the index and the network left alone, "
        f"{value['retrained']} after training on and embedding everything anew, and {value['stale']} when "
        "the old photos keep the old network's vectors."
    )


def codes() -> str:
    """Return one sentence on what the latent codes carry."""
    table = read_result(PROFILE, "latent_codes", text="seed measure item", numbers="value")
    if table is None:
        return f"Latent codes: {NOT_RUN}."
    bound = table[(table["measure"] == "information_bound") & table["item"].str.fullmatch(r"code \d+")]
    if bound.empty:
        raise InputError("table latent_codes: no information_bound of a code; run stage latent_codes again")
    return (
        f"Each of the {bound['item'].nunique()} codes of {bound['seed'].nunique()} trainings carries at "
        f"least {bound['value'].min():.2f} to {bound['value'].max():.2f} nats that Q reads back from a "
        "generated image."
    )


def handbags() -> str:
    """Return one sentence on shoes and bags together, from the chapter's profile; "" where it has not run."""
    numbers = "value low high n"
    table = read_result(CHAPTER, "likeness", text="model seed gallery measure class", numbers=numbers)
    if table is None:
        return f"Shoes and handbags at 224 x 224: {NOT_RUN} (`make chapter DATA=folder`)."
    rows = table[(table["model"] == "infogan") & (table["seed"] == "all") & (table["class"] == "all")]
    said = {
        gallery: _cell(rows, "likeness", gallery=gallery, measure="class")["value"]
        for gallery in ("all", "without_bags", "bags_only")
    }
    return (
        f"Shoes and handbags at 224 x 224 (12,544 dimensions): class agreement of the first {K} is "
        f"{said['all']:.3f} with all photos, {said['without_bags']:.3f} without bags, "
        f"{said['bags_only']:.3f} among bags alone."
    )
