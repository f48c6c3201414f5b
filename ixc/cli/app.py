"""``ixc app``: serve the web page."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ixc.cli.options import given
from ixc.settings import Settings


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("app", help="serve the web page", description="Serve the web page until interrupted.")
    parser.add_argument("--host", help="address to listen on (default: IXC_HOST or 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: IXC_PORT or 7860)")
    parser.add_argument("--model", metavar="NAME|FOLDER", help="a known model or a checkpoint folder (default: IXC_MODEL)")
    parser.add_argument("--max-waiting", metavar="N", type=int, help="questions that may wait in the queue")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Serve until interrupted. Raises IxcError, for example when the port is taken."""
    settings = replace(settings, **given(host=args.host, port=args.port, model=args.model, max_waiting=args.max_waiting))
    from ixc.ui.app import serve  # slow import, and the other commands do without

    serve(settings)
