"""The fonts that training documents are set in: an explicit list, so that a seed gives the same picture on every machine.

All are free fonts of Debian packages; whole families are held out, so that the evaluation can ask about type the model has
never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from ixc.errors import SettingsError

FONT_ROOT = Path("/usr/share/fonts")

_TRAINING = {
    "fonts-b612": ("opentype/b612/B612-Regular.otf", "opentype/b612/B612-Bold.otf"),
    "fonts-cantarell": ("opentype/cantarell/Cantarell-Regular.otf", "opentype/cantarell/Cantarell-Bold.otf"),
    "fonts-crosextra-caladea": ("truetype/crosextra/Caladea-Regular.ttf", "truetype/crosextra/Caladea-Bold.ttf"),
    "fonts-crosextra-carlito": ("truetype/crosextra/Carlito-Regular.ttf", "truetype/crosextra/Carlito-Bold.ttf"),
    "fonts-dejavu-core": (
        "truetype/dejavu/DejaVuSans.ttf",
        "truetype/dejavu/DejaVuSans-Bold.ttf",
        "truetype/dejavu/DejaVuSansMono.ttf",
        "truetype/dejavu/DejaVuSerif.ttf",
        "truetype/dejavu/DejaVuSerif-Bold.ttf",
    ),
    "fonts-dejavu-extra": ("truetype/dejavu/DejaVuSansCondensed-Bold.ttf",),
    "fonts-freefont-ttf": (
        "truetype/freefont/FreeSans.ttf",
        "truetype/freefont/FreeSansBold.ttf",
        "truetype/freefont/FreeSerif.ttf",
    ),
    "fonts-hack": ("truetype/hack/Hack-Regular.ttf", "truetype/hack/Hack-Bold.ttf"),
    "fonts-karla": ("truetype/karla/Karla-Regular.otf", "truetype/karla/Karla-Bold.otf"),
    "fonts-lato": (
        "truetype/lato/Lato-Regular.ttf",
        "truetype/lato/Lato-Bold.ttf",
        "truetype/lato/Lato-Black.ttf",
    ),
    "fonts-liberation": (
        "truetype/liberation/LiberationMono-Regular.ttf",
        "truetype/liberation/LiberationSans-Regular.ttf",
        "truetype/liberation/LiberationSans-Bold.ttf",
        "truetype/liberation/LiberationSansNarrow-Bold.ttf",
        "truetype/liberation/LiberationSerif-Regular.ttf",
    ),
    "fonts-linuxlibertine": (
        "opentype/linux-libertine/LinBiolinum_R.otf",
        "opentype/linux-libertine/LinBiolinum_RB.otf",
        "opentype/linux-libertine/LinLibertine_R.otf",
    ),
    "fonts-open-sans": (
        "truetype/open-sans/OpenSans-Regular.ttf",
        "truetype/open-sans/OpenSans-Bold.ttf",
    ),
    "fonts-roboto-slab": ("opentype/roboto/slab/RobotoSlab-Regular.otf", "opentype/roboto/slab/RobotoSlab-Bold.otf"),
    "fonts-roboto-unhinted": (
        "truetype/roboto/unhinted/RobotoTTF/Roboto-Regular.ttf",
        "truetype/roboto/unhinted/RobotoTTF/Roboto-Bold.ttf",
        "truetype/roboto/unhinted/RobotoTTF/Roboto-Black.ttf",
        "truetype/roboto/unhinted/RobotoCondensed-Bold.ttf",
    ),
    "fonts-sil-andika": ("truetype/andika/Andika-Regular.ttf", "truetype/andika/Andika-Bold.ttf"),
    "fonts-urw-base35": (
        "opentype/urw-base35/P052-Roman.otf",
        "opentype/urw-base35/URWGothic-Demi.otf",
    ),
}
_HELD_OUT = {
    "fonts-cabin": ("opentype/cabin/Cabin-Regular.otf", "opentype/cabin/Cabin-Bold.otf"),
    "fonts-inter": ("opentype/inter/Inter-Regular.otf", "opentype/inter/Inter-Bold.otf"),
    "fonts-jetbrains-mono": ("truetype/jetbrains-mono/JetBrainsMono-Regular.ttf",),
    "fonts-mononoki": ("truetype/mononoki/mononoki-Bold.ttf",),
    "fonts-paratype": ("truetype/paratype/PTF55F.ttf", "truetype/paratype/PTS75F.ttf"),
    "fonts-quicksand": ("truetype/quicksand/Quicksand-Medium.ttf", "truetype/quicksand/Quicksand-Bold.ttf"),
}
PACKAGES = tuple(sorted({*_TRAINING, *_HELD_OUT}))
"""Debian packages that training and evaluation need."""


@dataclass(frozen=True, slots=True)
class FontFile:
    """A font by its path; an empty path is the typeface that Pillow carries inside (for tests without any font package)."""

    path: str

    def at(self, size_px: int) -> ImageFont.FreeTypeFont:
        return _load(self.path, size_px)

    def starts_px(self, size_px: int, text: str) -> list[float]:
        """Where each character of ``text`` starts on the line, and where the line ends: len(text) + 1 offsets."""
        starts = [0.0]
        for index, char in enumerate(text):
            following = text[index + 1 : index + 2]
            step = _length(self.path, size_px, char + following)  # of the pair, so that kerning counts
            starts.append(starts[-1] + (step - _length(self.path, size_px, following) if following else step))
        return starts

    def ink_px(self, size_px: int, char: str) -> tuple[float, float, float, float]:
        """Ink of one character relative to its start on the baseline: left, top, right, bottom."""
        return _ink(self.path, size_px, char)


BUILT_IN = FontFile("")


def training_fonts() -> tuple[FontFile, ...]:
    """The fonts training documents use. Raises SettingsError naming the packages to install."""
    return _found(_TRAINING)


def held_out_fonts() -> tuple[FontFile, ...]:
    """Families that never appear in training. Raises SettingsError naming the packages to install."""
    return _found(_HELD_OUT)


def _found(table: dict[str, tuple[str, ...]], root: Path = FONT_ROOT) -> tuple[FontFile, ...]:
    missing = [package for package, names in table.items() if not all((root / name).is_file() for name in names)]
    if missing:
        raise SettingsError(
            f"Fonts are missing; install the Debian packages with: apt-get install --no-install-recommends {' '.join(missing)}"
        )
    return tuple(FontFile(str(root / name)) for names in table.values() for name in names)


@lru_cache(maxsize=1024)
def _load(path: str, size_px: int) -> ImageFont.FreeTypeFont:
    if not path:
        return ImageFont.load_default(size_px)
    # Basic layout: no ligatures, so that one character is one glyph; and the same result with and without libraqm.
    return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=400_000)
def _length(path: str, size_px: int, text: str) -> float:
    return _load(path, size_px).getlength(text)


@lru_cache(maxsize=200_000)
def _ink(path: str, size_px: int, char: str) -> tuple[float, float, float, float]:
    return _load(path, size_px).getbbox(char, anchor="ls")
