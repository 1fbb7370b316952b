"""A synthetic catalogue of shoes and bags, drawn from a seed, for runs without downloaded photos."""

from drawn_shoes.catalogue import (
    CLASSES,
    DrawnPhoto,
    draw_catalogue,
    draw_photo,
    plan_catalogue,
)

__all__ = ["CLASSES", "DrawnPhoto", "draw_catalogue", "draw_photo", "plan_catalogue"]
