"""`python3 -m smtppseudo` is the same as `smtppseudo`. Older Pythons must be able to read this file."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("smtppseudo: this is Python %d.%d; smtppseudo needs 3.11 or later" % sys.version_info[:2])  # noqa: UP031

if not __package__:  # it is run by its path, as by the Windows service, for which site-packages are not searched
    sys.path.insert(0, __file__.rpartition("smtppseudo")[0])

from smtppseudo.cli import main

if __name__ == "__main__":
    sys.exit(main())
