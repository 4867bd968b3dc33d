"""The commands: the only place that prints or exits."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from smtppseudo.cli import exits
from smtppseudo.cli.parser import parser
from smtppseudo.config.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    if not _has(sys.stdout):  # closed by whoever started us
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    argv = sys.argv[1:] if arguments is None else arguments
    options = parser(load=argv).parse_args(argv)
    try:
        status: int = options.run(options)
        sys.stdout.flush()  # here, where it is known what to do when nobody reads it
    except SettingsError as error:
        return _complain(error, exits.BAD_SETTINGS)
    except exits.CommandError as error:
        return _complain(error, error.status)
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except BrokenPipeError:
        _abandon_stdout()  # whoever read our output has gone, as `head` does
        return exits.GOOD
    except OSError as error:
        _abandon_stdout()
        return _complain(OSError(f"standard output: {error.strerror}; not all of the output was written"), exits.FAILED)
    return status


def _abandon_stdout() -> None:
    """Let nothing be flushed to standard output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _has(stream: TextIO | None) -> bool:
    return stream is not None


def _complain(error: Exception, status: int) -> int:
    print(f"smtppseudo: {error}", file=sys.stderr)
    return status
