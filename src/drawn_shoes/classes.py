"""The nine classes: each a few styles of product, given as ranges and choices."""

from __future__ import annotations

from drawn_shoes.design import Style, Traits

# fmt: off
LEATHERS = ("leather", "leather", "calf", "pebbled", "suede", "nubuck", "patent", "distressed")
DRESSY = (
    "leather", "calf", "patent", "patent", "satin", "suede", "metallic", "snake", "croc",
    "leopard", "glitter",
)
SOFT = ("felt", "suede", "suede", "canvas", "plaid", "nubuck", "floral", "leopard")
HIGH: Traits = {
    "lift": (0.12, 0.36), "sole": (0.012, 0.03), "waist": (0.5, 0.8), "spring": (0.01, 0.025),
    "welt": (0.002, 0.007), "toe_length": (0.32, 0.46), "toe_roundness": (1.4, 2.2), "toe_box": (0.06, 0.085),
    "throat": (0.24, 0.33), "throat_height": (0.075, 0.105), "side_height": (0.06, 0.09),
    "back_height": (0.15, 0.2), "strap_width": (0.014, 0.03),
    "heel": ("stiletto", "stiletto", "kitten", "cone", "block", "cuban"), "material": DRESSY,
    "strap_material": DRESSY[:6], "sole_material": ("leather",),
    "heel_material": ("wrapped", "wrapped", "wood"), "sole_colour": ("natural", "dark", "main"),
    "collar": ("binding", "none"), "palette": ("dressy",), "scheme": ("tonal", "black", "metal"),
}
PLATFORM: Traits = {
    **HIGH, "sole": (0.06, 0.12), "waist": (0.2, 0.4), "lift": (0.26, 0.4),
}
HEELS = (
    Style(3, {
        **HIGH, "ornament": ("none", "none", "none", "bow", "brooch"),
        "toe_detail": ("none", "none", "none", "cap"),
    }),
    Style(1.2, {
        **PLATFORM, "cut": ("none", "peep"), "sole_material": ("wrapped",), "sole_colour": ("main",),
        "heel": ("stiletto", "block", "cone"),
    }),
    Style(1.2, {**HIGH, "cut": ("peep", "peep slingback"), "straps": ("none",), "ornament": ("none", "bow")}),
    Style(1, {**HIGH, "straps": ("mary jane", "ankle")}),
    Style(1, {
        **HIGH, "lift": (0.08, 0.24), "cut": ("slingback", "peep slingback"), "straps": ("slingback",),
    }),
    Style(1.6, {
        **HIGH, "cut": ("straps",), "straps": ("strappy", "toe and ankle", "t strap"),
        "footbed_material": ("leather",),
    }),
)
BED: Traits = {
    "spring": (0.01, 0.03), "dish": (0.005, 0.02), "toe_length": (0.22, 0.3), "toe_roundness": (2.1, 2.8),
    "strap_width": (0.022, 0.045), "width": (1.0, 1.14), "welt": (0.006, 0.014), "cut": ("straps",),
    "strap_material": ("leather", "leather", "nubuck", "suede", "patent", "canvas", "metallic", "snake"),
    "footbed_material": ("leather", "suede", "cork", "foam"),
    "sole_material": ("rubber", "cork", "foam", "leather"),
    "sole_colour": ("dark", "brown", "natural", "main", "gum"), "palette": ("neutral", "leather", "bright"),
    "lining": ("tan", "brown", "black", "beige", "cognac"),
}
SANDALS = (
    Style(1.6, {
        **BED, "sole": (0.03, 0.055), "lift": (0.01, 0.03), "strap_width": (0.022, 0.05),
        "straps": ("thong",), "sole_material": ("rubber", "foam"),
    }),
    Style(1.4, {
        **BED, "sole": (0.05, 0.08), "lift": (0.0, 0.03), "straps": ("two straps", "slide", "crossed"),
        "sole_material": ("cork", "rubber", "foam"),
    }),
    Style(1.2, {
        **BED, "sole": (0.02, 0.04), "lift": (0.01, 0.05),
        "straps": ("t strap", "gladiator", "toe and ankle"),
    }),
    Style(1, {
        **BED, "sole": (0.06, 0.09), "lift": (0.01, 0.04), "tread": (0.15, 0.3), "straps": ("sport",),
        "palette": ("neutral", "sport"), "strap_material": ("canvas", "nubuck", "leather"),
        "footbed_material": ("foam",),
    }),
    Style(1.6, {
        **BED, "sole": (0.04, 0.08), "lift": (0.1, 0.24),
        "straps": ("slide", "crossed", "toe and ankle", "t strap"),
        "sole_material": ("cork", "jute", "wood", "wrapped"), "sole_colour": ("natural", "dark", "main"),
    }),
    Style(1, {
        **BED, "sole": (0.015, 0.03), "lift": (0.08, 0.22), "heel": ("block", "cuban", "stacked", "kitten"),
        "straps": ("crossed", "t strap", "strappy", "slide"), "heel_material": ("wood", "wrapped"),
    }),
)
TRAINER: Traits = {
    "sole": (0.05, 0.085), "waist": (0.9, 1.0), "lift": (0.015, 0.055), "spring": (0.02, 0.06),
    "welt": (0.004, 0.016), "flare": (0.0, 0.012), "bulge": (0.0, 0.012), "midsole": (0.12, 0.35),
    "sole_stripe": (0.0, 0.09), "toe_length": (0.22, 0.3), "toe_roundness": (2.1, 2.7),
    "toe_box": (0.1, 0.14), "throat": (0.44, 0.52), "throat_height": (0.25, 0.31),
    "side_height": (0.14, 0.18), "back_height": (0.21, 0.28), "opening": (0.07, 0.085), "rim": (0.018, 0.028),
    "lace_start": (0.24, 0.3), "lace_pitch": (0.042, 0.058), "vamp": (0.4, 0.6),
    "material": ("leather", "calf", "mesh", "mesh", "suede", "nubuck", "canvas"),
    "sole_material": ("rubber", "foam"),
    "sole_colour": ("white", "white", "white", "cream", "dark", "gum", "grey", "pop"),
    "fastening": ("laces", "laces", "laces", "laces", "laces", "velcro"),
    "toe_detail": ("bumper", "bumper", "cap", "none"),
    "side_detail": ("stripes", "swoosh", "lines", "panel", "quarter", "logo", "none"),
    "back_detail": ("counter", "counter", "tab", "none"), "collar": ("padded", "padded", "binding"),
    "scheme": ("white", "black", "pop", "tonal", "contrast"), "palette": ("sport", "sport", "neutral"),
    "lining": ("grey", "black", "white", "navy"),
}
SPORTS = (
    Style(3, {**TRAINER}),
    Style(1.2, {
        **TRAINER, "lift": (0.03, 0.07), "tread": (0.12, 0.3), "material": ("mesh", "nubuck", "leather"),
    }),
    Style(2, {
        **TRAINER, "sole": (0.035, 0.055), "lift": (0.0, 0.015), "shaft": (0.1, 0.24),
        "shaft_half": (0.19, 0.22), "spring": (0.01, 0.02), "fastening": ("laces",),
        "material": ("canvas", "canvas", "leather", "suede"),
    }),
    Style(1.2, {
        **TRAINER, "sole": (0.035, 0.05), "lift": (0.0, 0.01), "spring": (0.005, 0.02),
        "throat_height": (0.19, 0.23), "side_height": (0.12, 0.15),
        "material": ("canvas", "canvas", "suede", "leather"), "collar": ("plain", "binding"),
        "toe_detail": ("cap", "none", "bumper"),
    }),
)
ANKLE: Traits = {
    "sole": (0.03, 0.06), "waist": (0.5, 0.9), "lift": (0.02, 0.07), "welt": (0.008, 0.022),
    "toe_length": (0.24, 0.36), "toe_roundness": (1.8, 2.5), "toe_box": (0.1, 0.135), "throat": (0.46, 0.53),
    "throat_height": (0.28, 0.33), "side_height": (0.26, 0.3), "back_height": (0.27, 0.32),
    "opening": (0.09, 0.105), "shaft": (0.12, 0.5), "shaft_half": (0.2, 0.235), "lace_start": (0.28, 0.34),
    "lace_pitch": (0.05, 0.07), "crease": (0.0, 1.2), "vamp": (0.45, 0.65), "panel": (0.45, 0.6),
    "material": ("leather", "leather", "distressed", "suede", "nubuck", "pebbled", "calf"),
    "heel": ("stacked", "wedge"), "sole_colour": ("dark", "dark", "brown", "gum", "cream"),
    "back_detail": ("none", "tab", "counter"), "side_detail": ("none", "side seam", "quarter"),
    "palette": ("leather", "leather", "neutral"), "scheme": ("tonal", "tonal", "black", "contrast"),
}
BOOTS = (
    Style(2, {
        **ANKLE, "tread": (0.0, 0.3), "fastening": ("laces",),
        "toe_detail": ("none", "cap", "moccasin", "bumper"), "collar": ("plain", "padded", "cuff", "fleece"),
    }),
    Style(1.2, {**ANKLE, "fastening": ("gore", "zip"), "toe_detail": ("none", "none", "seam")}),
    Style(1.2, {
        **ANKLE, "lift": (0.12, 0.32), "sole": (0.012, 0.03), "toe_roundness": (1.5, 2.1),
        "toe_length": (0.32, 0.42), "toe_box": (0.075, 0.1), "welt": (0.003, 0.01),
        "heel": ("stiletto", "block", "cuban", "cone", "stacked"),
        "fastening": ("zip", "harness", "none", "laces"), "side_detail": ("none", "slouch"),
        "heel_material": ("wood", "wrapped"), "material": LEATHERS,
    }),
    Style(0.8, {
        **ANKLE, "shaft": (0.25, 0.5), "sole": (0.04, 0.06), "rim": (0.02, 0.03), "heel": ("wedge",),
        "material": ("suede", "felt", "nubuck"), "collar": ("fleece", "binding"),
        "side_detail": ("side seam",), "palette": ("soft",),
    }),
    Style(0.7, {
        **ANKLE, "tread": (0.1, 0.25), "toe_detail": ("duck",), "fastening": ("laces",),
        "collar": ("fleece", "plain"),
    }),
    Style(0.8, {
        **ANKLE, "shaft": (0.3, 0.55), "toe_roundness": (1.5, 1.9), "fastening": ("harness", "none"),
        "side_detail": ("western", "none"), "heel": ("cuban", "stacked"),
    }),
)
TALL: Traits = {
    **ANKLE, "shaft": (0.52, 1.05), "shaft_half": (0.175, 0.225), "shaft_slope": (-0.03, 0.05),
    "shaft_dip": (0.0, 0.06), "calf": (0.0, 0.05), "sole": (0.02, 0.04),
}
HIGH_BOOTS = (
    Style(2, {
        **TALL, "fastening": ("zip", "harness", "none"), "side_detail": ("none", "slouch", "side seam"),
        "material": LEATHERS,
    }),
    Style(1.6, {
        **TALL, "lift": (0.12, 0.32), "sole": (0.012, 0.03), "toe_roundness": (1.5, 2.0),
        "toe_length": (0.34, 0.44), "toe_box": (0.07, 0.09), "welt": (0.003, 0.01),
        "heel": ("stiletto", "block", "cuban", "cone"), "fastening": ("zip", "none"),
        "side_detail": ("none", "slouch", "side seam"), "material": LEATHERS,
        "heel_material": ("wood", "wrapped"),
    }),
    Style(0.9, {
        **TALL, "sole": (0.04, 0.06), "rim": (0.02, 0.035), "shaft": (0.44, 0.7), "heel": ("wedge",),
        "material": ("suede", "felt"), "collar": ("fleece", "cuff"), "side_detail": ("side seam",),
        "palette": ("soft",),
    }),
    Style(0.9, {
        **TALL, "shaft": (0.44, 0.7), "tread": (0.0, 0.25), "fastening": ("laces",),
        "toe_detail": ("none", "cap"), "collar": ("plain", "cuff"),
    }),
    Style(0.8, {
        **TALL, "toe_roundness": (1.4, 1.8), "shaft": (0.44, 0.66), "shaft_dip": (0.04, 0.1),
        "heel": ("cuban",), "side_detail": ("western",), "scheme": ("contrast", "pop", "tonal"),
    }),
    Style(0.7, {
        **TALL, "sole": (0.03, 0.05), "material": ("rubber", "patent", "floral"), "palette": ("bright",),
        "heel": ("wedge", "stacked"), "collar": ("cuff", "binding"),
    }),
)
SLIP_ON: Traits = {
    "sole": (0.02, 0.035), "lift": (0.025, 0.06), "welt": (0.004, 0.016), "toe_length": (0.24, 0.36),
    "toe_roundness": (1.8, 2.5), "toe_box": (0.085, 0.11), "throat": (0.36, 0.44),
    "throat_height": (0.15, 0.2), "side_height": (0.09, 0.12), "back_height": (0.15, 0.19),
    "crease": (0.0, 0.8), "material": LEATHERS, "strap_material": ("leather", "calf"),
    "heel": ("stacked", "stacked", "wedge"), "sole_material": ("leather", "rubber"),
    "sole_colour": ("dark", "brown", "natural", "gum"), "collar": ("binding", "plain"),
    "palette": ("leather", "leather", "neutral"), "scheme": ("tonal", "tonal", "contrast"),
}
LOAFERS = (
    Style(2, {**SLIP_ON, "fastening": ("penny", "bit"), "toe_detail": ("moccasin", "moccasin", "none")}),
    Style(1, {**SLIP_ON, "ornament": ("tassel",), "toe_detail": ("moccasin",)}),
    Style(1, {
        **SLIP_ON, "sole": (0.025, 0.04), "lift": (0.0, 0.02), "fastening": ("boat",),
        "toe_detail": ("moccasin",), "sole_colour": ("white", "cream", "brown", "gum"), "heel": ("wedge",),
    }),
    Style(1, {
        **SLIP_ON, "sole": (0.015, 0.025), "lift": (0.0, 0.02), "toe_detail": ("moccasin",),
        "fastening": ("none", "penny"), "heel": ("wedge",), "palette": ("neutral", "leather", "bright"),
    }),
    Style(1, {
        **SLIP_ON, "throat_height": (0.18, 0.22), "fastening": ("none",),
        "toe_detail": ("seam", "cap", "wing", "none"), "side_detail": ("side seam", "panel"),
    }),
)
HOUSE: Traits = {
    "sole": (0.02, 0.045), "lift": (0.0, 0.02), "welt": (0.0, 0.012), "toe_length": (0.22, 0.3),
    "toe_roundness": (2.1, 2.7), "toe_box": (0.1, 0.135), "throat": (0.36, 0.46),
    "throat_height": (0.15, 0.21), "side_height": (0.1, 0.14), "back_height": (0.14, 0.19),
    "width": (1.0, 1.14), "rim": (0.016, 0.035), "cut_place": (0.52, 0.66), "material": SOFT,
    "sole_material": ("rubber", "foam", "foam"), "sole_colour": ("dark", "brown", "cream", "gum", "main"),
    "footbed_material": ("fleece", "felt", "suede", "foam"),
    "collar": ("fleece", "fleece", "binding", "plain"), "palette": ("soft", "soft", "leather"),
    "lining": ("cream", "beige", "tan", "grey"), "scheme": ("tonal", "contrast"),
}
SLIPPERS = (
    Style(2.4, {
        **HOUSE, "cut": ("mule",), "toe_detail": ("none", "none", "moccasin"),
        "side_detail": ("none", "bands"),
    }),
    Style(1.4, {
        **HOUSE, "toe_detail": ("moccasin",), "material": ("suede", "suede", "nubuck", "leather"),
        "fastening": ("none", "boat", "penny"),
    }),
    Style(0.8, {**HOUSE, "cut": ("mule", "peep mule"), "ornament": ("pompom", "bow", "none")}),
    Style(0.8, {**HOUSE, "ornament": ("none", "bow", "pompom"), "side_detail": ("none", "bands")}),
    Style(0.9, {
        **HOUSE, "sole": (0.035, 0.06), "cut": ("straps",), "straps": ("slide", "crossed"),
        "strap_material": ("fleece", "felt", "plaid", "canvas"),
    }),
)
BALLET: Traits = {
    "sole": (0.012, 0.022), "lift": (0.005, 0.035), "welt": (0.0, 0.006), "spring": (0.01, 0.025),
    "toe_length": (0.26, 0.4), "toe_roundness": (1.5, 2.3), "toe_box": (0.065, 0.085), "throat": (0.22, 0.32),
    "throat_height": (0.08, 0.11), "side_height": (0.065, 0.09), "back_height": (0.12, 0.16),
    "material": (*DRESSY, "leather", "suede", "canvas", "floral"),
    "strap_material": ("leather", "patent", "satin"), "heel": ("wedge", "stacked"),
    "sole_material": ("leather", "rubber"), "sole_colour": ("dark", "natural", "brown"),
    "collar": ("binding", "binding", "none"), "palette": ("dressy", "neutral", "neutral"),
    "scheme": ("tonal", "black", "metal", "contrast"),
}
FLATS = (
    Style(2.4, {
        **BALLET, "ornament": ("none", "bow", "bow", "brooch"), "toe_detail": ("none", "none", "cap", "seam"),
    }),
    Style(1.2, {**BALLET, "straps": ("mary jane",)}),
    Style(1.2, {
        **BALLET, "throat": (0.28, 0.36), "throat_height": (0.11, 0.15), "side_height": (0.08, 0.1),
        "toe_detail": ("moccasin", "none", "cap", "wing"), "fastening": ("none", "penny", "bit"),
        "ornament": ("none", "bow"),
    }),
    Style(0.8, {**BALLET, "cut": ("dorsay", "peep", "slingback"), "straps": ("none",)}),
    Style(0.8, {
        **BALLET, "sole": (0.02, 0.035), "throat": (0.32, 0.38), "throat_height": (0.12, 0.16),
        "material": ("canvas", "stripes", "floral", "glitter"), "sole_material": ("jute", "rubber"),
        "sole_colour": ("natural", "white"), "fastening": ("none", "gore"),
    }),
)
BAG: Traits = {
    "material": (*LEATHERS, "patent", "croc", "snake", "quilted", "canvas", "metallic"),
    "strap_material": ("leather", "calf"), "palette": ("neutral", "leather", "dressy", "bright"),
    "scheme": ("tonal", "tonal", "contrast", "black"),
}
HANDBAGS = (
    Style(1.4, {
        **BAG, "bag_height": (0.5, 0.95), "bag_taper": (-0.1, 0.2), "bag_close": (0.5, 0.8),
        "handles": ("two",), "bag_detail": ("none", "base", "pocket", "straps"),
    }),
    Style(1.2, {
        **BAG, "bag_height": (0.45, 0.8), "bag_taper": (-0.35, -0.1), "handles": ("two", "one"),
        "bag_detail": ("flap", "straps", "pocket", "gather"),
    }),
    Style(1.2, {
        **BAG, "bag_height": (0.4, 0.75), "bag_sag": (0.08, 0.2), "bag_corner": (0.2, 0.45),
        "bag_taper": (-0.25, 0.1), "handles": ("shoulder", "wide"),
        "bag_detail": ("none", "gather", "pocket"),
    }),
    Style(1.2, {
        **BAG, "bag_height": (0.4, 0.8), "bag_depth": (0.08, 0.14), "handle_height": (0.3, 0.6),
        "handles": ("shoulder", "chain", "wide"), "bag_detail": ("flap",),
    }),
    Style(0.8, {
        **BAG, "bag_height": (0.36, 0.58), "bag_depth": (0.06, 0.1), "handles": ("clutch",),
        "bag_detail": ("flap", "gather", "none"), "material": DRESSY,
    }),
)
# fmt: on
STYLES: dict[str, tuple[Style, ...]] = {
    "heels": HEELS,
    "sandals": SANDALS,
    "sports": SPORTS,
    "boots": BOOTS,
    "high_boots": HIGH_BOOTS,
    "loafers": LOAFERS,
    "slippers": SLIPPERS,
    "flats": FLATS,
    "handbags": HANDBAGS,
}
