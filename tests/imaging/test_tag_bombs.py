"""TIFF tags and EXIF blocks that point at the same bytes again and again: what they claim is never copied.

The bombs are small, so that a decoder that falls for them fails here and not the machine.
"""

import io
import struct
import tracemalloc

import cv2  # noqa: F401  not while memory is counted
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ixc.errors import ImageUnreadable
from ixc.imaging.decode import decode_image
from ixc.imaging.tags import tags_fit
from ixc.settings import ImageLimits
from ixc.tiling import SizePx
from tests.imaging.files import RED, encode, four_corners, png_chunk

LIMITS = ImageLimits()
PICTURE = [(256, 4, 1, 8), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1)]
"""8 x 4 grey pixels, which are the file's own first bytes. All entries here are (tag, type, count, value or offset)."""
BOMB_TAGS, BOMB_BYTES = 400, 60_000
"""24 MB, and within the 64 kB of a JPEG segment."""
EXIF_POINTER, ORIENTATION = 0x8769, 274


def directory(entries, is_big=False, order="<") -> bytes:
    count, entry, end = ("Q", "HHQQ", 8) if is_big else ("H", "HHLL", 4)
    return struct.pack(order + count, len(entries)) + b"".join(struct.pack(order + entry, *e) for e in entries) + bytes(end)


def tiff(entries, tail=b"", is_big=False) -> bytes:
    head = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if is_big else b"II*\0" + struct.pack("<L", 8)
    return head + directory(entries, is_big) + tail


def bomb(entries=(), is_big=False) -> bytes:
    """A TIFF or EXIF block of tags that all lie where the last 60,000 bytes are."""
    start = len(tiff([*entries, *[(0, 0, 0, 0)] * BOMB_TAGS], is_big=is_big))
    tags = [(40_000 + number, 7, BOMB_BYTES, start) for number in range(BOMB_TAGS)]
    return tiff([*entries, *tags], bytes(BOMB_BYTES), is_big)


def bomb_in_exif_directory(is_far: bool) -> bytes:
    """The pointer to the directory is in its entry, or has eight bytes and lies elsewhere."""
    place = len(tiff([*PICTURE, (0, 0, 0, 0)]))
    start = place + 8
    tail_start = start + len(directory([(0, 0, 0, 0)] * BOMB_TAGS))
    tags = directory([(40_000 + number, 7, BOMB_BYTES, tail_start) for number in range(BOMB_TAGS)])
    pointer = (EXIF_POINTER, 16, 1, place) if is_far else (EXIF_POINTER, 4, 1, start)
    return tiff([*PICTURE, pointer], struct.pack("<Q", start) + tags + bytes(BOMB_BYTES))


def in_jpeg(exif: bytes) -> bytes:
    return encode(four_corners(), "JPEG", exif=b"Exif\0\0" + exif)


def in_png(*chunks: bytes) -> bytes:
    data = encode(four_corners(), "PNG")
    position = data.index(b"IDAT") - 4
    return data[:position] + b"".join(chunks) + data[position:]


def raw_profile(exif: bytes) -> bytes:
    """As ImageMagick writes it."""
    return png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n" + b"%8d\n" % len(exif) + exif.hex().encode() + b"\n")


def in_webp(exif: bytes) -> bytes:
    return encode(four_corners(), "WEBP", exif=b"Exif\0\0" + exif)


def peak_bytes(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


TURNED_BOMB = bomb([(ORIENTATION, 3, 1, 6)])
REFUSED = {
    "TIFF": bomb(PICTURE),
    "BigTIFF": bomb(PICTURE, is_big=True),
    "AVIF": encode(four_corners(), "AVIF", exif=b"Exif\0\0" + bomb()),
}
SHOWN = {
    "JPEG": in_jpeg(TURNED_BOMB),
    "PNG": in_png(png_chunk(b"eXIf", TURNED_BOMB)),
    "PNG, raw profile": in_png(raw_profile(TURNED_BOMB)),
    "PNG, both": in_png(png_chunk(b"eXIf", TURNED_BOMB), raw_profile(TURNED_BOMB)),
    "WebP": in_webp(TURNED_BOMB),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", REFUSED)
def test_a_bomb_that_must_be_read_is_refused_before_it_is(what):
    data = REFUSED[what]

    def work():
        with pytest.raises(ImageUnreadable, match="damaged or incomplete"):
            decode_image(data, LIMITS)

    assert peak_bytes(work) < 10 * BOMB_BYTES


@pytest.mark.parametrize("what", SHOWN)
def test_a_bomb_in_metadata_costs_the_rotation_but_not_the_picture(what):
    found = []
    assert peak_bytes(lambda: found.append(decode_image(SHOWN[what], LIMITS))) < 20 * BOMB_BYTES
    assert found[0].size_px == SizePx(32, 48)
    assert np.abs(found[0].pixels_HWC[8, 8].astype(int) - RED).max() < 8


@pytest.mark.parametrize("is_far", [False, True])
def test_a_bomb_behind_the_tags_of_a_tiff_is_forgotten(is_far):
    """So are pointers that lead anywhere, as programs leave them that copy tags without what these point at."""
    found = []
    data = bomb_in_exif_directory(is_far=is_far)
    assert peak_bytes(lambda: found.append(decode_image(data, LIMITS))) < 10 * BOMB_BYTES
    assert found[0].size_px == SizePx(4, 8)


def test_a_bomb_behind_the_tags_leaves_the_rotation():
    """Of such a block Pillow reads the first directory alone; the pointer leads to one of 65,534 tags."""
    entries = [(ORIENTATION, 3, 1, 6), (EXIF_POINTER, 4, 1, 0)]
    turned = tiff([entries[0], (EXIF_POINTER, 4, 1, len(tiff(entries)) + 254)], bytes(range(256)) * 200)
    assert not tags_fit(turned, with_parts=True)
    assert decode_image(in_jpeg(turned), LIMITS).size_px == SizePx(48, 32)


def test_thousands_of_prefixes_are_not_removed_one_by_one():
    block = b"Exif\0\0" * 20_000 + tiff([(ORIENTATION, 3, 1, 6)])
    assert decode_image(in_png(png_chunk(b"eXIf", block)), LIMITS).size_px == SizePx(32, 48)
    assert decode_image(in_png(png_chunk(b"eXIf", block[-2 * 6 - 26 :])), LIMITS).size_px == SizePx(48, 32)


@pytest.mark.parametrize("is_big", [False, True])
def test_a_directory_of_thousands_of_tags_is_refused(is_big):
    tags = [(50_000 + number, 1, 1, 0) for number in range(5000)]
    with pytest.raises(ImageUnreadable, match="damaged or incomplete"):
        decode_image(tiff([*PICTURE, *tags], is_big=is_big), LIMITS)
    assert decode_image(tiff([*PICTURE, *tags[:1000]], is_big=is_big), LIMITS).size_px == SizePx(4, 8)


def test_half_a_million_strips_are_refused():
    """Pillow would make a Python object of each offset and another of each strip."""
    entries = [*[entry for entry in PICTURE if entry[0] != 273], (278, 4, 1, 1)]
    start = len(tiff([*entries, (273, 4, 0, 0)]))
    with pytest.raises(ImageUnreadable, match="damaged or incomplete"):
        decode_image(tiff([*entries, (273, 4, 600_000, start)], bytes(2_400_000)), LIMITS)
    assert decode_image(tiff([*entries, (273, 4, 20_000, start)], bytes(80_000)), LIMITS).size_px == SizePx(4, 8)


# --- honest files ---------------------------------------------------------------------------------------------------------


def camera_exif(orientation: int) -> bytes:
    """What a camera writes: a note of its maker, a place, a thumbnail; both resolutions share one fraction."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[271], exif[272] = "Maker", "Camera 1"
    exif.get_ifd(EXIF_POINTER).update({0x829A: (1, 60), 0x927C: bytes(range(256)) * 100, 0x9286: b"ASCII\0\0\0hello"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.5)})
    block = exif.tobytes()[6:]
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    (start,) = struct.unpack_from(order + "L", block, 4)
    (count,) = struct.unpack_from(order + "H", block, start)
    entries = [struct.unpack_from(order + "HHLL", block, start + 2 + 12 * number) for number in range(count)]
    # The first directory again, at the end, with two more tags that share their eight bytes.
    moved = len(block) + 8
    body = directory(sorted([*entries, (282, 5, 1, len(block)), (283, 5, 1, len(block))]), order=order)
    return block[:4] + struct.pack(order + "L", moved) + block[8:] + struct.pack(order + "LL", 72, 1) + body


@pytest.mark.parametrize(
    "contain", [in_jpeg, in_webp, lambda exif: in_png(png_chunk(b"eXIf", exif)), lambda e: in_png(raw_profile(e))]
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_cameras_exif_still_turns_the_picture(contain, orientation):
    expected = SizePx(48, 32) if orientation == 6 else SizePx(32, 48)
    assert decode_image(contain(camera_exif(orientation)), LIMITS).size_px == expected


def test_an_orientation_in_xmp_still_turns_the_picture_when_the_exif_is_a_bomb():
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="8"/>'
    data = in_png(png_chunk(b"iTXt", xmp), png_chunk(b"eXIf", TURNED_BOMB))
    decoded = decode_image(data, LIMITS)
    assert decoded.size_px == SizePx(48, 32)
    assert decoded.pixels_HWC[-1, 0].tolist() == list(RED)


def test_a_tiff_with_an_exif_directory_and_a_tag_behind_its_end():
    inner = len(tiff([*PICTURE, (0, 0, 0, 0), (0, 0, 0, 0)]))
    entries = [*PICTURE, (ORIENTATION, 3, 1, 6), (EXIF_POINTER, 4, 1, inner)]
    data = tiff(entries, directory([(0x9286, 7, 4, 0x41414141)]))
    assert decode_image(data, LIMITS).size_px == SizePx(8, 4)
    outside = tiff([*PICTURE, (ORIENTATION, 3, 1, 6), (50_000, 7, 2**31, 100)])
    with pytest.warns(UserWarning, match="Truncated"):
        assert decode_image(outside, LIMITS).size_px == SizePx(8, 4)


entries_of_all_kinds = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, ORIENTATION]), st.integers(0, 19), st.integers(0, 60), st.integers(0, 300)), max_size=12
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(entries=entries_of_all_kinds, order=st.sampled_from("<>"), is_big=st.booleans(), num_more=st.integers(0, 200))
def test_what_pillow_keeps_of_a_directory_that_fits_is_no_more_than_twice_the_file(entries, order, is_big, num_more):
    """Pillow has the last word on what it reads; it cannot read a big-endian BigTIFF as such."""
    is_big = is_big and order == "<"
    head = tiff([], is_big=True)[:16] if is_big else {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HL", 42, 8)
    data = head + directory(entries, is_big, order) + bytes(num_more)
    loaded = ImageFileDirectory_v2(head)
    file = io.BytesIO(data)
    file.seek(loaded.next)
    loaded.load(file)
    if tags_fit(data):
        assert sum(map(len, loaded._tagdata.values())) <= 2 * len(data)
