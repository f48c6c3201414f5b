"""``ixc ask``: one question about an image; the answer streams to stdout, everything else goes to stderr."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ixc.cli.options import check_budget, given
from ixc.cli.status import StatusLine
from ixc.errors import EmptyQuestion
from ixc.settings import GenerationSettings, Settings
from ixc.single_view import ImagePlan
from ixc.tiling import TilePlan

if TYPE_CHECKING:
    from ixc.chat.events import AnswerStats, Event
    from ixc.chat.interface import ChatEngine
    from ixc.imaging.decode import DecodedImage

_SESSION_ID = "command-line"


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "ask",
        help="ask about an image",
        description="Ask a model one question about an image, here or, with IXC_BACKEND, at another server.",
    )
    parser.add_argument("image", metavar="IMAGE", type=Path, help="JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP file")
    parser.add_argument("question", metavar="QUESTION", help="what to ask")
    parser.add_argument("--max-patches", metavar="N", type=int, help="most tiles to cut (default: the model's own)")
    parser.add_argument("--model", metavar="NAME|FOLDER", help="a known model or a checkpoint folder (default: IXC_MODEL)")
    parser.add_argument("--system", metavar="TEXT", help="system prompt (default: the model's own)")
    parser.add_argument("--max-new-tokens", metavar="N", type=int, help="longest answer")
    parser.add_argument(
        "--temperature", metavar="T", type=float, help="sample at this temperature; 0 always takes the likeliest"
    )
    parser.add_argument("--top-p", metavar="P", type=float, help="sample from the likeliest tokens of this total probability")
    parser.add_argument("--repetition-penalty", metavar="R", type=float, help="above 1 discourages repetition")
    parser.add_argument("--beams", metavar="N", type=int, help="beam search; nothing streams and nothing is sampled")
    parser.add_argument("--seed", metavar="N", type=int, help="makes sampling repeatable")
    parser.add_argument("-q", "--quiet", action="store_true", help="print the answer only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Load, ask, stream. What can be wrong with the request is found before the model is loaded. Raises IxcError."""
    if not args.question.strip():
        raise EmptyQuestion("Type a question after the image's name.")
    if args.max_patches is not None:
        check_budget(args.max_patches, settings)
    named = given(
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        repetition_penalty=args.repetition_penalty,
        num_beams=args.beams,
        seed=args.seed,
    )
    GenerationSettings().with_given(named)
    settings = replace(settings, **given(model=args.model))

    from ixc.imaging.decode import decode_image

    image = decode_image(args.image, settings.images)
    with StatusLine(sys.stderr, is_shown=not args.quiet and sys.stderr.isatty()) as status:
        status.show("Starting")
        _ask(args, settings, image, named, status)


def _ask(
    args: argparse.Namespace, settings: Settings, image: DecodedImage, named: dict[str, object], status: StatusLine
) -> None:
    # Slow imports, and not needed to refuse a bad request.
    from ixc.chat.request import ChatRequest, StopFlag
    from ixc.conversation import ImageView

    with closing(_engine(settings, status)) as engine:
        max_patches = args.max_patches or engine.default_max_patches
        request = ChatRequest(
            session_id=_SESSION_ID,
            question=args.question,
            view=ImageView(image.image_id, max_patches),
            images={image.image_id: image},
            system=engine.default_system if args.system is None else args.system,
            generation=engine.default_generation.with_given(named),
        )
        stats = _stream(engine.answer(request, StopFlag()), status)
        if stats is not None and not args.quiet:
            plan = engine.layout.plan(image.size_px, max_patches)
            print(_stats_line(stats, plan, f"{engine.model_name}, {_where(engine, settings)}"), file=sys.stderr)


def _engine(settings: Settings, status: StatusLine) -> ChatEngine:
    """The model here, or the one of ``settings.backend``, which is not waited for. Raises CheckpointError, SettingsError."""
    if settings.backend:
        from ixc.chat.remote import connect_engine

        given_up = threading.Event()
        given_up.set()
        return connect_engine(settings, give_up=given_up)
    from ixc.chat.loading import load_engine

    return load_engine(settings, on_progress=lambda stage, _: status.show(stage))


def _where(engine: ChatEngine, settings: Settings) -> str:
    """Its device, or the address of the server that has it."""
    from ixc.chat.backend_address import shown_address

    return engine.device_name or shown_address(settings.backend)


def _stream(events: Iterable[Event], status: StatusLine) -> AnswerStats | None:
    """Print the answer as it comes, ended by a newline also when it is interrupted."""
    from ixc.chat.events import Finished, PrefillProgress, TextDelta

    stages = {"waiting": "Waiting", "vision": "Looking at the image", "prefill": "Reading the prompt"}
    stats = None
    has_text = False
    try:
        for event in events:
            match event:
                case PrefillProgress(stage, num_done, num_total):
                    status.show(f"{stages.get(stage, stage)} {num_done}/{num_total}")
                case TextDelta(text):
                    status.clear()
                    has_text = True
                    print(text, end="", flush=True)
                case Finished():
                    stats = event.stats
    finally:
        status.clear()
        if has_text:
            print(flush=True)
    return stats


def _stats_line(stats: AnswerStats, plan: ImagePlan, model: str) -> str:
    parts = []
    if stats.time_to_first_token_ms is not None:
        parts.append(f"first token {stats.time_to_first_token_ms / 1000:.2f} s")
    if stats.decode_tokens_per_s is not None:
        parts.append(f"{stats.decode_tokens_per_s:.0f} tokens/s")
    parts.append(f"{stats.num_new_tokens} new tokens")
    parts.append(f"{stats.num_prompt_tokens:,} prompt tokens, {stats.num_visual_tokens:,} of them visual")
    if isinstance(plan, TilePlan):
        parts.append(f"{plan.grid.cols} x {plan.grid.rows} tiles of at most {plan.max_patches}")
    else:
        parts.append(f"seen as {plan.padded_px.width} x {plan.padded_px.height}")
    return f"[{'; '.join([*parts, model])}]"
