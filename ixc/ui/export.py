"""A conversation to keep: Markdown to read, JSON to work with; both with the plans and settings."""

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
from ixc.ui.transcript import Conversation, Exchange, stats_page_value


def export_file(
    conversation: Conversation, chosen: AnswerSettings, model: ModelStatus, kind: str, language: str
) -> dict[str, str]:
    """Name, type and text of the file; the page saves it, the server writes nothing."""
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


def export_json(conversation: Conversation, chosen: AnswerSettings, model: ModelStatus, now: datetime) -> dict[str, Any]:
    return {
        "version": __version__,
        "exported": now.isoformat(timespec="seconds"),
        "model": {"name": model.name, "device": model.device},
        "settings": {**asdict(chosen.generation), "system": chosen.system},
        "exchanges": [_exchange_json(exchange) for exchange in conversation.exchanges],
    }


def export_markdown(
    conversation: Conversation, chosen: AnswerSettings, model: ModelStatus, now: datetime, language: str
) -> str:
    """Questions as quotations, answers as they came, the figures under them, settings at the end."""
    lines = [f"# 4KHD, {now:%Y-%m-%d %H:%M}", "", " · ".join(part for part in (model.name, model.device) if part), ""]
    for exchange in conversation.exchanges:
        lines += [*(f"> {line}" for line in exchange.question.splitlines()), ""]
        lines += [exchange.answer or translate(language, "chat.noanswer"), ""]
        lines += [f"*{line}*" for line in _figures(exchange, language, model.name)] + [""]
    settings = json.dumps({**asdict(chosen.generation), "system": chosen.system}, ensure_ascii=False, indent=2)
    fence = "`" * (max([2, *(len(run) for run in re.findall("`+", settings))]) + 1)
    lines += [f"## {translate(language, 'settings.title')}", "", f"{fence}json", settings, fence, ""]
    return "\n".join(lines)


def _figures(exchange: Exchange, language: str, model_name: str) -> list[str]:
    figures = [exchange.model] if exchange.model and exchange.model != model_name else []
    if exchange.view:
        figures.append(_plan_figures(exchange.view.plan, language))
    if exchange.stats:
        stats, parts = exchange.stats, []
        if stats.time_to_first_token_ms is not None:
            parts.append(translate(language, "chat.stats.ttft", seconds=f"{stats.time_to_first_token_ms / 1000:.2f}"))
        if stats.decode_tokens_per_s is not None:
            parts.append(translate(language, "chat.stats.speed", speed=f"{stats.decode_tokens_per_s:.0f}"))
        cached = stats.num_cached_tokens
        parts.append(translate(language, "chat.stats.cached", tokens=stats.num_prompt_tokens, cached=cached))
        figures.append(", ".join(parts))
    if exchange.error:
        figures.append(exchange.error.sentence(language))
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
        "image_id": exchange.view.image_id if exchange.view else None,
        "plan": _plan_json(exchange.view.plan) if exchange.view else None,
        "stats": stats_page_value(exchange.stats) if exchange.stats else None,
    }


def _plan_json(plan: ImagePlan) -> dict[str, object]:
    """The plan without its tiles, which follow from it."""
    return {name: value for name, value in plan_facts(plan).items() if name != "tiles"}
