"""The command line: ``ixc plan``, ``ixc ask``, ``ixc app``, ``ixc eval``, ``ixc bench``, ``ixc convert``, ``ixc space`` and
``ixc replicas``.

Exit codes: 0 done, 1 an error said in one line, 2 wrong usage, 130 interrupted by Ctrl-C, 141 the reader of the output went
away. Ctrl-C is how ``ixc app`` is ended, in order: its exit code is then 0.
"""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from ixc import __version__
from ixc.cli import app, ask, bench, convert, eval, plan, replicas, space
from ixc.errors import IxcError
from ixc.settings import Settings

_TALKATIVE_LIBRARIES = ("torchao", "torch.utils._pytree")
"""Where torchao is installed transformers imports it, and both then say things about CUDA files and enums."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

EXIT_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; wrong usage leaves through argparse's SystemExit(2)."""
    for stream in (sys.stdout, sys.stderr):
        # A name or answer that the terminal's encoding lacks must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = build_parser().parse_args(argv)
    # Libraries warn about damaged metadata and the like; what matters to the user comes as an error.
    warnings.simplefilter("ignore")
    for library in _TALKATIVE_LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        args.run(args, Settings.from_env(os.environ))
        sys.stdout.flush()
    except IxcError as error:
        print(f"ixc: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _drop_output()
        print(f"ixc: The output could not be written: {error.strerror}; make room and start again.", file=sys.stderr)
        return EXIT_ERROR
    return 0


def _drop_output() -> None:
    """Python would flush stdout again at exit and complain; give it somewhere to flush to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ixc", description="See how a high-resolution image is cut into tiles, then ask a model about it."
    )
    parser.add_argument("--version", action="version", version=f"ixc {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (plan, ask, app, eval, bench, convert, space, replicas):
        command.add_command(commands)
    return parser
