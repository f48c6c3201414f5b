"""The right half: questions, streaming answers, and everything that can be done with them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from ixc.application.answering import answer_events
from ixc.application.messages import Message, message_for
from ixc.application.services import Services
from ixc.application.strings import translate
from ixc.application.waiting import Ticket, page_caller
from ixc.chat.events import Finished, PrefillProgress, TextDelta
from ixc.chat.interface import ChatEngine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.errors import EmptyQuestion, SettingsError
from ixc.ui.components import Widget
from ixc.ui.export import export_file
from ixc.ui.image_panel import ImagePanel, event_value, image_gone, session_id, shows_image
from ixc.ui.plan_view import page_key
from ixc.ui.settings_panel import AnswerSettings, SettingsPanel, defaults_update, layout_settings_panel
from ixc.ui.transcript import AskedView, AskedWith, Conversation, Exchange, LiveAnswer, restored, transcript_page_value

_SHOW_EVERY_S = 0.04
"""Text is shown at most 25 times a second: more is not seen, and every showing costs the server some milliseconds."""

_TRANSCRIPT_EVENTS = ("retry", "undo", "edit", "clear", "export", "restore")


@dataclass(frozen=True, slots=True)
class ChatPanel:
    """The panel's components."""

    transcript: Widget
    question: gr.Textbox
    send: gr.Button
    stop: gr.Button
    downloader: Widget
    conversation: gr.State
    settings: SettingsPanel


def layout_chat_panel(services: Services) -> ChatPanel:
    transcript = Widget("transcript", transcript_page_value(None), events=_TRANSCRIPT_EVENTS, elem_id="ixc-transcript")
    with gr.Row(elem_id="ixc-composer"):
        question = gr.Textbox(
            label=translate("en", "composer.label"),
            placeholder=translate("en", "composer.placeholder"),
            show_label=False,
            container=False,
            lines=1,
            max_lines=8,
            max_length=20_000,
            elem_id="ixc-question",
        )
        send = gr.Button(translate("en", "composer.send"), variant="primary", elem_id="ixc-send", scale=0)
        stop = gr.Button(translate("en", "composer.stop"), elem_id="ixc-stop", scale=0)
    Widget("composerHint", None, elem_id="ixc-hint")
    settings = layout_settings_panel(services.settings)
    downloader = Widget("downloader", None, elem_id="ixc-downloader")
    return ChatPanel(transcript, question, send, stop, downloader, gr.State(None), settings)


def connect_chat_panel(panel: ChatPanel, image: ImagePanel, services: Services) -> None:
    """Attach the handlers. Only answers go through the queue; Stop and the rest never wait behind one."""
    handlers = ChatHandlers(services)
    talk = [panel.conversation, panel.transcript]
    context = [*talk, image.stage, image.budget, *panel.settings.inputs]
    outputs = [panel.transcript, panel.conversation]
    # Our own line orders the questions and tells their place; Gradio's queue only carries the streams. Its trigger mode "once"
    # would drop a question that is sent after the last words arrived but before it noticed that the stream is over.
    streaming: dict[str, Any] = {
        "outputs": outputs,
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
        "trigger_mode": "multiple",
    }
    asking = (
        gr.on([panel.question.submit, panel.send.click], handlers.ask, [panel.question, *context], **streaming),
        panel.transcript.retry(handlers.retry, context, **streaming),
        panel.transcript.edit(handlers.edit, context, **streaming),
    )
    for asked in asking:  # the page takes no second question until it has heard of the first; of one that Gradio refused, here
        asked.failure(None, js="() => ixc.answerHeard()", api_visibility="private")
    direct: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    panel.stop.click(handlers.stop, None, None, **direct)
    panel.transcript.undo(handlers.undo, talk, outputs, **direct)
    panel.transcript.clear(handlers.clear, None, outputs, **direct)
    panel.transcript.restore(handlers.restore, [panel.conversation], outputs, **direct)
    panel.transcript.export(handlers.export, [*talk, *panel.settings.inputs], [panel.downloader], **direct)
    _keep_settings(panel.settings)


def _keep_settings(settings: SettingsPanel) -> None:
    """The page keeps what is set while it is loaded again, and the server nothing of it: both ways run in the page alone."""
    local: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    changes = [control.change for control in settings.inputs]
    gr.on(changes, None, settings.inputs, None, js="(...values) => ixc.noteSettings(values)", **local)
    settings.toggle.restore(None, None, settings.inputs, js="() => ixc.keptSettings()", **local)


def known_conversation(held: Conversation | None, transcript: Any) -> Conversation:
    """The one that Gradio holds; where it has dropped it, as it does after a while, the words of it that the page shows."""
    if held is not None:
        return held
    shown = transcript.get("exchanges") if isinstance(transcript, dict) else None
    return restored(shown if isinstance(shown, list) else [])


@dataclass(frozen=True, slots=True)
class ShownPage:
    """What the page shows while a question is asked, as it sends it along."""

    conversation: Conversation
    stage: Any
    budget: int
    settings: tuple[Any, ...]

    @classmethod
    def from_inputs(
        cls, conversation: Conversation | None, transcript: Any, stage: Any, budget: int, *settings: Any
    ) -> ShownPage:
        return cls(known_conversation(conversation, transcript), stage, budget, settings)


@dataclass(frozen=True, slots=True)
class Asking:
    """A question as it comes from the page: after ``past``, which may be less than what is shown."""

    question: str
    past: Conversation
    shown: ShownPage
    about: str = ""
    """The image that it was about when it was asked before, as the page calls it."""


class ChatHandlers:
    """Functions of (session, input). A failed question stays in the transcript with its reason and can be retried."""

    def __init__(self, services: Services) -> None:
        self._services = services

    # Gradio puts the request and the event where the signature has them; before a variable number of values that is first.

    def ask(self, request: gr.Request, question: str, *inputs: Any) -> Iterator[list[Any]]:
        page = ShownPage.from_inputs(*inputs)
        yield from self._answer(request, Asking(question, page.conversation, page))

    def retry(self, request: gr.Request, *inputs: Any) -> Iterator[list[Any]]:
        page = ShownPage.from_inputs(*inputs)
        yield from self._ask_again(request, page, len(page.conversation.exchanges) - 1)

    def edit(self, request: gr.Request, event: gr.EventData, *inputs: Any) -> Iterator[list[Any]]:
        index, text = event_value(event, "index", int, -1), event_value(event, "text", str, "")
        yield from self._ask_again(request, ShownPage.from_inputs(*inputs), index, text)

    def stop(self, request: gr.Request) -> None:
        self._services.store.stop(session_id(request))

    def undo(self, conversation: Conversation | None, transcript: Any, request: gr.Request) -> list[Any]:
        """Take the last exchange back and offer its question to be changed."""
        shown = known_conversation(conversation, transcript)
        if not shown.exchanges or self._services.store.is_answering(session_id(request)):
            return [gr.skip()] * 2
        last = len(shown.exchanges) - 1
        shorter = shown.upto(last)
        return [transcript_page_value(shorter, draft=shown.exchanges[last].question), shorter]

    def clear(self, request: gr.Request) -> list[Any]:
        if self._services.store.is_answering(session_id(request)):
            return [gr.skip()] * 2
        empty = Conversation()  # not None, for which what the page shows would be asked: that may be an answer that came late
        return [transcript_page_value(empty), empty]

    def restore(self, event: gr.EventData, conversation: Conversation | None, request: gr.Request) -> list[Any]:
        """What the tab kept while its page was loaded again, as Gradio's script does after a broken connection."""
        if conversation or self._services.store.is_answering(session_id(request)):
            return [gr.skip()] * 2
        kept, draft = restored(event_value(event, "exchanges", list, [])), event_value(event, "draft", str, "")
        gone = Message("PageReloaded") if event_value(event, "numViews", int, 0) > 0 else None
        return [transcript_page_value(kept, error=gone, draft=draft), kept]

    def export(self, event: gr.EventData, conversation: Conversation | None, transcript: Any, *settings: Any) -> dict[str, str]:
        kind, language = event_value(event, "format", str, "markdown"), event_value(event, "language", str, "en")
        shown = known_conversation(conversation, transcript)
        try:
            chosen = AnswerSettings.from_values(*settings)
        except SettingsError:  # asking says what is wrong with them; the conversation was made with others
            chosen = None
        return export_file(shown, chosen, self._services.provider.status, kind, language)

    # --- one answer -----------------------------------------------------------------------------------------------

    def _ask_again(self, request: gr.Request, page: ShownPage, index: int, text: str | None = None) -> Iterator[list[Any]]:
        """The question at ``index``, or ``text`` in its place, about the same image; what followed goes.

        The page waits for a word in any case.
        """
        exchanges = page.conversation.exchanges
        if not 0 <= index < len(exchanges):
            yield [transcript_page_value(page.conversation), gr.skip()]
            return
        asked = exchanges[index]
        question = asked.question if text is None else text
        yield from self._answer(request, Asking(question, page.conversation.upto(index), page, asked.image_key))

    def _answer(self, request: gr.Request, asking: Asking) -> Iterator[list[Any]]:
        """Stream the answer. A refused question leaves everything as it was shown, and says why.

        Whoever sees the finished answer may ask on at once: the session is free by then. Sent twice, a question counts once.
        """
        services, session = self._services, session_id(request)
        if services.store.is_answering(session):
            yield [gr.skip()] * 2
            return
        ticket: Ticket | None = None
        stop: StopFlag | None = None
        try:
            if not asking.question.strip():
                raise EmptyQuestion("Type a question first.")
            AnswerSettings.from_values(*asking.shown.settings)  # what is out of range is refused before it waits
            asked = Exchange(
                asking.question.strip(),
                self._view(session, asking),
                model=self._services.provider.status.name,
            )
            stop = services.store.begin_answer(session, asked.view.image_id if asked.view else None)
            ticket = services.line.enter(page_caller(request.username, getattr(request.client, "host", "")))
        except Exception as error:  # noqa: BLE001  every refusal becomes a sentence under the transcript
            if stop is not None:
                self._end(session, stop)
            yield [transcript_page_value(asking.shown.conversation, error=message_for(error)), gr.skip()]
            return
        try:
            finished = yield from self._stream(asked, asking, ticket, stop, session)
        finally:
            ticket.leave()
            self._end(session, stop)
        yield [transcript_page_value(finished), finished]

    def _stream(
        self, asked: Exchange, asking: Asking, ticket: Ticket, stop: StopFlag, session: str
    ) -> Generator[list[Any], None, Conversation]:
        """Show the answer growing. Returns the conversation with it."""
        past, num_models = asking.past, len(self._services.provider.defaults)
        live = LiveAnswer(asked.question, asked.view, model=asked.model)
        yield [transcript_page_value(past, live), past]  # the page takes the question out of its field

        def build_request(engine: ChatEngine) -> ChatRequest:
            nonlocal asked, live
            asked = _as_seen_by(engine, asked, asking.shown.budget)  # another may have been chosen while the question waited
            chosen = self._chosen(asking.shown, has_changed=len(self._services.provider.defaults) != num_models)
            whole = self._request(engine, asked, past, chosen, session)
            request = engine.told(whole)
            used = AskedWith(request.generation, request.system, asking.shown.budget if asked.view else None)
            num_left_out = len(whole.turns) - len(request.turns)
            asked = replace(asked, used=used, num_left_out=num_left_out, lacks_image=request.lacks_images)
            live = replace(live, view=asked.view, model=asked.model, used=used, num_left_out=num_left_out)
            return request.without_missing_images()

        done = asked
        shown_s = 0.0
        try:
            for event in answer_events(self._services, ticket, stop, build_request):
                if isinstance(event, Finished):
                    done = _answered(asked, live.text, stats=event.stats, reason=event.reason)
                    break
                is_first_text = isinstance(event, TextDelta) and not live.text  # which waits for no other
                if isinstance(event, TextDelta):
                    live = replace(live, text=live.text + event.text, stage="")
                elif isinstance(event, PrefillProgress):
                    live = replace(live, stage=event.stage, num_done=event.num_done, num_total=event.num_total)
                if is_first_text or time.monotonic() - shown_s >= _SHOW_EVERY_S:
                    shown_s = time.monotonic()
                    yield [transcript_page_value(past, live), gr.skip()]
        except Exception as error:  # noqa: BLE001  shown under the question; the conversation is kept
            done = _answered(asked, live.text, error=message_for(error))
        return past.plus(done)

    def _view(self, session: str, asking: Asking) -> AskedView | None:
        """What the question is about. The page says only whether it shows an image; which one, the store knows.

        One that is asked again is about its own image while that is held, else about the one that took its place on the page.
        Raises ImageGone.
        """
        store, layout = self._services.store, self._services.provider.layout
        held = store.current(session)
        own = [image for image_id, image in store.images(session).items() if page_key(image_id) == asking.about]
        if own or held is not None:
            image = own[0] if own else held.image
            return AskedView(image.image_id, layout.plan(image.size_px, asking.shown.budget))
        if asking.about or shows_image(asking.shown.stage):
            raise image_gone()
        return None

    def _chosen(self, shown: ShownPage, *, has_changed: bool) -> AnswerSettings:
        """What the controls said; when the model ``has_changed`` since, what the page sets them to for the one that answers."""
        values = shown.settings
        if has_changed:
            _, *updates = defaults_update(self._services.provider, values)
            values = [now if isinstance(new, dict) else new for now, new in zip(values, updates, strict=True)]  # dict: skipped
        return AnswerSettings.from_values(*values)

    def _request(
        self, engine: ChatEngine, asked: Exchange, past: Conversation, chosen: AnswerSettings, session: str
    ) -> ChatRequest:
        images = self._services.store.images(session)
        lookup = engine.default_generation.prompt_lookup_tokens  # the server's setting, for which the page has no control
        return ChatRequest(
            session_id=session,
            question=asked.question,
            view=asked.view.image_view if asked.view else None,
            turns=past.turns(images),
            images=images,
            system=chosen.system,
            generation=replace(chosen.generation, prompt_lookup_tokens=lookup),
        )

    def _end(self, session: str, stop: StopFlag) -> None:
        """After the answer. A page closed meanwhile was freed then; what the answer put back since is freed here."""
        is_alive = self._services.store.end_answer(session, stop)
        engine = self._services.provider.engine
        if not is_alive and engine is not None:
            engine.forget(session)


def _answered(asked: Exchange, answer: str, **outcome: Any) -> Exchange:
    """Without an answer there is none that lacks an image."""
    return replace(asked, answer=answer, lacks_image=asked.lacks_image and bool(answer), **outcome)


def _as_seen_by(engine: ChatEngine, asked: Exchange, budget: int) -> Exchange:
    """The question as ``engine`` answers it: with its name and its way of cutting the image."""
    view = asked.view
    if view is not None:
        view = AskedView(view.image_id, engine.layout.plan(view.plan.original_px, budget))
    return replace(asked, view=view, model=engine.model_name)
