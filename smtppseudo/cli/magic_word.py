"""`magic-word`: sets the secret that lets monitors in."""

import argparse
import os
import secrets
import sys
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, add_host_option, ask, logged_in
from smtppseudo.cli.options import describe
from smtppseudo.link.machine import MAX_WORD_CHARS, checked_word
from smtppseudo.monitor.credentials import WORD_ITERATIONS, WORD_SALT_BYTES, derive

_GENERATED_BYTES: Final = 18  # 24 characters


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(
        command,
        "smtppseudo magic-word --generate",
        "It has 8 to 128 printable ASCII characters and is typed twice. The server never receives the word itself."
        " Other monitors are logged out.",
    )
    add_host_option(command)
    add_access(command)
    source = command.add_mutually_exclusive_group()
    source.add_argument("--generate", action="store_true", help="generate it and print it")
    source.add_argument("--stdin", action="store_true", help="read it from the first line of standard input")


def run(options: argparse.Namespace) -> int:
    """Set it. Only what a server needs to check it leaves this process."""
    with logged_in(options) as link:
        if not link.is_private:
            raise exits.CommandError(
                f"{link.place} is not this machine, and whoever is on the way could change the magic word;"
                " run this on the server, over TLS, or through an SSH tunnel"
            )
        try:
            word = _new_word(options)
        except ValueError as error:
            raise exits.CommandError(f"{error}; nothing was changed", exits.BAD_SETTINGS) from None
        credentials = derive(word, os.urandom(WORD_SALT_BYTES), WORD_ITERATIONS)
        link.request("magic_word", **credentials.to_fields())
    if options.generate:
        print(word)  # only once it is the server's
    else:
        print("the magic word is set")
    return exits.GOOD


def _new_word(options: argparse.Namespace) -> str:
    """Return the word that was made up, read or typed. Raises ValueError for one that will not do, CommandError."""
    if options.generate:
        return secrets.token_urlsafe(_GENERATED_BYTES)
    if options.stdin:
        line = sys.stdin.buffer.readline(2 * MAX_WORD_CHARS).decode("latin-1")
        return checked_word(line.removesuffix("\n").removesuffix("\r"))
    if not sys.stdin.isatty():
        raise exits.CommandError("there is no terminal to type the word on; give --generate or --stdin", exits.USAGE)
    word = checked_word(ask("New magic word: "))
    if ask("The same again: ") != word:
        raise exits.CommandError("the two words typed are not the same; nothing was changed")
    return word
