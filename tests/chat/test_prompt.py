"""Comparing a prompt with what a cache holds, against a brute-force comparison of flat lists."""

from hypothesis import given
from hypothesis import strategies as st

from ixc.chat.prompt import ImageSegment, TextSegment, common_prefix_length, cut_segments, with_generated
from ixc.conversation import ImageView
from ixc.tiling import SizePx, plan_tiles

texts = st.lists(st.integers(0, 2), min_size=1, max_size=4).map(lambda ids: TextSegment(tuple(ids)))
views = st.builds(ImageView, st.sampled_from("ab"), st.sampled_from([1, 4]))
pictures = views.map(lambda view: ImageSegment(view, plan_tiles(SizePx(10, 10), view.max_patches)))


@st.composite
def prompts(draw):
    """Text and images in turn, as prompts are."""
    segments = [draw(texts)]
    for _ in range(draw(st.integers(0, 2))):
        segments += [draw(pictures), draw(texts)]
    return tuple(segments)


def flat(segments):
    """One item per token."""
    items = []
    for segment in segments:
        if isinstance(segment, TextSegment):
            items += segment.ids
        else:
            items += [(segment.view, index) for index in range(len(segment))]
    return items


def brute_force_common(a, b):
    length = 0
    for x, y in zip(flat(a), flat(b), strict=False):
        if x != y:
            return length
        length += 1
    return length


@given(prompts(), prompts())
def test_common_prefix(a, b):
    assert common_prefix_length(a, b) == brute_force_common(a, b)
    assert common_prefix_length(a, a) == len(flat(a))


@given(prompts(), st.integers(0, 2000))
def test_cut_keeps_the_start_and_never_half_an_image(segments, length):
    kept = flat(cut_segments(segments, length))
    whole = flat(segments)
    assert kept == whole[: len(kept)]
    if len(kept) < min(length, len(whole)):
        _, index = whole[len(kept)]
        assert index == 0, "only an image that would be cut is left out"


@given(prompts(), st.lists(st.integers(0, 5), max_size=5))
def test_generated_tokens_follow_the_prompt(segments, ids):
    assert flat(with_generated(segments, ids)) == flat(segments) + ids
