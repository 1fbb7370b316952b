"""The three ways to count a model's size, against numbers worked out by hand or published."""

import pytest

from solesearch.cost.sizes import model_sizes


def test_sizes_of_the_sample_profile() -> None:
    table = model_sizes("sample").set_index(["model", "what"])
    assert table.loc[("infogan", "embedding"), "megabytes"] == pytest.approx(431472 * 4 / 1e6)
    # D with heads 445k, G 1.2M: each with two moments of Adam makes three times as much
    assert 15 < table.loc[("infogan", "training checkpoint"), "megabytes"] < 26, "P prints 23.7 MB"
    assert table.loc[("VGG16", "with classifier"), "megabytes"] == 528  # P Table II, and Keras's page
    assert table.loc[("VGG16", "with classifier"), "parameters"] == 138357544
    assert table.loc[("VGG16", "embedding"), "parameters"] == 14714688
    assert len(table) == 2 + 2 * 12


def test_narrow_networks_have_no_published_size() -> None:
    table = model_sizes("paper")
    assert table[table["model"] == "MobileNet-0.25"]["what"].tolist() == ["embedding"]
