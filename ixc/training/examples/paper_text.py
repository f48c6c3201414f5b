"""The words of the invented paper of ``paper.py``."""

TITLE_LINES = ("Counting Gulls from Ferry Decks:", "How Far Does Resolution Carry?")
ABSTRACT = (
    "Volunteers on the Ellery ferries have photographed resting gulls since 2019. We ask how many pixels a bird must cover "
    "before people and a detector find it. From 1,284 photographs with 31,907 marked birds, taken at three distances, we "
    "fit one curve with two parameters. Half of the birds are found at 7.4 pixels per bird from 100\u00a0m but only at 19.6 "
    "pixels from 400\u00a0m, because haze and spray cost contrast as well as size. Above 40 pixels nothing is gained. A camera "
    "of 24 megapixels is therefore enough for the northern crossing, and no camera on the market is enough for the outer bank."
)
INTRODUCTION = (
    "Gulls that rest on the water are hard to count from land. Ferries pass them four times a day, and their passengers "
    "carry cameras. Since March 2019 the harbour board has asked volunteers to photograph every flock within 400\u00a0m of the "
    "fairway and to send in the file as it left the camera.",
    "What such a file is worth depends on its resolution, yet the guidance for volunteers [1, 2] names only a focal length. "
    "Earlier work fixed the distance and varied the lens [3], or fixed the lens and varied the sea state [4]. Neither tells "
    "a volunteer whether the photograph just taken can be counted, and neither says when a larger file stops helping.",
    "We measure the share of birds that are found as a function of the number of pixels that one bird covers, for three "
    "distances, and give a rule that fits on a postcard: at least 12 pixels per bird near the ship, at least 30 at the "
    "edge of the survey strip, and never more than 40.",
)
METHOD = (
    "Material. From 9,406 submitted photographs we drew 1,284, balanced over distance (100, 200 and 400\u00a0m), season and "
    "light. Two of the authors marked every bird on the full file, at five times magnification; the third decided where "
    "they differed (2.1\u00a0% of 31,907 birds). Distance came from the ship's radar log.",
    "Reduction. Each photograph was reduced to twelve sizes with an area filter, so that a bird of median length covered "
    "4 to 59 pixels. Forty volunteers counted 60 photographs each, no photograph twice. The detector was trained on the "
    "2019 to 2022 seasons and tested on 2023 and 2024 only.",
    "Model. Let p be the number of pixels per bird. We describe the share R of birds that are found by",
)
METHOD_AFTER_EQUATION = (
    "where p0 is the size at which 63\u00a0% are found and k tells how sharply sight sets in. Both were fitted by maximum "
    "likelihood for each distance; intervals are from 2,000 bootstrap samples of photographs, not of birds, because birds in "
    "one flock are seen or missed together.",
    "All analysis code ran on one laptop in 41 minutes. Marks, photographs and counts are deposited with the harbour board "
    "under number EHB-2026-017.",
)
FIGURE_CAPTION = (
    "Figure 2. Share of birds found by volunteers against pixels per bird, at three distances. Dots: means over 40 "
    "volunteers; lines: equation (1)."
)
RESULTS = (
    "Equation (1) describes all three distances within 3 percentage points (Figure 2). Table 1 gives the parameters. "
    "Volunteers and detector agree closely near the ship; at 400\u00a0m the detector loses 9 points to the volunteers, "
    "mostly in spray. Going from 40 to 59 pixels changed no count by more than 0.4\u00a0%.",
)
TABLE_CAPTION = "Table 1. Fitted parameters and the size at which half of the birds are found (p50), in pixels per bird."
TABLE = (
    ("Distance", "p0", "k", "p50", "Photos"),
    ("100 m", "9.0", "1.9", "7.4", "431"),
    ("200 m", "14.0", "2.1", "11.8", "428"),
    ("400 m", "23.0", "2.3", "19.6", "425"),
    ("All", "15.1", "1.8", "12.3", "1,284"),
)
LIMITS = (
    "We marked resting gulls only; birds in flight are longer and blur. All files were JPEG from the camera. Night crossings, "
    "one in nine, are missing.",
)
REFERENCES = (
    "[1] Ellery Harbour Board. Watching from the deck: a guide. 2nd edition, 2021.",
    "[2] A. Sorrel and P. Venn. Asking passengers to count. Shore and Sea 18, 2020.",
    "[3] M. Okafor. Lens and flock. Ellery Notes on Field Methods 2, 2021.",
    "[4] J. Dahl, R. Iwu. Sea state and the missing third. Coastline 44, 2022.",
)
