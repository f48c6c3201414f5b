"""``ixc app``: serve the web page."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from ixc.cli.options import given
from ixc.settings import Settings


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "app",
        help="serve the web page",
        description="Serve the web page until interrupted. Only this machine reaches it unless --host says otherwise; nothing "
        "is sent anywhere.",
    )
    parser.add_argument("--host", help="address to listen on, 0.0.0.0 for all (default: IXC_HOST or 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: IXC_PORT or 7860)")
    parser.add_argument("--model", metavar="NAME|FOLDER", help="a known model or a checkpoint folder (default: IXC_MODEL)")
    parser.add_argument(
        "--backend", metavar="URL", help="let an OpenAI-compatible server run the model (default: IXC_BACKEND or none)"
    )
    parser.add_argument("--max-waiting", metavar="N", type=int, help="questions that may wait in the queue")
    hosting = parser.add_argument_group("hosting it for others")
    hosting.add_argument(
        "--auth",
        metavar="FILE",
        type=Path,
        help="ask for a password: a file of NAME:PASSWORD lines that only you can read (or IXC_AUTH)",
    )
    hosting.add_argument(
        "--max-users", metavar="N", type=int, help="pages that may be open at once (default: IXC_MAX_USERS or any)"
    )
    hosting.add_argument("--share", action="store_true", help="also publish the page through Gradio's servers; needs --auth")
    hosting.add_argument(
        "--log-format", metavar="FORMAT", help="text, or json for one object a line (default: IXC_LOG_FORMAT or text)"
    )
    hosting.add_argument(
        "--grace",
        metavar="S",
        type=float,
        help="seconds that running answers may go on after SIGTERM (default: IXC_GRACE_S or 5)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Serve until interrupted. Raises IxcError, for example when the port is taken."""
    settings = replace(
        settings, **given(host=args.host, port=args.port, model=args.model, max_waiting=args.max_waiting, backend=args.backend)
    )
    from ixc.hosting.access import read_users  # slow imports, and the other commands do without
    from ixc.hosting.options import ServerOptions, parse_log_format

    log_format = parse_log_format(args.log_format) if args.log_format is not None else None
    from_env = ServerOptions.from_env(os.environ)
    options = replace(
        from_env,
        share=args.share,
        **given(
            access=replace(from_env.access, users=read_users(args.auth).users) if args.auth is not None else None,
            max_users=args.max_users,
            log_format=log_format,
            grace_s=args.grace,
        ),
    )
    from ixc.hosting.server import serve

    serve(settings, options)
