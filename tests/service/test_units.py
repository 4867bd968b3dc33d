"""The texts of the units, checked by systemd-analyze, too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smtppseudo.service.units import (
    MONITOR_SOCKET,
    SERVICE,
    SMTP_SOCKET,
    SOCKETS,
    SYSUSERS_TEXT,
    Plan,
    endpoints,
    is_generated,
    port_in,
    unit_texts,
)

COMMAND = (sys.executable, "-I", "-m", "smtppseudo")
PLANS = {
    "system": Plan(COMMAND),
    "user": Plan(COMMAND, 2525, 2626, is_for_user=True),
    "without IPv6": Plan(COMMAND, has_ipv6=False),
}
EXPOSURE_MAX = 4
"""Tenths: 0.4."""


def analyze(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, with `directory` for its own files."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    words = ("systemd-analyze", *words)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=30, check=False)


def write_units(directory: Path, plan: Plan) -> list[str]:
    """Write the units of a plan; return their paths."""
    paths = [directory / name for name in unit_texts(plan)]
    for path, text in zip(paths, unit_texts(plan).values(), strict=True):
        path.write_text(text)
    return [str(path) for path in paths]


def lines(text: str, key: str) -> list[str]:
    """Return the values that a unit gives a key."""
    return [line.removeprefix(f"{key}=") for line in text.splitlines() if line.startswith(f"{key}=")]


@pytest.mark.parametrize("name", PLANS)
def test_systemd_analyze_accepts_the_units(tmp_path: Path, name: str) -> None:
    plan = PLANS[name]
    done = analyze(tmp_path, "--user" if plan.is_for_user else "--system", "verify", *write_units(tmp_path, plan))
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_systemd_analyze_would_report_a_mistake(tmp_path: Path) -> None:
    paths = write_units(tmp_path, PLANS["system"])
    (tmp_path / SERVICE).write_text((tmp_path / SERVICE).read_text().replace("WatchdogSec=", "WatchDogSec="))
    assert "WatchDogSec" in analyze(tmp_path, "verify", *paths).stderr


def test_the_exposure_level_is_low(tmp_path: Path) -> None:
    write_units(tmp_path, PLANS["system"])
    done = analyze(tmp_path, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(tmp_path / SERVICE))
    assert done.returncode == 0, done.stdout


def test_a_program_path_with_special_characters_is_quoted(tmp_path: Path) -> None:
    directory = tmp_path / "odd place, $HOME, 50%h here"
    directory.mkdir()
    program = directory / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    paths = write_units(tmp_path, Plan((str(program),)))
    assert analyze(tmp_path, "verify", *paths).stderr == ""
    program.unlink()
    assert f"Command {program} is not executable" in analyze(tmp_path, "verify", *paths).stderr


def test_arguments_with_special_characters_are_quoted() -> None:
    text = unit_texts(Plan(("/bin/a", "b", "$c", "50%", 'the "d"', "e\\")))[SERVICE]
    assert lines(text, "ExecStart") == [r"""/bin/a b "$$c" 50%% "the \"d\"" "e\\" serve"""]


def test_a_reload_ends_with_a_check_of_the_settings() -> None:
    for plan in PLANS.values():
        signal, check = lines(unit_texts(plan)[SERVICE], "ExecReload")
        assert signal == "/bin/kill -HUP $MAINPID"
        assert check == f"{' '.join(COMMAND)} config --check"


def test_the_socket_units_have_the_names_that_the_server_expects() -> None:
    texts = unit_texts(PLANS["system"])
    assert lines(texts[SMTP_SOCKET], "ListenStream") == ["0.0.0.0:25", "[::]:25"]
    assert lines(texts[SMTP_SOCKET], "FileDescriptorName") == ["smtp"]
    assert lines(texts[MONITOR_SOCKET], "ListenStream") == ["127.0.0.1:26", "[::1]:26"]
    assert lines(texts[MONITOR_SOCKET], "FileDescriptorName") == ["monitor"]
    for key in ("Requires", "Sockets", "Also"):
        assert lines(texts[SERVICE], key) == [" ".join(SOCKETS)]


def test_io_uring_is_denied_and_the_machines_addresses_are_seen() -> None:
    text = unit_texts(PLANS["system"])[SERVICE]
    assert "@aio" in lines(text, "SystemCallFilter")[1].removeprefix("~").split()
    assert "@aio" in lines(unit_texts(PLANS["user"])[SERVICE], "SystemCallFilter")[1].split()
    assert lines(text, "BindReadOnlyPaths") == [
        "-/proc/1/net/fib_trie:/run/smtppseudo-net/fib_trie -/proc/1/net/if_inet6:/run/smtppseudo-net/if_inet6"
    ]


def test_without_ipv6_it_listens_on_ipv4_alone() -> None:
    texts = unit_texts(PLANS["without IPv6"])
    assert lines(texts[SMTP_SOCKET], "ListenStream") == ["0.0.0.0:25"]
    assert lines(texts[MONITOR_SOCKET], "ListenStream") == ["127.0.0.1:26"]
    assert [endpoint.addresses for endpoint in endpoints(PLANS["without IPv6"])] == [("0.0.0.0",), ("127.0.0.1",)]


def test_the_port_of_a_socket_unit_is_read_back() -> None:
    texts = unit_texts(PLANS["user"])
    assert (port_in(texts[SMTP_SOCKET]), port_in(texts[MONITOR_SOCKET])) == (2525, 2626)
    assert port_in("") is None


def test_a_users_service_has_neither_user_nor_name_spaces() -> None:
    text = unit_texts(PLANS["user"])[SERVICE]
    assert not lines(text, "User")
    assert not lines(text, "PrivateNetwork")
    assert lines(text, "WantedBy") == ["default.target"]


def test_the_rate_limit_of_the_journal_is_above_what_the_server_writes() -> None:
    text = unit_texts(PLANS["system"])[SERVICE]
    assert lines(text, "LogRateLimitIntervalSec") == ["1s"]  # not 0, which leaves journald's limit in force
    assert int(lines(text, "LogRateLimitBurst")[0]) >= 1_000_000


def test_no_limit_closes_the_port() -> None:
    for text in unit_texts(PLANS["system"]).values():
        limits = lines(text, "TriggerLimitIntervalSec") + lines(text, "StartLimitIntervalSec")
        assert limits == ["0"]


def test_all_files_carry_the_marker() -> None:
    texts = [*unit_texts(PLANS["system"]).values(), *unit_texts(PLANS["user"]).values(), SYSUSERS_TEXT]
    assert all(map(is_generated, texts))
    assert not is_generated("[Unit]\n")
