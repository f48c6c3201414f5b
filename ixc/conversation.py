"""A conversation over images, and the exact text the model is prompted with. Standard library only.

Prompt format: reference/ixc2_4khd/README.md, section "Prompt (chat)".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

IMAGE_MARKER = "<ImageHere>"
"""Split marker for an image in a prompt; not a token. Removed from what users type."""
BOS_TEXT = "<s>"
TURN_START = "[UNUSED_TOKEN_146]"
TURN_END = "[UNUSED_TOKEN_145]"

_CONTROL_AT_END = re.compile(r"(?:<ImageHere>|\[UNUSED_TOKEN_[0-9]{1,9}\]|</?s>|<unk>)\Z")
_LONGEST_CONTROL = len("[UNUSED_TOKEN_123456789]")

DEFAULT_SYSTEM = (
    "You are an AI assistant whose name is InternLM-XComposer (浦语·灵笔).\n"
    "- InternLM-XComposer (浦语·灵笔) is a multi-modality conversational language model that is developed by Shanghai AI "
    "Laboratory (上海人工智能实验室). It is designed to be helpful, honest, and harmless.\n"
    "- InternLM-XComposer (浦语·灵笔) can understand and communicate fluently in the language chosen by the user such as "
    "English and 中文.\n"
    "- InternLM-XComposer (浦语·灵笔) is capable of comprehending and articulating responses effectively based on the provided "
    "image."
)


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image at a budget: what is fed to the model in the place of one marker."""

    image_id: str
    """Digest of the decoded pixels."""
    max_patches: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer, and the view it was asked about (None: no image)."""

    question: str
    answer: str
    view: ImageView | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text parts with the image views between them: parts[0], views[0], parts[1], ... parts[-1]."""

    parts: tuple[str, ...]
    views: tuple[ImageView, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.views) + 1:
            raise ValueError(f"{len(self.views)} images need {len(self.views) + 1} text parts, not {len(self.parts)}")


def render_chat(system: str, history: Sequence[tuple[str, str]], question: str) -> str:
    """The prompt string, markers included: optional system turn, past turns, the open question."""
    rendered = f"{TURN_START}system\n{system}{TURN_END}\n" if system else ""
    for past_question, past_answer in history:
        rendered += f"{_render_question(past_question)}{past_answer}{TURN_END}\n"
    return rendered + _render_question(question)


def build_prompt(system: str, turns: Sequence[Turn], question: str, view: ImageView | None) -> Prompt:
    """The prompt for ``question`` about ``view`` after ``turns``.

    An image stands before the first question that was asked about it, as in the reference's history. Asking on about the
    same image at another budget changes its view in that place; another image gets a place of its own. Without any image the
    text starts with a literal BOS (reference quirk: the tokenizer adds another).
    """
    asked = [*((turn.question, turn.view) for turn in turns), (question, view)]
    views, starts = _place_views([asked_view for _, asked_view in asked])
    questions = [(IMAGE_MARKER if index in starts else "") + clean_text(text) for index, (text, _) in enumerate(asked)]
    history = [(q, clean_text(turn.answer)) for q, turn in zip(questions, turns, strict=False)]
    text = render_chat(clean_text(system), history, questions[-1])
    if not views:
        return Prompt((BOS_TEXT + text,), ())
    return Prompt(tuple(text.split(IMAGE_MARKER)), tuple(views))


def clean_text(text: str) -> str:
    """``text`` without the control strings of the prompt format, which only the program may write.

    Letter by letter, because removing one string can join the halves of another; in time proportional to the text, because
    repeated replacing would let a long nest of them stall the server.
    """
    kept: list[str] = []
    for letter in text:
        kept.append(letter)
        if letter in ">]":  # every control string ends with one of them and holds none before its end
            control = _CONTROL_AT_END.search("".join(kept[-_LONGEST_CONTROL:]))
            if control:
                del kept[-len(control[0]) :]
    return "".join(kept)


def _render_question(question: str) -> str:
    return f"{TURN_START}user\n{question}{TURN_END}\n{TURN_START}assistant\n"


def _place_views(views: Sequence[ImageView | None]) -> tuple[list[ImageView], set[int]]:
    """Runs of questions about one image: the last view of each run, and the index at which each run starts."""
    placed: list[ImageView] = []
    starts: set[int] = set()
    for index, view in enumerate(views):
        if view is None:
            continue
        if placed and placed[-1].image_id == view.image_id:
            placed[-1] = view
        else:
            placed.append(view)
            starts.add(index)
    return placed, starts
