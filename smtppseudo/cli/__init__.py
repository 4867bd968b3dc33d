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
        status: int | None = options.run(options)
        sys.stdout.flush()  # here, so that the errors below are caught
    except (SettingsError, exits.CommandError) as error:
        say(str(error))
        return exits.BAD_SETTINGS if isinstance(error, SettingsError) else error.status
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except OSError as error:
        _abandon_stdout()
        if isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL):
            return exits.GOOD  # the reader has ended, like `head`
        say(f"standard output: {error.strerror}; not all of the output was written")
        return exits.FAILED
    return exits.GOOD if status is None else status


def _open_standard_streams() -> None:
    """Open /dev/null for each closed standard stream: its descriptor would become that of the next socket or file."""
    for name, flags, mode in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_WRONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def _abandon_stdout() -> None:
    """Discard what Python would still flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
