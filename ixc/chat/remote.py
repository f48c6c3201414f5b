"""An engine whose model runs elsewhere: any OpenAI-compatible server, with the same screen, Stop included."""

from __future__ import annotations

import logging
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx2

from ixc.chat.backend_address import is_address, shown_address
from ixc.chat.backend_watch import BackendWatch
from ixc.chat.events import Event, Finished
from ixc.chat.interface import ChatEngine, CostEstimate, ModelInfo
from ixc.chat.remote_messages import OWN_FIELDS, VLLM_FIELD, encode_image, request_body
from ixc.chat.remote_refusal import ASKS_FOR_KEY, refusal_of
from ixc.chat.remote_stream import LOST_IN_MID_ANSWER, StreamReader, lines_of
from ixc.chat.request import ChatRequest, StopFlag
from ixc.chat.store import CacheStore
from ixc.conversation import LLAMA3_CHAT, XCOMPOSER2_CHAT
from ixc.errors import (
    BackendFailed,
    BackendLost,
    BackendRefused,
    CheckpointError,
    EmptyQuestion,
    IxcError,
    SettingsError,
)
from ixc.image_layout import ImageLayout, LayoutKind
from ixc.models.presets import find_model, sees_one_image
from ixc.settings import DEFAULT_MAX_PATCHES, GenerationSettings, Settings
from ixc.single_view import ImagePlan

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float | None], None]

REMOTE_NOTE = "Runs on another server; what it can do depends on the model there."
_CONNECT_S = 5.0
_LIST_S = 20.0
"""For the list of models."""
_NOT_NOW = (429, 502, 503, 504)
"""A proxy whose servers are not up yet, or a server that is too busy to list its models."""
_NOT_UNDERSTOOD = (400, 422)
"""What a server says to a field that it does not know, among other things."""
_SILENCE_S = 300.0
"""Between two pieces of an answer: a long prefill sends nothing."""
_LOOK_EVERY_S = 0.1
_TRY_AGAIN_S = 1.0
_LETTERS_PER_TOKEN = 3.5
_CANNOT_BE_REACHED = "The server that answers cannot be reached; press Retry in a moment."


def connect_engine(
    settings: Settings, on_progress: OnProgress | None = None, give_up: threading.Event | None = None
) -> RemoteEngine:
    """The engine for ``settings.backend``; waits until that server is there, telling so, and once in the log.

    Raises SettingsError for an unusable address or key, CheckpointError when the server serves no model.
    """
    report, give_up = on_progress or (lambda step, share: None), give_up or threading.Event()
    where = shown_address(settings.backend)
    if not is_address(settings.backend):
        raise SettingsError("IXC_BACKEND must be an http(s) address such as http://127.0.0.1:8000.")
    client = _client(settings)
    logged: set[str] = set()
    while True:
        try:
            if (info := read_info(client, settings)) is not None:
                return RemoteEngine(client, info, settings)
            awaited, reason = "model", "it is not ready yet"
        except httpx2.TransportError as error:
            awaited, reason = "server", type(error).__name__
        if awaited not in logged:
            logged.add(awaited)
            logger.info("waiting for the %s at %s: %s", awaited, where, reason)
        report(f"Waiting for the {awaited}", None)
        if give_up.wait(_TRY_AGAIN_S):  # on the command line only: the message is for whoever has set the address
            raise CheckpointError(f"The server at {where} cannot be reached; start it or correct IXC_BACKEND.")


def read_info(client: httpx2.Client, settings: Settings) -> ModelInfo | None:
    """What ``/models`` says of the model of the settings, if it is listed, or of the first; None while there is none.

    This project's servers also tell how it cuts images.

    Raises httpx2.TransportError, SettingsError, CheckpointError.
    """
    answer = client.get("models", timeout=_LIST_S)
    if answer.status_code in (401, 403):
        raise SettingsError(ASKS_FOR_KEY)
    if answer.status_code in _NOT_NOW:
        return None
    try:
        model = _named_or_first(answer.json()["data"], settings.model)
        name, own = str(model["id"]), model.get("ixc") or {}
        if not own.get("ready", True):
            return None
        layout = _layout(own.get("layout"), name)
        return ModelInfo(
            name=str(model.get("name") or name),
            device="",
            note=str(own.get("note") or REMOTE_NOTE),
            default_generation=GenerationSettings(**(own.get("generation") or {})),
            default_system=str(own.get("system") or ""),
            default_max_patches=min(int(own.get("max_patches") or DEFAULT_MAX_PATCHES), settings.max_patches_limit),
            layout=layout,
            chat_format=LLAMA3_CHAT if layout.kind is LayoutKind.DUAL_PERSPECTIVE else XCOMPOSER2_CHAT,
            sees_one_image=_sees_one_image(own.get("sees_one_image"), name),
            max_context_tokens=_whole(own.get("max_context_tokens") or model.get("max_model_len")),
            served_as=name,
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"The server lists no model (status {answer.status_code}); IXC_BACKEND must be its address before /v1."
        ) from error


class RemoteEngine(ChatEngine):
    """Asks the server; keeps nothing of a conversation but the encoded images of a session, within the cache's limits.

    Holds no connection between answers, so that a server that comes back is simply used again. Thread-safe.
    """

    def __init__(self, client: httpx2.Client, info: ModelInfo, settings: Settings) -> None:
        self.info = info
        self._client = client
        self._settings = settings
        self._images = CacheStore(settings.cache)
        self._left_out = frozenset[str]()
        """Fields that the server does not take."""
        self._watch = BackendWatch(lambda: _is_there(client, settings))
        self._running: dict[StopFlag, str | None] = {}
        """Answers under way with their sessions; None for a session that has ended: nothing is kept of it."""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._images.expire_until, args=(self._closed,), name="ixc-expiry", daemon=True).start()

    def answer(self, request: ChatRequest, stop: StopFlag) -> Iterator[Event]:
        """See ``ChatEngine``. Raises also BackendLost when the server is lost, BackendFailed when it refuses."""
        if not request.question.strip():
            raise EmptyQuestion("Type a question first.")
        request = self.told(request)
        with self._lock:
            self._running[stop] = request.session_id
        try:
            yield from self._stream(request, stop)
        except BackendLost:
            self._watch.lost()
            raise
        finally:
            stop.set()
            with self._lock:
                self._running.pop(stop, None)

    @property
    def is_away(self) -> bool:
        return self._watch.is_away

    def forget(self, session_id: str) -> None:
        with self._lock:
            for stop, session in self._running.items():
                if session == session_id:
                    stop.set()
                    self._running[stop] = None
        self._images.forget(session_id)

    def estimate(self, plan: ImagePlan, num_text_tokens: int = 0) -> CostEstimate | None:
        """None: what it costs there is not known here."""
        return None

    def count_text_tokens(self, text: str) -> int:
        """Estimated from the letters; the tokenizer is at the server."""
        return max(1, round(len(text) / _LETTERS_PER_TOKEN)) if text else 0

    def memory_report(self) -> dict[str, int]:
        with self._lock:
            num_running = len(self._running)
        return {**self._images.report(), "model_bytes": 0, "requests": num_running}

    def close(self) -> None:
        self._watch.close()
        self._closed.set()
        with self._lock:
            for stop in self._running:
                stop.set()
        self._client.close()

    # --- one answer -----------------------------------------------------------------------------------------------

    def _stream(self, request: ChatRequest, stop: StopFlag) -> Iterator[Event]:
        """A thread asks and reads, so that Stop is answered while images are encoded and while the server is silent.

        Closing its connection ends the answer there.
        """
        items: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        reader, connection = StreamReader(), _Connection()
        arguments = (request, stop, reader, connection, items)
        thread = threading.Thread(target=self._read, args=arguments, name="ixc-remote", daemon=True)
        thread.start()
        try:
            while True:
                if stop.is_set:
                    yield reader.finished(was_stopped=True)
                    return
                with suppress(queue.Empty):
                    item = items.get(timeout=_LOOK_EVERY_S)
                    if isinstance(item, Exception):
                        raise item
                    yield item
                    if isinstance(item, Finished):
                        return
        finally:
            connection.cut()

    def _read(
        self,
        request: ChatRequest,
        stop: StopFlag,
        reader: StreamReader,
        connection: _Connection,
        items: queue.SimpleQueue[Event | Exception],
    ) -> None:
        try:
            model = self._model()
            body = request_body(
                str(model["id"]),
                request,
                lambda image_id: self._image_url(request, image_id, stop),
                self.info,
            )
            left_out = self._left_out
            while not stop.is_set:
                body = {name: value for name, value in body.items() if name not in left_out}
                with self._client.stream("POST", "chat/completions", json=body) as response:
                    connection.watch(response)
                    if response.status_code == 200:
                        self._leave_out(left_out)
                        for event in reader.events(lines_of(response.iter_bytes())):
                            items.put(event)
                        return
                    refusal = refusal_of(response)
                not_taken = _not_taken(refusal, body, model) if response.status_code in _NOT_UNDERSTOOD else None
                if not not_taken:
                    raise refusal
                left_out |= not_taken
        except httpx2.ConnectError:
            items.put(BackendLost(_CANNOT_BE_REACHED))
        except (httpx2.TransportError, httpx2.StreamError, OSError):
            items.put(BackendLost(LOST_IN_MID_ANSWER))
        except Exception as error:  # noqa: BLE001  raised again by whoever waits for the answer
            items.put(error)

    def _image_url(self, request: ChatRequest, image_id: str, stop: StopFlag) -> str:
        url = self._images.get(request.session_id, image_id)
        if url is None:
            url = encode_image(request.images[image_id].pixels_HWC)
            with self._lock:  # forget() marks the answer under the same lock, so that nothing is put back after it
                if self._running.get(stop) is not None:
                    self._images.put(request.session_id, image_id, url, len(url))
        return url

    def _leave_out(self, fields: frozenset[str]) -> None:
        """From now on: the server has answered without them."""
        if fields - self._left_out:
            logger.warning("the server does not take %s, and is asked without", ", ".join(sorted(fields)))
            self._left_out |= fields

    def _model(self) -> dict:
        """As ``/models`` has it. Asked for each time: the server may have been started again with another one."""
        try:
            answer = self._client.get("models", timeout=_LIST_S)
            if answer.status_code in _NOT_NOW:
                raise BackendLost(_CANNOT_BE_REACHED)
            if answer.status_code in (401, 403):
                raise BackendFailed(ASKS_FOR_KEY)
            return _named_or_first(answer.json()["data"], self._settings.model)
        except httpx2.TransportError as error:
            raise BackendLost(_CANNOT_BE_REACHED) from error
        except (ValueError, LookupError, TypeError) as error:
            raise BackendFailed("The server that answers lists no model now; press Retry in a moment.") from error


class _Connection:
    """The socket under a response, to be cut from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def watch(self, response: httpx2.Response) -> None:
        stream = response.extensions.get("network_stream")
        with self._lock:
            self._socket = stream.get_extra_info("socket") if stream is not None else None
            if self._is_cut:
                self._shut_down()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError, ValueError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _is_there(client: httpx2.Client, settings: Settings) -> bool:
    """Whether the server would answer. One that has come back without a model, or with other keys, says so when asked."""
    try:
        return read_info(client, settings) is not None
    except httpx2.TransportError:
        return False
    except (IxcError, RuntimeError):  # RuntimeError: the client was closed
        return True


def _client(settings: Settings) -> httpx2.Client:
    base = shown_address(settings.backend).rstrip("/")
    key, address = settings.backend_key, httpx2.URL(settings.backend)
    return httpx2.Client(
        base_url=base if base.endswith("/v1") else f"{base}/v1",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        # Not left in the address, which the client logs.
        auth=httpx2.BasicAuth(address.username, address.password) if address.userinfo else None,
        timeout=httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S),
        # A connection that was cut to stop an answer must not be used again.
        limits=httpx2.Limits(max_keepalive_connections=0),
        trust_env=False,
    )


def _not_taken(refusal: IxcError, body: dict[str, object], model: dict) -> frozenset[str]:
    """Fields beyond OpenAI's by which ``body`` may have been refused: those that are named, or else all that it has.

    This project's servers and vLLM's know them and refuse their values. vLLM has one that it takes only with
    --trust-request-mm-kwargs, and that its own models have no use for.
    """
    is_known = "ixc" in model or model.get("owned_by") == "vllm"
    doubtful = (frozenset((VLLM_FIELD,)) if is_known else OWN_FIELDS) & body.keys()
    named = frozenset(name for name in doubtful if name in str(refusal))
    is_in_doubt = isinstance(refusal, BackendRefused) and not is_known
    return named or (doubtful if is_in_doubt else frozenset())


def _named_or_first(models: list[dict], name: str) -> dict:
    """One that has an id. Raises LookupError where nothing is listed, TypeError where it is no model."""
    model = next((model for model in models if model["id"] == name), models[0])
    str(model["id"])
    return model


def _whole(told: object) -> int | None:
    return told if isinstance(told, int) else None


def _sees_one_image(told: object, name: str) -> bool:
    """What the server says, or what is known here of a model of that name."""
    if isinstance(told, bool):
        return told
    try:
        return sees_one_image(find_model(name))
    except CheckpointError:
        return False


def _layout(told: object, name: str) -> ImageLayout:
    if isinstance(told, dict):
        return ImageLayout(LayoutKind(told["kind"]), int(told["view_px"]))
    try:
        return find_model(name).layout
    except CheckpointError:
        return ImageLayout()
