"""``ixc convert``: a safetensors copy of a checkpoint, which loads faster and cannot hold code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ixc.cli.status import StatusLine
from ixc.errors import CheckpointError
from ixc.settings import Settings


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "convert",
        help="copy a checkpoint as safetensors",
        description="Copy a checkpoint into a new folder as safetensors, tensor by tensor, with the files this program reads.",
    )
    parser.add_argument("source", metavar="SOURCE", help="a known model, a checkpoint folder, or owner/name on the Hub")
    parser.add_argument("target", metavar="TARGET", type=Path, help="new or empty folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Download if need be, convert, say what was written. Raises CheckpointError."""
    _check_target(args.target)
    from ixc.models.conversion import convert_checkpoint  # slow imports, and not needed to refuse a bad target
    from ixc.models.presets import find_model

    preset = find_model(args.source)
    try:
        with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status:
            folder = preset.source if isinstance(preset.source, Path) else _download(preset.source, preset.revision, status)
            status.show("Checking the checkpoint")
            written = convert_checkpoint(
                folder, args.target, lambda done, num: status.show(f"Copied {done} of {num} weight files")
            )
    except OSError as error:
        raise CheckpointError(
            f"{args.target} could not be written: {error.strerror or error}; make room, delete it and start again."
        ) from error
    except KeyboardInterrupt:
        if args.target.exists():
            print(f"stopped: {args.target} is incomplete; delete it before you start again", file=sys.stderr)
        raise
    for path in written:
        print(f"wrote {path} ({path.stat().st_size / 1e6:,.1f} MB)")


def _download(repo_id: str, revision: str, status: StatusLine) -> Path:
    from ixc.models.download import download_checkpoint

    return download_checkpoint(repo_id, revision, lambda share: status.show(f"Downloading {repo_id}: {share:.0%}"))


def _check_target(target: Path) -> None:
    """Before anything is downloaded."""
    try:
        is_there = target.exists()
        is_file = is_there and not target.is_dir()
        is_used = is_there and not is_file and any(target.iterdir())
    except OSError as error:
        raise CheckpointError(f"{target} cannot be used: {error.strerror or error}; give another folder.") from error
    if is_file:
        raise CheckpointError(f"{target} is a file; give a new folder.")
    if is_used:
        raise CheckpointError(f"The folder {target} is not empty; give a new one.")
