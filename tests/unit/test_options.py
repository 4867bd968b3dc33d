"""Types of arguments on the command line: hosts with ports, durations."""

import argparse

import pytest

from smtppseudo.cli import exits
from smtppseudo.cli.options import host_and_port, seconds


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (None, (None, None)),
        ("mail.example", ("mail.example", None)),
        ("mail.example:2626", ("mail.example", 2626)),
        ("192.0.2.1:26", ("192.0.2.1", 26)),
        ("::1", ("::1", None)),
        ("2001:db8::26", ("2001:db8::26", None)),
        ("[::1]", ("::1", None)),
        ("[::1]:26", ("::1", 26)),
        ("[fe80::1%eth0]:26", ("fe80::1%eth0", 26)),
        ("[mail.example]:26", ("mail.example", 26)),
    ],
)
def test_host_with_port(host: str | None, found: tuple[str | None, int | None]) -> None:
    assert host_and_port(host, None) == found
    if found[1] is None:
        assert host_and_port(host, 99) == (found[0], 99)


@pytest.mark.parametrize(
    ("host", "port", "mistake"),
    [
        ("a:26", 26, "the port is given twice: in a:26, and 26 by an option"),
        ("[::1]:26", 27, "the port is given twice: in [::1]:26, and 27 by an option"),
        ("a:", None, "a:: the port must be 1 to 65535"),
        ("a:smtp", None, "a:smtp: the port must be 1 to 65535"),
        ("[::1]:65536", None, "[::1]:65536: the port must be 1 to 65535"),
    ],
)
def test_wrong_port_after_a_host_is_a_usage_error(host: str, port: int | None, mistake: str) -> None:
    with pytest.raises(exits.CommandError) as raised:
        host_and_port(host, port)
    assert (str(raised.value), raised.value.status) == (mistake, exits.USAGE)


@pytest.mark.parametrize(("text", "found"), [("30", 30), ("0.5", 0.5), ("90s", 90), ("5m", 300), ("7d", 604_800)])
def test_seconds_as_a_duration(text: str, found: float) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["0", "0s", "-1", "5 m", "5M", "1w5d", "2w", "inf", "nan", "soon", ""])
def test_wrong_durations_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a time such as 30"):
        seconds(text)
