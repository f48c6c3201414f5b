"""``ixc replicas``: several servers behind one address."""

from __future__ import annotations

import argparse
import os

from ixc.settings import Settings

_PORT = 8000


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "replicas",
        help="put several servers behind one address",
        description="Put several OpenAI-compatible servers (ixc app, vllm serve) behind one address, each conversation on one "
        "of them, whose cache holds it. A server that is lost is passed over until it answers again.",
    )
    parser.add_argument("--to", metavar="URL", action="append", required=True, help="a server's address; once for each")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, 0.0.0.0 for all (default: %(default)s)")
    parser.add_argument("--port", type=int, default=_PORT, help="port to listen on (default: %(default)s)")
    parser.add_argument(
        "--log-format", metavar="FORMAT", help="text, or json for one object a line (default: IXC_LOG_FORMAT or text)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Serve until interrupted. Raises SettingsError for an unusable address, or a format that there is not."""
    from ixc.hosting.logs import configure_logging  # slow imports
    from ixc.hosting.options import log_format_from_env, parse_log_format
    from ixc.hosting.replicas.server import serve_replicas

    named = args.log_format
    configure_logging(log_format_from_env(os.environ) if named is None else parse_log_format(named))
    serve_replicas(args.to, args.host, args.port, settings.images)
