"""Pillow's readers of the supported formats, made to measure an EXIF block before they load it.

They are called directly: ``Image.open`` would first apply Pillow's own, process-wide pixel limit, which knows nothing of ours
and cannot be changed for one call.
"""

from __future__ import annotations

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ixc.imaging.tags import POINTERS, exif_fits, tags_fit

_RAW_PROFILE = "Raw profile type exif"
"""ImageMagick's text chunk, hexadecimal after three lines."""


class _MeasuredExif(Image.Image):
    """Forgets EXIF that claims more than it has: damaged metadata costs the rotation, not the picture.

    ``getexif`` is the only way to the block, for the JPEG reader also, which goes it while it opens the file.
    """

    def getexif(self) -> Image.Exif:
        block = self.info.get("exif")
        if isinstance(block, bytes) and not exif_fits(block):
            del self.info["exif"]
        if "exif" not in self.info and not exif_fits(bytes.fromhex("".join(self.info.get(_RAW_PROFILE, "").split("\n")[3:]))):
            del self.info[_RAW_PROFILE]
        return super().getexif()


class _JpegImageFile(_MeasuredExif, JpegImagePlugin.JpegImageFile):
    pass


class _PngImageFile(_MeasuredExif, PngImagePlugin.PngImageFile):
    pass


class _WebPImageFile(_MeasuredExif, WebPImagePlugin.WebPImageFile):
    pass


class _AvifImageFile(AvifImagePlugin.AvifImageFile):
    """Its base loads the EXIF block as soon as it has it, so the header is read once before: a fraction of a millisecond."""

    def _open(self) -> None:
        header = AvifImagePlugin._avif.AvifDecoder(self.fp.read(), AvifImagePlugin.DECODE_CODEC_CHOICE, 1)
        _size, _num_frames, _mode, _icc, exif, _orientation, _xmp = header.get_info()
        if exif and not exif_fits(exif):
            raise SyntaxError("the EXIF block claims more than it has")
        self.fp.seek(0)
        super()._open()


class _TiffImageFile(TiffImagePlugin.TiffImageFile):
    """Its base loads EXIF, GPS and interoperability directories after the pixels; those that claim too much are forgotten.

    Programs that copy tags as they are leave pointers that lead anywhere. The picture is none the worse.
    """

    def getexif(self) -> Image.Exif:
        exif = super().getexif()
        if self.fp is not None and any(tag in exif for tag in POINTERS) and not tags_fit(self.fp.getvalue(), with_parts=True):
            for tag in POINTERS & exif.keys():
                del exif[tag]
        return exif


PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": _JpegImageFile,
    "PNG": _PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": _WebPImageFile,
    "TIFF": _TiffImageFile,
    "AVIF": _AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
"""By what ``sniff_image_format`` calls the format. What a TIFF's reader gets must have passed ``tags_fit``."""
