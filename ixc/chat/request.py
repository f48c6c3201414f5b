"""What a caller asks of the engine, and the flag by which it takes the request back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ixc.conversation import ImageView, Turn, turns_about
from ixc.errors import TooManyImages
from ixc.image_layout import ImageLayout
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question in its conversation. All of a user's state is here; the engine keeps only bounded caches by session."""

    session_id: str
    question: str
    view: ImageView | None = None
    turns: tuple[Turn, ...] = ()
    images: Mapping[str, DecodedImage] = field(default_factory=dict)
    """By image_id: every image that ``view`` and ``turns`` name."""
    system: str = ""
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    more_views: tuple[ImageView, ...] = ()
    """Further images of this question, after ``view``."""

    @property
    def lacks_images(self) -> bool:
        """Whether a past turn names an image that is not among ``images``."""
        return any(view.image_id not in self.images for turn in self.turns for view in turn.views)

    def about_one_image(self) -> ChatRequest:
        """As a model that looks at one image at a time is asked; see ``turns_about``. Raises TooManyImages."""
        if any(view.image_id != self.view.image_id for view in self.more_views):
            raise TooManyImages("This model looks at one image at a time; send one image with each question.")
        turns = turns_about(self.turns, self.view.image_id if self.view else None)
        return replace(self, turns=turns, more_views=())

    def at_least_budgets(self, layout: ImageLayout) -> ChatRequest:
        """With every budget as small as it cuts the same: what was read at one is found again at the other."""

        def least(view: ImageView) -> ImageView:
            image = self.images.get(view.image_id)
            if image is None:
                return view
            return ImageView(view.image_id, layout.least_budget(image.size_px, view.max_patches))

        turns = tuple(
            replace(turn, view=turn.view and least(turn.view), more_views=tuple(map(least, turn.more_views)))
            for turn in self.turns
        )
        return replace(self, view=self.view and least(self.view), more_views=tuple(map(least, self.more_views)), turns=turns)

    def without_missing_images(self) -> ChatRequest:
        """With the words of the past turns, and those of their images that are among ``images``."""
        return replace(self, turns=tuple(_of_images(turn, self.images) for turn in self.turns))


def _of_images(turn: Turn, images: Mapping[str, DecodedImage]) -> Turn:
    there = [view for view in turn.views if view.image_id in images]
    return replace(turn, view=there[0] if there else None, more_views=tuple(there[1:]))


class StopFlag:
    """Set from any thread; the engine looks at it between tokens, vision chunks and prefill chunks."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()
