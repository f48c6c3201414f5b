"""Stop strings, whole and in pieces, against a plain search in the whole text."""

from hypothesis import given
from hypothesis import strategies as st

from ixc.serving.stop_strings import StopStrings

TEXT = st.text("ab", max_size=12)


@given(pieces=st.lists(TEXT, max_size=8), stops=st.lists(TEXT.filter(bool), max_size=3))
def test_the_text_ends_before_the_first_stop_string(pieces, stops):
    whole = "".join(pieces)
    filtered = StopStrings(stops)
    shown = "".join([filtered.push(piece) for piece in pieces] + [filtered.finish()])
    found = [at for stop in stops if (at := whole.find(stop)) >= 0]
    assert filtered.was_met == bool(found)
    if not found:
        assert shown == whole
    else:
        # Of several, the one that is complete first ends the text: no stop string is ever shown.
        assert whole.startswith(shown)
        assert not any(stop in shown for stop in stops)
        assert any(whole.startswith(stop, len(shown)) for stop in stops)


def test_text_that_cannot_begin_a_stop_string_is_not_held_back():
    stops = StopStrings(["\n\n"])
    assert stops.push("Total: 5") == "Total: 5"
    assert stops.push("\n") == ""
    assert stops.push("x") == "\nx"
