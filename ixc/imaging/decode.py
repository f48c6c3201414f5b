"""Untrusted bytes to upright RGB pixels, within limits, or one sentence about why not.

Pillow reads the header and does the decoding, but for plain JPEGs, which OpenCV decodes to the same pixels in less than half
the time. Pillow's plug-ins raise almost any exception on hostile data, so everything that touches the file is guarded here and
nothing but ``ImageError`` leaves this module, and ``EngineBusy`` where too many come at once.
"""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from ixc.errors import ImageTooLarge, ImageUnreadable, IxcError
from ixc.imaging.clutter import is_cluttered
from ixc.imaging.jpeg import decode_plain_jpeg, has_more_scans
from ixc.imaging.large_work import turn_for
from ixc.imaging.modes import to_rgb
from ixc.imaging.plugins import PLUGINS
from ixc.imaging.sniff import HEAD_BYTES, SUPPORTED_NAMES, describe_other_file, sniff_image_format
from ixc.imaging.tags import tags_fit
from ixc.settings import MEGABYTE, ImageLimits
from ixc.tiling import SizePx

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what undoes it."""

_MAX_JPEG_SCANS = 500
"""Every scan of a progressive JPEG passes over the whole picture: a small file with many of them decodes for hours."""

Buffer = bytes | bytearray | memoryview
"""A file's bytes, wherever they lie; those that can still be written to are copied."""
_BYTES = get_args(Buffer)

_ID_OF_FILE = b"ixc image file 1\n"
"""Hashed before a file's bytes. The number is that of this module's way to pixels: another way, other ids."""


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB picture and its identity."""

    pixels_HWC: np.ndarray  # noqa: N815  dimension letters
    """uint8, contiguous, read-only."""
    image_id: str
    """SHA-256 of the file it was decoded from, or of shape and pixels when there was none: same id, same pixels.

    Hashing a file takes a twentieth of the time that hashing its pixels takes.
    """
    source_format: str
    """"JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF" or "BMP", told from the content."""

    @property
    def size_px(self) -> SizePx:
        height, width, _ = self.pixels_HWC.shape
        return SizePx(height, width)

    @classmethod
    def from_pixels(cls, pixels_HWC: np.ndarray, source_format: str = "PNG") -> DecodedImage:
        """Wrap pixels that are already upright uint8 RGB. Raises ValueError for another shape or type."""
        pixels_HWC = _frozen(pixels_HWC)
        digest = hashlib.sha256(repr(pixels_HWC.shape).encode())
        digest.update(pixels_HWC)
        return cls(pixels_HWC, digest.hexdigest(), source_format)


@dataclass(frozen=True)
class OpenedImage:
    """An image whose header is within the limits. Its pixels, which may take seconds, are still to be decoded."""

    data: bytes = field(repr=False)
    source_format: str
    size_px: SizePx
    """As stored; the picture may be turned yet."""
    _header: ImageFile.ImageFile = field(repr=False)

    @cached_property
    def image_id(self) -> str:
        """That of the decoded image."""
        digest = hashlib.sha256(_ID_OF_FILE)
        digest.update(self.data)
        return digest.hexdigest()

    def decode(self) -> DecodedImage:
        """As ``decode_image``; to be called once. Raises ImageUnreadable, ImageTooLarge and EngineBusy."""
        with _translated_errors(), turn_for(self.size_px):
            pixels_HWC = _pixels_fast(self._header, self.data) if self.source_format == "JPEG" else None
            if pixels_HWC is None:
                pixels_HWC = _pixels(self._header)
            pixels_HWC = _frozen(pixels_HWC)
        return DecodedImage(pixels_HWC, self.image_id, self.source_format)


def decode_image(source: Path | Buffer, limits: ImageLimits) -> DecodedImage:
    """Decode a file or its bytes: first frame, EXIF orientation applied, transparency over white, any mode to 8-bit RGB.

    The limits on bytes, side and megapixels are checked before any pixel is decoded. Raises ImageTooLarge for a limit,
    ImageUnreadable for everything else that is wrong with the image, EngineBusy while too many others are being opened; each
    message is one sentence for the user. A ``source`` that is neither, such as a file's name, is a TypeError.
    """
    return open_image(source, limits).decode()


def open_image(source: Path | Buffer, limits: ImageLimits) -> OpenedImage:
    """Read a file's header and check its limits, in milliseconds. Raises ImageTooLarge, ImageUnreadable and TypeError."""
    if not isinstance(source, (Path, *_BYTES)):
        kind = type(source).__name__
        raise TypeError(
            f"an image is given as a pathlib.Path or as the bytes of its file, not as {kind}: Path(name) for a name"
        )
    data = _read(source, limits.max_bytes) if isinstance(source, Path) else bytes(source)
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), limits.max_bytes)
    source_format = _identify(data)
    with _translated_errors():
        _check_structure(data, source_format)
        image = PLUGINS[source_format](io.BytesIO(data))
        size_px = SizePx(image.height, image.width)
        _check_size(size_px, limits)
        if source_format == "TIFF":
            _check_tiff_tiles(image, limits)
        return OpenedImage(data, source_format, size_px, image)


def _pixels(image: ImageFile.ImageFile) -> np.ndarray:
    """Pillow's decoding of an opened file: upright uint8 RGB [height, width, 3]."""
    image.load()
    orientation = _orientation(image)
    rgb = to_rgb(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.asarray(rgb)


def _pixels_fast(image: JpegImagePlugin.JpegImageFile, data: bytes) -> np.ndarray | None:
    """The same pixels of a JPEG that is upright RGB and in no way unusual, else None."""
    if image.mode != "RGB" or _orientation(image) in _UPRIGHT:
        return None
    pixels_HWC = decode_plain_jpeg(data)
    if pixels_HWC is None or pixels_HWC.shape != (image.height, image.width, 3):
        return None
    pixels_HWC.flags.writeable = False  # nobody else has it: no copy is needed to keep it as it is
    return pixels_HWC


def _frozen(pixels_HWC: np.ndarray) -> np.ndarray:
    """Contiguous and read-only; a copy when the caller could still write to the memory, for the id must stay true."""
    if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3 or 0 in pixels_HWC.shape:
        raise ValueError(f"pixels must be uint8 of shape (height, width, 3), not {pixels_HWC.dtype} {pixels_HWC.shape}")
    pixels_HWC = np.array(pixels_HWC, order="C", copy=True if pixels_HWC.flags.writeable else None)
    pixels_HWC.flags.writeable = False
    return pixels_HWC


def _read(path: Path, max_bytes: int) -> bytes:
    """The file's bytes, at most one more than allowed."""
    name = _shown_name(path)
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise ImageUnreadable(f"The path {name} is a folder; choose an image file.")
        if not stat.S_ISREG(info.st_mode):  # a pipe or device could block or never end
            raise ImageUnreadable(f"The path {name} is not an ordinary file; choose an image file.")
        if info.st_size > max_bytes:
            raise _too_many_bytes(info.st_size, max_bytes)
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageUnreadable(f"There is no file {name}; check its name and folder.") from None
    except PermissionError:
        raise ImageUnreadable(f"The file {name} may not be read; check its permissions.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise ImageUnreadable(f"The file {name} could not be read ({reason}); check it and try again.") from error


def _shown_name(path: Path) -> str:
    """The name alone, for a server's folders are nobody's business, on one line and not too long for a message."""
    name = "".join(character if character.isprintable() else "?" for character in path.name or str(path))
    return name if len(name) <= 60 else f"{name[:40]}...{name[-15:]}"


def _identify(data: bytes) -> str:
    if not data:
        raise ImageUnreadable("The file is empty; choose an image file.")
    head = data[:HEAD_BYTES]
    source_format = sniff_image_format(head)
    if source_format is None:
        other = describe_other_file(head)
        what = f"This is {other}, not an image that can be opened" if other else "This file is not an image that can be opened"
        raise ImageUnreadable(f"{what}; use {SUPPORTED_NAMES}.")
    return source_format


def _check_structure(data: bytes, source_format: str) -> None:
    """What Pillow would take minutes or gigabytes for, whatever the size of the picture."""
    if is_cluttered(data, source_format):
        raise ImageUnreadable(f"The {source_format} has far more metadata than a picture needs; save it again as JPEG or PNG.")
    if source_format == "JPEG" and has_more_scans(data, _MAX_JPEG_SCANS):
        raise ImageUnreadable(f"The JPEG has more than {_MAX_JPEG_SCANS} scans; save it again as an ordinary JPEG or PNG.")
    if source_format == "TIFF" and not tags_fit(data):
        raise _damaged()


def _check_size(size_px: SizePx, limits: ImageLimits) -> None:
    longest = max(size_px.height, size_px.width)
    if longest > limits.max_side_px:
        raise ImageTooLarge(
            f"The image is {size_px.width} x {size_px.height} pixels; no side may be longer than {limits.max_side_px}. "
            "Downscale it or raise IXC_MAX_SIDE_PX."
        )
    megapixels = size_px.height * size_px.width / 1e6
    if megapixels > limits.max_megapixels:
        raise ImageTooLarge(
            f"The image has {_amount(megapixels, limits.max_megapixels)} megapixels; the limit is {limits.max_megapixels:g}. "
            "Downscale it or raise IXC_MAX_MEGAPIXELS."
        )


def _check_tiff_tiles(image: TiffImagePlugin.TiffImageFile, limits: ImageLimits) -> None:
    """A TIFF's internal tiles may claim far more memory than the picture, and libtiff would allocate it."""
    sides = [image.tag_v2.get(tag, 1) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
    if not all(isinstance(side, int) and 0 < side <= limits.max_side_px for side in sides):
        raise _damaged()
    if sides[0] * sides[1] > limits.max_megapixels * 1e6:
        raise _damaged()


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none. Damaged metadata costs the rotation, not the picture."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  hostile EXIF makes Pillow raise nearly anything
        return 1


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except IxcError:
        raise
    except MemoryError as error:
        raise ImageTooLarge("There is not enough memory to open this image; downscale it.") from error
    except Image.DecompressionBombError as error:  # from inside the GIF and TIFF plug-ins
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise ImageTooLarge(
            f"The image has more than the {limit:.0f} megapixels that can be opened in its file format; "
            "downscale it or save it as PNG."
        ) from error
    except Exception as error:  # hostile data makes Pillow's plug-ins raise nearly anything
        raise _damaged() from error


def _damaged() -> ImageUnreadable:
    return ImageUnreadable("The image file is damaged or incomplete; save it again as PNG or JPEG and try that.")


def _too_many_bytes(num_bytes: int, max_bytes: int) -> ImageTooLarge:
    size_mb, limit_mb = num_bytes / MEGABYTE, max_bytes / MEGABYTE
    return ImageTooLarge(
        f"The file has {_amount(size_mb, limit_mb)} MB; the limit is {limit_mb:g}. Save it smaller or raise IXC_MAX_UPLOAD_MB."
    )


def _amount(value: float, limit: float) -> str:
    """``value`` with as few decimals as still show that it is above ``limit``."""
    for decimals in range(7):
        text = f"{value:.{decimals}f}"
        if float(text) > limit:
            return text
    return repr(value)
