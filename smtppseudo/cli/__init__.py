"""The commands: the only place that prints or exits."""

import errno
import os
import sys
from collections.abc import Sequence

from smtppseudo.cli import exits
from smtppseudo.cli.messages import say
from smtppseudo.cli.parser import parser
from smtppseudo.config.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that argv names; return its exit status."""
    _open_standard_streams()
    argv = sys.argv[1:] if arguments is None else arguments
    top = parser(load=argv)
    options = top.parse_args(argv)
    if options.command is None:
        top.error("the following arguments are required: COMMAND")
    try:
        status: int = options.run(options)
        sys.stdout.flush()  # here, so that the errors below are caught
    except SettingsError as error:
        return _fail(error, exits.BAD_SETTINGS)
    except exits.CommandError as error:
        return _fail(error, error.status)
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except OSError as error:
        _abandon_stdout()
        if isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL):
            return exits.GOOD  # the reader has ended, like `head`
        return _fail(f"standard output: {error.strerror}; not all of the output was written", exits.FAILED)
    return status


def _open_standard_streams() -> None:
    """Open /dev/null for each standard stream that the parent process has closed.

    Its descriptor would otherwise become that of the next socket or file, and a library may write to descriptor 2.
    """
    for name, flags, mode in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_WRONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def _abandon_stdout() -> None:
    """Discard what Python would still flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: object, status: int) -> int:
    say(str(error))
    return status
