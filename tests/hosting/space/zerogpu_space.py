"""A ZeroGPU Space without a GPU: the real ``spaces`` package with its real forked workers, whose CUDA steps do nothing.

Run as a program with SPACES_ZERO_GPU and the scheduler's address in the environment; prints what happened as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

# What ``spaces`` does to PyTorch and CUDA, which a CPU build has not. Everything else of the package is the real one.
cuda_steps = ModuleType("spaces.zero.torch")
for step in ("patch", "unpatch", "enter_mode", "init", "move"):
    setattr(cuda_steps, step, lambda *args, **kwargs: None)
cuda_steps.size = cuda_steps.pack = lambda: 0
cuda_steps.is_in_bad_fork = lambda: False
sys.modules[cuda_steps.__name__] = cuda_steps

import spaces  # noqa: E402

from ixc.chat.events import Finished, TextDelta  # noqa: E402
from ixc.chat.request import ChatRequest, StopFlag  # noqa: E402
from ixc.conversation import ImageView, Turn  # noqa: E402
from ixc.errors import IxcError  # noqa: E402
from ixc.hosting.space.zerogpu import load_zero_gpu_engine  # noqa: E402
from ixc.imaging.decode import decode_image  # noqa: E402
from ixc.settings import GenerationSettings, ImageLimits, Settings  # noqa: E402

MODEL, PICTURE, OTHER = sys.argv[1:]
GREEDY = GenerationSettings(max_new_tokens=12, do_sample=False)


def main() -> None:
    engine = load_zero_gpu_engine(Settings(model=MODEL, prefill_chunk_tokens=64), spaces.GPU, device="cpu")
    image = decode_image(Path(PICTURE), ImageLimits())
    other = decode_image(Path(OTHER), ImageLimits())
    images = {image.image_id: image, other.image_id: other}
    view = ImageView(image.image_id, 4)

    def ask(question: str, turns: tuple[Turn, ...] = (), stop_after: int | None = None, **options: object) -> dict[str, object]:
        options = {"view": view, "generation": GREEDY, "session_id": "a", **options}
        request = ChatRequest(question=question, turns=turns, images=images, **options)
        stop, text, stats, reason = StopFlag(), "", None, None
        try:
            for event in engine.answer(request, stop):
                if isinstance(event, TextDelta):
                    text += event.text
                    stop_after = None if stop_after is None else stop_after - 1
                    if stop_after == 0:
                        stop.set()
                elif isinstance(event, Finished):
                    stats, reason = event.stats, str(event.reason)
        except IxcError as error:
            return {"error": type(error).__name__, "sentence": str(error)}
        return {"text": text, "cached": stats.num_cached_tokens, "prompt": stats.num_prompt_tokens, "reason": reason}

    first = ask("What is it?")
    turns = (Turn("What is it?", first["text"], view),)
    first_request = ChatRequest("a", "What is it?", view, images=images, generation=GREEDY)
    done = {"first": first, "second": ask("And now?", turns), "duration_s": engine.duration_s(first_request)}
    print(json.dumps("continue?"), flush=True)
    sys.stdin.readline()  # the scheduler now lends another GPU, whose worker knows nothing
    done["second_elsewhere"] = ask("And now?", turns)
    long = GenerationSettings(max_new_tokens=4096, do_sample=False)
    done["stopped"] = ask("At length?", generation=long, stop_after=3, session_id="b")
    done["after_stop"] = ask("What is it?", session_id="c")
    leaving = engine.answer(ChatRequest("d", "Hello?", view, images=images, generation=long), StopFlag())
    next(leaving)
    leaving.close()
    done["after_leaving"] = ask("What is it?", session_id="e")
    done["nothing_asked"] = ask("  ")
    done["expected_error"] = ask("What is it?", view=ImageView("gone", 4), session_id="e")
    engine._parts.processor.image_processor.cut = None  # what no one foresaw, in the workers forked from now on
    print(json.dumps("continue?"), flush=True)
    sys.stdin.readline()
    done["unexpected_error"] = ask("What is it?", session_id="f")
    done["under_way"] = engine.memory_report()["requests"]
    print(json.dumps("continue?"), flush=True)
    sys.stdin.readline()  # the scheduler now says that the quota is used up
    done["no_gpu"] = ask("What is it?", session_id="g")
    engine.close()
    print(json.dumps(done), flush=True)


main()
