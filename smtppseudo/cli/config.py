"""`config`: prints the current settings, checks a settings file, or prints one with the defaults."""

import argparse
import os
from typing import Any

from smtppseudo.cli.messages import print_line, print_text, say
from smtppseudo.cli.options import describe
from smtppseudo.cli.places import add_places, read_configuration, with_monitor_settings
from smtppseudo.config.file import default_file, to_toml
from smtppseudo.config.settings import Settings


def add_config(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo config --default > smtppseudo.toml\n  smtppseudo config --check smtppseudo.toml")
    add_places(command)
    add = command.add_mutually_exclusive_group().add_argument
    add("--default", action="store_true", help="print a settings file with all defaults, commented out")
    add("--running", action="store_true", help="print the settings of the running server that has this state directory")
    command.set_defaults(host=None, monitor_port=None, magic_file=None, pin=None, tls="auto")  # for its login
    check_help = "print only mistakes in FILE, or in the settings file; exit status 78 if there is one"
    add("--check", nargs="?", const="", metavar="FILE", help=check_help)


def run(options: argparse.Namespace) -> None:
    """Print the settings, or check them."""
    if options.default:
        print_text(default_file())
    elif options.running:
        from smtppseudo.cli.access import logged_in
        from smtppseudo.cli.set import print_settings

        with logged_in(options) as link:
            print_settings(link)
    else:
        options.config = options.check or options.config
        configuration = with_monitor_settings(read_configuration(options, say), say)
        if options.check is not None:
            _check(configuration.settings)
        else:
            for name, value in configuration.settings._asdict().items():
                print_line(f"{name} = {to_toml(value)}  # {configuration.origins[name]}")


def _check(settings: Settings) -> None:
    """Check what a start of the server checks, except the ports. Raises SettingsError."""
    from smtppseudo.net.pem import CREDENTIALS
    from smtppseudo.server.certificates import Certificates
    from smtppseudo.server.preconditions import check_start

    check_start(settings)
    for prefix in ("", "monitor_"):
        names = (f"{prefix}tls_cert", f"{prefix}tls_key")
        is_credential = any(getattr(settings, name).startswith(CREDENTIALS) for name in names)
        # The server can read systemd's credentials. This process cannot, not even as ExecReload= of systemd 257.
        if is_credential and "CREDENTIALS_DIRECTORY" not in os.environ:
            without: dict[str, Any] = dict.fromkeys(names, "")
            settings = settings._replace(**without)
    Certificates(settings)
