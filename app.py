"""Serve the page: ``python app.py``, and the entry point of the Hugging Face Space. Settings come from IXC_* variables."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Serve until interrupted; 1 and one sentence on the standard error when that cannot be."""
    from ixc.errors import IxcError
    from ixc.settings import Settings

    env = dict(os.environ)
    if "GRADIO_SERVER_NAME" in env:  # a Space tells the address to listen on in Gradio's way
        env.setdefault("IXC_HOST", env["GRADIO_SERVER_NAME"])
    try:
        settings = Settings.from_env(env)
        from ixc.hosting.options import ServerOptions
        from ixc.hosting.server import serve

        serve(settings, ServerOptions.from_env(env))
    except IxcError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
