"""`python -m isofield.cli`: the same as `isofield`."""

import sys

from isofield.cli import main

if __name__ == "__main__":
    sys.exit(main())
