"""The server from its start to its end: log, check the address, serve, and on SIGTERM let nobody's answer just vanish."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
import time
from types import FrameType

import gradio as gr
from starlette.middleware import Middleware
from starlette.types import Scope

from ixc.application.model_choice import is_loopback, offering_one_model
from ixc.application.services import Services
from ixc.chat.backend_address import shown_address
from ixc.errors import SettingsError
from ixc.hosting.access import GuardedRoutes, LoginAddress, PageLogin
from ixc.hosting.body_limits import BodyLimits, BodyRules
from ixc.hosting.connections import bound_connections
from ixc.hosting.early_answers import EarlyAnswers
from ixc.hosting.gradio_calls import OnlyUsedCalls
from ixc.hosting.health import health_routes
from ixc.hosting.logs import configure_logging, log_answer
from ixc.hosting.metrics import metrics_route
from ixc.hosting.open_pages import CountPages, OpenPages, is_logged_in
from ixc.hosting.options import ServerOptions, is_zero_gpu
from ixc.hosting.origins import OnlyOwnPages, Origins
from ixc.hosting.refusals import CountRefusals, Refusals
from ixc.hosting.routes import hosted_routes
from ixc.hosting.space.visitor import VisitorOfGpu
from ixc.hosting.upload_folder import UploadFolder
from ixc.hosting.upload_room import UploadLimits, UploadRoom
from ixc.imaging.large_work import take_pictures_whole
from ixc.settings import Settings
from ixc.ui.app import build_app, launch
from ixc.ui.status import status_route

logger = logging.getLogger(__name__)

_END_WITHIN_S = 10.0
"""How long an answer that was told to end may take: one prefill chunk or pass of the vision tower."""
_FLUSH_WITHIN_S = 2.0
"""How long the last words may take to the browsers; a page that is gone never fetches its own."""
_LOOK_EVERY_S = 0.05


def serve(settings: Settings, options: ServerOptions | None = None) -> None:
    """Serve the page until SIGTERM or Ctrl-C. Raises SettingsError when the address cannot be used."""
    options = options or ServerOptions()
    configure_logging(options.log_format)
    bound_connections()
    take_pictures_whole()
    check_address(settings)
    settings = settings_for_visitors(settings, options)
    uploads = UploadFolder()
    try:
        stopping = _stop_signals()
        demo = start(settings, options, _zero_gpu_services(settings))
        stopping.wait()
        shut_down(demo, options.grace_s)
    finally:
        uploads.delete()
    provider = demo.ixc_services.provider
    if not provider.wait(0) or provider.status.coming:
        # A model is still being loaded, by libraries that abort the process when Python is taken away from under them; or
        # downloaded, by threads that would be waited for.
        logging.shutdown()
        os._exit(0)


def settings_for_visitors(settings: Settings, options: ServerOptions) -> Settings:
    """With a login, keys or a share link others come, though behind a server with TLS the app itself stays on loopback."""
    others_come = options.share or options.access.asks_programs
    return offering_one_model(settings) if others_come and not settings.models else settings


def start(settings: Settings, options: ServerOptions, services: Services | None = None) -> gr.Blocks:
    """Build the page and start the server's threads; the model loads in the background.

    ``services`` that are running already have settings of their own, which then count.
    """
    services = services or Services.start(settings)
    settings = services.settings
    services.traffic.listen(log_answer)
    demo = build_app(settings, services)
    is_behind_hub = "SPACE_HOST" in os.environ  # whose proxy all visitors seem to come from
    pages = OpenPages(options.max_users, has_shares=not options.access.is_guarded and not is_behind_hub)
    for_programs = hosted_routes(services, need_key=options.access.asks_programs)
    refusals = Refusals()
    for_operators = [metrics_route(services, pages, refusals)]
    guarded = [*for_programs, *for_operators, status_route(services)] if options.access.is_guarded else for_programs
    login = PageLogin(options.access, on_wrong=refusals.note_wrong_guess)
    asks_nobody = not options.access.is_guarded and not options.access.asks_programs
    only_local = is_loopback(settings.host) and not options.access.is_guarded
    body_rules = BodyRules.of(settings.images)
    origins = Origins.of(settings.origins, os.environ, only_local=only_local, asks_nobody=asks_nobody)

    def is_page(scope: Scope) -> bool:
        return not options.access.is_guarded or is_logged_in(demo.app, scope)

    _, address, share_address = launch(
        demo,
        routes=[*health_routes(services), *for_programs, *for_operators],
        middleware=[
            Middleware(CountRefusals, refusals=refusals),
            Middleware(EarlyAnswers, limits=body_rules.linger),
            Middleware(OnlyUsedCalls),
            Middleware(GuardedRoutes, access=options.access, routes=guarded, on_wrong=refusals.note_wrong_guess),
            Middleware(OnlyOwnPages, origins=origins),
            Middleware(LoginAddress, login=login),
            Middleware(BodyLimits, rules=body_rules),
            Middleware(CountPages, pages=pages, is_page=is_page),
            Middleware(UploadRoom, uploads=lambda: demo.upload_file_set, limits=UploadLimits(settings.images.max_bytes)),
            *([Middleware(VisitorOfGpu)] if is_zero_gpu(os.environ) else []),
        ],
        auth=login.as_function() if options.access.is_guarded else None,
        share=options.share,
        prevent_thread_lock=True,
    )
    origins.allow(share_address or "")
    logger.info("the page is at %s", address)
    if settings.backend:
        logger.info("the model is that of %s", shown_address(settings.backend))
    if options.share:
        logger.info("everybody who knows a password can use it at %s", share_address or "no share link: it could not be made")
    if not is_loopback(settings.host) and not options.access.is_guarded:
        logger.warning(
            "everybody who reaches %s:%d can use the page; --auth FILE asks for a password", settings.host, demo.server_port
        )
    return demo


def shut_down(demo: gr.Blocks, grace_s: float) -> None:
    """Refuse new questions, let running answers finish for ``grace_s``, end the others with a notice, then stop."""
    services: Services = demo.ixc_services
    traffic = services.traffic
    traffic.refuse_new()
    logger.info("stopping", extra={"under_way": traffic.num_running})
    if not traffic.wait_until_idle(grace_s):
        logger.info("ending answers", extra={"under_way": traffic.num_running})
        traffic.end_all()
        traffic.wait_until_idle(_END_WITHIN_S)
    _wait_until_sent(demo)
    demo.close(verbose=False)
    if services.provider.engine is not None:
        services.provider.engine.close()
    logger.info("stopped")


def check_address(settings: Settings) -> None:
    """Raises SettingsError when the address is not this machine's or its port is taken."""
    if settings.port == 0:
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingsError(
                    f"Port {settings.port} is taken; stop the other program or choose another port with IXC_PORT."
                ) from None
            raise SettingsError(
                f"The address {settings.host}:{settings.port} cannot be used ({error.strerror}); change IXC_HOST or IXC_PORT."
            ) from None


def _zero_gpu_services(settings: Settings) -> Services | None:
    """None off ZeroGPU."""
    if not is_zero_gpu(os.environ):
        return None
    from ixc.hosting.space.zerogpu import start_services  # loads torch, which the page waits for nowhere else

    return start_services(settings)


def _stop_signals() -> threading.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once, as without us."""
    stopping = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stopping


def _wait_until_sent(demo: gr.Blocks) -> None:
    """Wait for Gradio's queue to hand out what is in it: closing it would replace the last words by an error of its own."""
    queue, deadline_s = demo._queue, time.monotonic() + _FLUSH_WITHIN_S
    while time.monotonic() < deadline_s:
        is_working = any(job is not None for job in queue.active_jobs)
        if not is_working and all(messages.empty() for messages in list(queue.pending_messages_per_session.values())):
            return
        time.sleep(_LOOK_EVERY_S)
