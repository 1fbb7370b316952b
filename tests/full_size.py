"""Every stage at the papers' size: `python tests/full_size.py TREE FOLDER`, an hour and 5 GB; no test.

TREE is UT-Zap50K's official tree or a part of it. FOLDER gets a tree of 50,025 photos with all 21
subcategories (the real ones, then crops of them under names like theirs) and a copy of the project, in which
profile `paper` runs with trainings of a few steps. Prints minutes and peak memory of each stage as Markdown.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from official_tree import SUBCATEGORIES
from PIL import Image
from pipeline_runs import copy_of, environment, handed_out, run

from solesearch.photos.sources import OFFICIAL_PHOTOS, find_tree

REPOSITORY = Path(__file__).resolve().parents[1]
SHORT = {  # what trains, cut to some steps; everything else as profile `paper` has it
    "gan": {"steps": 20, "checkpoint_every": 10, "resume_every": 10},
    "retraining": {"steps": 5},
    "growth": {"steps": 5},
    "claims": {"reading_steps": 2},
    "ladder": {
        "steps": 2,
        "resume_every": 2,
        "variants": ["infogan", "vanilla", "dcgan", "dictionary"],  # with each further one time grows alone
    },
}
NETWORKS = {
    "names": ["VGG16", "MobileNet-0.25", "MobileNetV2"], "whole_catalogue": [],
    "photos": 1000, "untrained_photos": 100,
}  # fmt: skip


def crops(photos: list[Path], *, count: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield a name below the tree and a crop of a photo, two colours a product, every subcategory in turn."""
    random = np.random.default_rng(1)
    every = [f"{category}/{name}" for category, names in SUBCATEGORIES.items() for name in names]
    for number in range(count):
        source = photos[random.integers(len(photos))]
        own = "/".join(source.parts[-4:-2])
        folder = own if number % 8 else every[number // 8 % len(every)]
        with Image.open(source) as image:
            width, height = image.size
            share = random.uniform(0.8, 0.95)
            left, top = random.uniform(0, 1 - share, 2) * (width, height)
            box = (left, top, left + share * width, top + share * height)
            cut = image.convert("RGB").resize(image.size, box=box)
        yield f"{folder}/{source.parts[-2]}/{9_000_000 + number // 2}.{number % 2 + 1}.jpg", cut


def write_tree(tree: Path, target: Path) -> None:
    """Write the tree of OFFICIAL_PHOTOS photos; the real ones as they are."""
    photos = sorted(tree.rglob("*.jpg"))
    for photo in photos:
        copied = target / photo.relative_to(tree)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(photo.read_bytes())
    for name, cut in crops(photos, count=OFFICIAL_PHOTOS - len(photos)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        cut.save(target / name, quality=90)


def shorten(params: Path) -> None:
    """Cut the trainings of profile `paper` in params.yaml."""
    read = yaml.safe_load(params.read_text(encoding="utf-8"))
    for section, values in {**SHORT, "networks": NETWORKS}.items():
        read["paper"][section].update(values)
    read["paper"]["ladder"]["contrastive"]["steps"] = 2
    params.write_text(yaml.safe_dump({**read, "profiles": ["paper"]}), encoding="utf-8")


def table(results: Path) -> str:
    """Return minutes and peak memory of each stage that ran, as Markdown."""
    stages = json.loads((results / "run.json").read_text(encoding="utf-8"))["stages"]
    rows = [
        f"| {name} | {stage['seconds'] / 60:.1f} | {stage['peak_memory_mb'] / 1024:.1f} |"
        for name, stage in stages.items()
    ]
    return "\n".join(["| notebook | minutes | GiB |", "| --- | ---: | ---: |", *rows])


def main() -> int:
    """Make the tree and the copy where they are not there yet, run, print the table."""
    tree, folder = (Path(name).resolve() for name in sys.argv[1:])
    copy = folder / "solesearch"
    if not copy.exists():
        write_tree(find_tree(tree) or tree, folder / "tree" / "ut-zap50k-images")
        copy_of(handed_out(REPOSITORY, folder / "handed_out"), copy, profiles="  - paper\n")
        (copy / "data" / "paper").symlink_to(folder / "tree")
        shorten(copy / "params.yaml")
        for weights in (REPOSITORY / "weights").glob("*.h5"):
            (copy / "weights" / weights.name).symlink_to(weights)
        run(copy, "dvc", "config", "--local", "core.no_scm", "true")
    command = [sys.executable, "-m", "solesearch.pipeline.repro", "paper"]
    done = subprocess.run(command, cwd=copy, env=environment(copy), check=False)
    print(table(copy / "results" / "paper"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
