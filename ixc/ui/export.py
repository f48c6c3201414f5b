"""A conversation to keep: Markdown to read, JSON to work with; both with each question's own plan and settings."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import datetime
from typing import Any

from ixc import __version__
from ixc.application.engine_provider import ModelStatus
from ixc.application.strings import translate
from ixc.plan_facts import plan_facts
from ixc.single_view import ImagePlan
from ixc.tiling import TilePlan
from ixc.ui.plan_view import plan_words
from ixc.ui.settings_panel import AnswerSettings
from ixc.ui.transcript import AskedWith, Conversation, Exchange, stats_page_value


def export_file(
    conversation: Conversation, chosen: AnswerSettings | None, model: ModelStatus, kind: str, language: str
) -> dict[str, str]:
    """Name, type and text of the file; the page saves it, the server writes nothing.

    ``chosen`` are the page's settings now; None: they are not usable, and left out.
    """
    now = datetime.now().astimezone()
    stamp = now.strftime("%Y-%m-%d-%H%M%S")
    if kind == "json":
        text = json.dumps(export_json(conversation, chosen, model, now), ensure_ascii=False, indent=2)
        return {"name": f"4khd-{stamp}.json", "mime": "application/json", "text": text}
    return {
        "name": f"4khd-{stamp}.md",
        "mime": "text/markdown",
        "text": export_markdown(conversation, chosen, model, now, language),
    }


def export_json(conversation: Conversation, chosen: AnswerSettings | None, model: ModelStatus, now: datetime) -> dict[str, Any]:
    return {
        "version": __version__,
        "exported": now.isoformat(timespec="seconds"),
        "model": {"name": model.name, "device": _device(model, "en")},
        "settings_now": {**asdict(chosen.generation), "system": chosen.system} if chosen else None,
        "exchanges": [_exchange_json(exchange) for exchange in conversation.exchanges],
    }


def export_markdown(
    conversation: Conversation, chosen: AnswerSettings | None, model: ModelStatus, now: datetime, language: str
) -> str:
    """Questions as quotations, answers as they came, under them figures and settings; the page's settings now at the end."""
    about_model = " · ".join(part for part in (model.name, _device(model, language)) if part)
    lines = [f"# 4KHD, {now:%Y-%m-%d %H:%M}", "", about_model, ""]
    first_left_out = next((index for index, exchange in enumerate(conversation.exchanges) if exchange.num_left_out), None)
    for index, exchange in enumerate(conversation.exchanges):
        if index == first_left_out:
            lines += [f"*{translate(language, 'chat.note.one', model=exchange.model)}*", ""]
        lines += [*(f"> {line}" for line in exchange.question.splitlines()), ""]
        lines += [_with_fences_closed(exchange.answer) or translate(language, "chat.noanswer"), ""]
        lines += [f"*{line}*" for line in _figures(exchange, language)] + [""]
    if chosen is None:
        return "\n".join(lines)
    settings = json.dumps({**asdict(chosen.generation), "system": chosen.system}, ensure_ascii=False, indent=2)
    title, fence = translate(language, "export.settings.now"), _fence(settings, 3)
    lines += [f"## {title}", "", f"{fence}json", settings, fence, ""]
    return "\n".join(lines)


def _device(model: ModelStatus, language: str) -> str:
    """Where it runs; "" without a model."""
    is_elsewhere = model.phase in ("ready", "away") and not model.device
    return translate(language, "model.elsewhere") if is_elsewhere else model.device


def _with_fences_closed(answer: str) -> str:
    """An answer that was cut within a block of code would make code of all that follows."""
    indent = is_open = ""
    for line in answer.splitlines():
        found = re.match(r"( {0,3})(`{3,}(?!.*`)|~{3,})(.*)", line)
        if found is None:
            continue
        if not is_open:
            indent, is_open = found[1], found[2]  # of one in a list its own: further out it would begin another
        elif found[2].startswith(is_open) and not found[3].strip():
            is_open = ""
    return f"{answer}\n{indent}{is_open}" if is_open else answer


def _fence(text: str, least: int) -> str:
    """More backticks than stand together anywhere in ``text``."""
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])


def _figures(exchange: Exchange, language: str) -> list[str]:
    figures = [exchange.model] if exchange.model else []
    if exchange.view:
        figures.append(_plan_figures(exchange.view.plan, language))
    if exchange.stats:
        stats, parts = exchange.stats, []
        if stats.time_to_first_token_ms is not None:
            parts.append(translate(language, "chat.stats.ttft", seconds=f"{stats.time_to_first_token_ms / 1000:.2f}"))
        if stats.decode_tokens_per_s is not None:
            parts.append(translate(language, "chat.stats.speed", speed=f"{stats.decode_tokens_per_s:.0f}"))
        if stats.num_prompt_tokens:  # which a backend may not tell
            cached = stats.num_cached_tokens
            parts.append(translate(language, "chat.stats.cached", tokens=stats.num_prompt_tokens, cached=cached))
        if parts:
            figures.append(", ".join(parts))
    if exchange.used:
        figures += _settings_figures(exchange.used, language, has_plan=exchange.view is not None)
    if exchange.lacks_image:
        figures.append(translate(language, "chat.note.lacks"))
    if exchange.error:
        figures.append(exchange.error.sentence(language))
    return figures


def _settings_figures(used: AskedWith, language: str, *, has_plan: bool) -> list[str]:
    """With the budget where no plan says it, as of a conversation that was kept while its page was loaded again."""
    generation = used.generation
    figures = [
        translate(
            language,
            "export.used",
            length=generation.max_new_tokens,
            temperature=0 if generation.is_greedy else generation.temperature,
            top_p=generation.top_p,
            repetition=generation.repetition_penalty,
            beams=generation.num_beams,
            seed=translate(language, "export.seed.random") if generation.seed is None else generation.seed,
        )
    ]
    if used.budget is not None and not has_plan:
        figures[0] += f", HD-{used.budget}"
    if used.system:
        words = json.dumps(used.system, ensure_ascii=False)
        fence = _fence(words, 1)
        figures.append(f"{translate(language, 'settings.system')}: {fence}{words}{fence}")
    return figures


def _plan_figures(plan: ImagePlan, language: str) -> str:
    size = f"{plan.original_px.width} × {plan.original_px.height} px"
    if isinstance(plan, TilePlan):
        cut = f"HD-{plan.max_patches}, {plan.grid.cols} × {plan.grid.rows}"
    else:
        words = plan_words(plan)
        cut = translate(language, f"view.{words['kind']}", px=words["viewPx"])
    return f"{size}, {cut}, {translate(language, 'ribbon.tokens', tokens=plan.num_visual_tokens)}"


def _exchange_json(exchange: Exchange) -> dict[str, Any]:
    return {
        "question": exchange.question,
        "answer": exchange.answer,
        "model": exchange.model,
        "reason": str(exchange.reason) if exchange.reason else None,
        "error": exchange.error.sentence("en") if exchange.error else None,
        "settings": {**asdict(exchange.used.generation), "system": exchange.used.system} if exchange.used else None,
        "budget": exchange.used.budget if exchange.used else None,
        "lacks_earlier_image": exchange.lacks_image,
        "earlier_questions_left_out": exchange.num_left_out,
        "had_image": bool(exchange.image_key),
        "image_id": exchange.view.image_id if exchange.view else None,
        "plan": _plan_json(exchange.view.plan) if exchange.view else None,
        "stats": stats_page_value(exchange.stats) if exchange.stats else None,
    }


def _plan_json(plan: ImagePlan) -> dict[str, object]:
    """The plan without its tiles, which follow from it."""
    return {name: value for name, value in plan_facts(plan).items() if name != "tiles"}
