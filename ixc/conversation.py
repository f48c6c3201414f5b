"""A conversation over images, and the exact text the model is prompted with. Standard library only.

Prompt formats: reference/ixc2_4khd/README.md, section "Prompt (chat)"; reference/inf_llava/README.md, section "Text".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

IMAGE_MARKER = "<ImageHere>"
"""Split marker for an image in a prompt; not a token. Removed from what users type."""
BOS_TEXT = "<s>"
TURN_START = "[UNUSED_TOKEN_146]"
TURN_END = "[UNUSED_TOKEN_145]"

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
    """``DecodedImage.image_id``: SHA-256 of the file, or of the pixels where there is no file.

    The same picture in two files is two images, whose tokens are computed and cached twice.
    """
    max_patches: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer, and the view it was asked about (None: no image)."""

    question: str
    answer: str
    view: ImageView | None = None
    more_views: tuple[ImageView, ...] = ()
    """Further images of the same question, in order."""

    @property
    def views(self) -> tuple[ImageView, ...]:
        return ((self.view,) if self.view else ()) + self.more_views


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text parts with the image views between them: parts[0], views[0], parts[1], ... parts[-1]."""

    parts: tuple[str, ...]
    views: tuple[ImageView, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.views) + 1:
            raise ValueError(f"{len(self.views)} images need {len(self.views) + 1} text parts, not {len(self.parts)}")


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How one family of models is prompted: what stands around every message, for an image, and at a conversation's start."""

    image_marker: str
    """Split marker for an image in a prompt; not a token."""
    after_image: str
    """Between an image and the question it came with."""
    opening: str
    """Before everything."""
    opening_without_image: str
    """Before everything when there is no image at all, in place of ``opening``."""
    message: str
    """One message, with {role} and {text}."""
    answer_start: str
    turn_end: str
    """The token that ends an answer."""
    default_system: str
    control: re.Pattern[str]
    """Matches, at the end of a text, any string that only the program may write."""
    longest_control: int

    def render(self, system: str, history: Sequence[tuple[str, str]], question: str) -> str:
        """The prompt string without its opening, markers included: optional system turn, past turns, the open question."""
        messages = [("system", system)] if system else []
        for past_question, past_answer in history:
            messages += [("user", past_question), ("assistant", past_answer)]
        messages.append(("user", question))
        # Not str.format: what users type may hold braces.
        return "".join(self.message.replace("{role}", r).replace("{text}", t) for r, t in messages) + self.answer_start

    def clean(self, text: str) -> str:
        """``text`` in whole characters and without control strings.

        Letter by letter, because removing one string can join the halves of another; in time proportional to the text,
        because repeated replacing would let a long nest of them stall the server.
        """
        kept: list[str] = []
        for letter in whole_characters(text):
            kept.append(letter)
            if letter in ">]":  # every control string ends with one of them and holds none before its end
                control = self.control.search("".join(kept[-self.longest_control :]))
                if control:
                    del kept[-len(control[0]) :]
        return "".join(kept)

    def build_prompt(
        self,
        system: str,
        turns: Sequence[Turn],
        question: str,
        view: ImageView | None,
        more_views: tuple[ImageView, ...] = (),
    ) -> Prompt:
        """The prompt for ``question`` about ``view`` (and ``more_views``) after ``turns``.

        Images stand before the first question that was asked about them, as in the reference's history. Asking on about the
        same images at another budget changes their views in that place; other images get a place of their own.
        """
        asked = [*turns, Turn(question, "", view, more_views)]
        groups = place_views([turn.views for turn in asked])
        marked = self.image_marker + self.after_image
        questions = [marked * len(groups.get(index, ())) + self.clean(turn.question) for index, turn in enumerate(asked)]
        history = [(q, self.clean(turn.answer)) for q, turn in zip(questions, turns, strict=False)]
        text = self.render(self.clean(system), history, questions[-1])
        views = tuple(placed for group in groups.values() for placed in group)
        if not views:
            return Prompt((self.opening_without_image + text,), ())
        return Prompt(tuple((self.opening + text).split(self.image_marker)), views)


XCOMPOSER2_CHAT = ChatFormat(
    image_marker=IMAGE_MARKER,
    after_image="",
    opening="",
    opening_without_image=BOS_TEXT,  # a reference quirk: the tokenizer adds another
    message=f"{TURN_START}{{role}}\n{{text}}{TURN_END}\n",
    answer_start=f"{TURN_START}assistant\n",
    turn_end=TURN_END,
    default_system=DEFAULT_SYSTEM,
    control=re.compile(r"(?:<ImageHere>|\[UNUSED_TOKEN_[0-9]{1,9}\]|</?s>|<unk>)\Z"),
    longest_control=len("[UNUSED_TOKEN_123456789]"),
)
LLAMA3_CHAT = ChatFormat(
    image_marker="<image>",
    after_image="\n",
    opening="<|begin_of_text|>",  # here too the tokenizer adds another, in training as well
    opening_without_image="<|begin_of_text|>",
    message="<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>",
    answer_start="<|start_header_id|>assistant<|end_header_id|>\n\n",
    turn_end="<|eot_id|>",
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
        "polite answers to the user's questions."
    ),
    control=re.compile(r"(?:<image>|<pad>|<\|[a-z0-9_]{1,60}\|>)\Z"),
    longest_control=len("<||>") + 60,
)


def whole_characters(text: str) -> str:
    """``text`` in which two halves of a character (UTF-16 surrogates) are joined and single ones replaced.

    JSON can say them, and clients do that cut a text by UTF-16 units; no tokenizer takes them.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def render_chat(system: str, history: Sequence[tuple[str, str]], question: str) -> str:
    """InternLM-XComposer2's prompt string; see ``ChatFormat.render``."""
    return XCOMPOSER2_CHAT.render(system, history, question)


def build_prompt(system: str, turns: Sequence[Turn], question: str, view: ImageView | None) -> Prompt:
    """InternLM-XComposer2's prompt; see ``ChatFormat.build_prompt``."""
    return XCOMPOSER2_CHAT.build_prompt(system, turns, question, view)


def turns_about(turns: Sequence[Turn], image_id: str | None) -> tuple[Turn, ...]:
    """What a model that looks at one image at a time is told of ``turns`` when it is asked about ``image_id``.

    Those since that image was first asked about, without those about others. With None: the turns that had no image.
    """
    wanted = {image_id} if image_id else set()
    shown = [{view.image_id for view in turn.views} for turn in turns]
    start = shown.index(wanted) if wanted in shown else len(turns)
    kept = [turn for turn, ids in zip(turns[start:], shown[start:], strict=True) if ids <= wanted]
    return tuple(replace(turn, more_views=()) for turn in kept)


def place_views(asked: Sequence[tuple[ImageView, ...]]) -> dict[int, tuple[ImageView, ...]]:
    """The images that stand before each question, by its index: of a run of questions about the same ones the first has them,

    at the budgets of the last.
    """
    placed: dict[int, tuple[ImageView, ...]] = {}
    start = -1
    for index, views in enumerate(asked):
        if not views:
            continue
        if start < 0 or [view.image_id for view in placed[start]] != [view.image_id for view in views]:
            start = index
        placed[start] = views
    return placed
