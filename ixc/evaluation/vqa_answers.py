"""How TextVQA compares words: both sides are brought to one spelling first.

Source: the VQA challenge's evaluation (arXiv 1505.00468, section 3: lower case, digits for number words, no articles, no
punctuation) in the form that TextVQA's authors score with, MMF's EvalAIAnswerProcessor.
"""

from __future__ import annotations

import re

_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
} | {"none": "0"}
_ARTICLES = frozenset(("a", "an", "the"))
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_STOP = re.compile(r"\.(?!\d)")
"""A full stop that no digit follows. The original means to spare one after a digit too; its look-behind is misspelt."""
_MAX_STOPS = 32
"""The original passes re.UNICODE, which is 32, where re.sub takes the number of replacements."""

_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd
how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't
'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll
who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
you've
""".split()  # noqa: SIM905  as a list it would fill a page
"""The original also has I'd've, I'm and I've, with a capital that no lower-case word matches."""


def normalise_answer(text: str) -> str:
    """``text`` as TextVQA compares it."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _without_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = (_NUMBER_WORDS.get(word, word) for word in text.split())
    return " ".join(_SPELLINGS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text: str) -> str:
    """A mark that touches a space anywhere in ``text`` goes everywhere; others become spaces; then full stops go."""
    kept = text
    for mark in _PUNCTUATION:
        kept = kept.replace(mark, "" if f"{mark} " in text or f" {mark}" in text else " ")
    return _STOP.sub("", kept, count=_MAX_STOPS)


def _spellings() -> dict[str, str]:
    """Each contraction by its spellings with one apostrophe left out, and the one entry that is the wrong way round."""
    spellings = {"somebody'd": "somebodyd"}
    for right in _CONTRACTIONS:
        for place, letter in enumerate(right):
            if letter == "'":
                spellings[right[:place] + right[place + 1 :]] = right
    return spellings


_SPELLINGS = _spellings()
