"""`magic-word`: sets the password of the monitor port."""

import argparse
import os
import secrets
import sys

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, ask_word, logged_in, word_in
from smtppseudo.cli.messages import is_terminal, print_line
from smtppseudo.cli.options import describe
from smtppseudo.link.machine import MAX_WORD_CHARS, checked_word
from smtppseudo.monitor.credentials import WORD_ITERATIONS, WORD_SALT_BYTES, derive


def add_magic_word(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo magic-word --generate",
        "It has 8 to 128 printable ASCII characters and is typed twice. The server never receives the word itself."
        " Other monitors are logged out.",
    )
    add_access(command)
    source = command.add_mutually_exclusive_group()
    source.add_argument("--generate", action="store_true", help="generate it and print it")
    source.add_argument("--stdin", action="store_true", help="read it from the first line of standard input")


def run(options: argparse.Namespace) -> None:
    """Set it. Only derived keys leave this process, with which the server can check the word but not log in."""
    with logged_in(options) as link:
        if not link.is_private:
            raise exits.CommandError(
                f"{link.place} is another machine and the connection is not encrypted, so others could change the magic"
                " word; run this on the server, over TLS, or through an SSH tunnel"
            )
        try:
            word = _new_word(options)
        except ValueError as error:
            raise exits.CommandError(f"{error}; nothing was changed", exits.BAD_SETTINGS) from None
        credentials = derive(word, os.urandom(WORD_SALT_BYTES), WORD_ITERATIONS)
        link.request("magic_word", **credentials.to_fields())
    print_line(word if options.generate else "the magic word is set")  # not before the server has it


def _new_word(options: argparse.Namespace) -> str:
    """Generate the word, or read it from stdin or the terminal. Raises ValueError if it is invalid, CommandError."""
    if options.generate:
        return secrets.token_urlsafe(18)  # 24 characters
    if options.stdin:
        return checked_word(word_in(sys.stdin.buffer.readline(2 * MAX_WORD_CHARS)))
    if not is_terminal(sys.stdin):
        raise exits.CommandError("standard input is not a terminal; give --generate or --stdin", exits.USAGE)
    word = checked_word(ask_word("New magic word: "))
    if ask_word("The same again: ") != word:
        raise exits.CommandError("the two typed words differ; nothing was changed")
    return word
