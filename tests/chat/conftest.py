from dataclasses import dataclass, field

import numpy as np
import pytest

from ixc.chat.events import AnswerStats, Finished, FinishReason, PrefillProgress, TextDelta
from ixc.chat.loading import load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn
from ixc.imaging.decode import DecodedImage, decode_image
from ixc.settings import GenerationSettings, ImageLimits, Settings
from tests.checkpoints import REFERENCE, write_chat_checkpoint

GREEDY = GenerationSettings(max_new_tokens=12, do_sample=False)


@dataclass
class Answer:
    """All events of one answer, sorted."""

    text: str = ""
    deltas: list[str] = field(default_factory=list)
    progress: list[PrefillProgress] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def stats(self) -> AnswerStats:
        return self.finished.stats

    @property
    def reason(self) -> FinishReason:
        return self.finished.reason


@dataclass
class Chat:
    """A user: keeps the conversation the way the screen does."""

    engine: object
    images: dict[str, DecodedImage]
    session_id: str = "a"
    turns: list[Turn] = field(default_factory=list)
    generation: GenerationSettings = GREEDY
    system: str = ""

    def ask(self, question, image=None, max_patches=4, stop=None, keep=True) -> Answer:
        view = ImageView(image, max_patches) if image else None
        request = ChatRequest(self.session_id, question, view, tuple(self.turns), self.images, self.system, self.generation)
        answer = Answer()
        for event in self.engine.answer(request, stop or StopFlag()):
            assert answer.finished is None, "nothing may follow Finished"
            if isinstance(event, TextDelta):
                answer.deltas.append(event.text)
                answer.text += event.text
            elif isinstance(event, Finished):
                answer.finished = event
            else:
                assert not answer.deltas, "progress comes before text"
                answer.progress.append(event)
        if keep:
            self.turns.append(Turn(question, answer.text, view))
        return answer


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return write_chat_checkpoint(tmp_path_factory.mktemp("chat-checkpoint"))


@pytest.fixture(scope="session")
def engine(checkpoint):
    engine = load_engine(Settings(model=str(checkpoint), prefill_chunk_tokens=64))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def static_engine(checkpoint):
    """Decodes over fixed buffers, a step ahead of the reader, as on a GPU but without graphs."""
    engine = load_engine(Settings(model=str(checkpoint), prefill_chunk_tokens=64, decode="static"))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def images():
    """Two pictures by image_id: a landscape and a portrait."""
    decoded = [decode_image(REFERENCE / f"{name}.png", ImageLimits()) for name in ("img_landscape", "img_portrait")]
    return {image.image_id: image for image in decoded}


@pytest.fixture
def landscape(images):
    return next(iter(images))


@pytest.fixture
def portrait(images):
    return list(images)[1]


@pytest.fixture
def new_chat(engine, images):
    """Makes chats of different sessions; all are forgotten afterwards."""
    made = []

    def make(**options) -> Chat:
        chat = Chat(engine, images, session_id=f"session-{len(made)}-{np.random.default_rng().integers(1 << 60)}", **options)
        made.append(chat)
        return chat

    yield make
    for chat in made:
        engine.forget(chat.session_id)
