"""`python3 -m smtppseudo` is the same as `smtppseudo`."""

import sys

from smtppseudo.cli import main

if __name__ == "__main__":
    sys.exit(main())
