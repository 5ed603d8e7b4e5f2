"""`python -m isnet_cli`, which torchrun can start several times."""

from __future__ import annotations

import sys

from isnet_cli.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
