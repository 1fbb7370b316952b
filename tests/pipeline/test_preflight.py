"""Impossible values and missing photographs are named before anything is computed."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from solesearch.core.errors import InputError
from solesearch.core.settings import active_profiles
from solesearch.pipeline import preflight


def change(workspace: Path, profile: str, section: str, **values) -> None:
    path = workspace / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters[profile][section].update(values)
    path.write_text(yaml.safe_dump(parameters))


@pytest.mark.parametrize("profile", ["smoke", "sample", "photos", "chapter", "paper"])
def test_committed_values_are_possible(workspace: Path, profile: str) -> None:
    preflight.check_values(profile)


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("catalog", {"source": "internet"}, "source"),
        ("catalog", {"preset": "huge"}, "preset"),
        ("catalog", {"photo": 3}, "catalog.photo: is no key here"),
        ("gan", {"upsampling": "magic"}, "gan.upsampling: .*'resize' or 'stride'"),
        ("gan", {"mixed_precision": True}, "gan.mixed_precision: true needs an NVIDIA GPU"),
        ("gan", {"seeds": []}, "gan.seeds: .*at least 1"),
        ("evaluation", {"choose_k": 3}, "choose_k 3 is not among"),
        ("latency", {"runs": 0}, "latency.runs: .* equal to 1, got 0"),
        ("networks", {"names": ["VGG18"]}, "network 'VGG18' is unknown"),
        ("networks", {"pooling": "mean"}, "'average', 'max' or 'flatten'"),
        ("retraining", {"networks": ["MobileNet-0.5"]}, "MobileNet-0.5 is not among networks.names"),
        ("retraining", {"heads": ["two"]}, "'one_unit' or 'classes'"),
        ("gallery", {"k": 0}, "gallery.k: .* greater than or equal to 1, got 0"),
        ("gallery", {"query_ids": [12]}, r"gallery.query_ids.0: .*got 12"),
        ("likeness", {"colour_cells": 0}, "likeness.colour_cells: .* equal to 2, got 0"),
        ("likeness", {"texture": 3}, "likeness.texture: is no key here, got 3"),
        ("ladder", {"variants": ["biggan"]}, "ladder: variants: 'biggan' is none of infogan, "),
        ("ladder", {"judging": {}}, "ladder.judging.recipes: is missing"),
        ("growth", {"steps": -1}, "growth.steps: .*got -1"),
        ("latent_codes", {"subset": 100}, "latent_codes: subset: at most half of 120 images; got 100"),
        ("human_study", {"repeats": 0.9}, "human_study.repeats: .*got 0.9"),
        ("human_study", {"query": 3}, "human_study.query: is no key here"),
    ],
)
def test_impossible_values_are_named(workspace: Path, section: str, values: dict, words: str) -> None:
    change(workspace, "sample", section, **values)
    with pytest.raises(InputError, match=words):
        preflight.check_values("sample")


def test_profiles_without_section_or_photographs(workspace: Path) -> None:
    path = workspace / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("  - sample\n", "  - samples\n", 1))
    with pytest.raises(InputError, match="no section for profile 'samples'; there are sample, chapter,"):
        preflight.check_all(active_profiles())
    path.write_text(text.replace("profiles:\n  - sample\n", "profiles: []\n", 1))
    with pytest.raises(InputError, match="at least one profile"):
        active_profiles()
    for profile, words in (
        ("photos", "`make photos DATA="),
        ("chapter", "`make chapter"),
        ("paper", "`make paper` fetches them, `make paper DATA="),
    ):
        with pytest.raises(InputError, match=rf"data/{profile}: no photographs there; {words}"):
            preflight.check_all([profile])


def test_no_tensorflow_is_needed() -> None:
    code = "import sys, solesearch.pipeline.preflight; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
