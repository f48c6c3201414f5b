"""``python -m ixc.training.examples [FOLDER]``: draw the example images of the app."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from ixc.errors import IxcError
from ixc.training.examples.catalogue import write_examples

logger = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.training.examples", description="Draw the example images of the app.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("assets/examples"), help="default: assets/examples")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for path in write_examples(options.folder):
            logger.info("%8.1f KB  %s", path.stat().st_size / 1024, path)
    except IxcError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
