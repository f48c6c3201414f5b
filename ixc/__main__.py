"""``python -m ixc`` is ``ixc``."""

import sys

from ixc.cli import main

if __name__ == "__main__":
    sys.exit(main())
