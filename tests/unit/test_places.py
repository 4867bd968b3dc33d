"""Places: the directories of a user and of a service, and text files with a byte order mark."""

import argparse
import socket
from pathlib import Path

import pytest

from smtppseudo.blocklist.never_listed import read_never_listed
from smtppseudo.cli import places
from smtppseudo.cli.access import read_word, state_dirs, word_in
from smtppseudo.cli.places import (
    SettingsFile,
    machine_name,
    may_share_cookie,
    read_configuration,
    require_home,
    user_config,
    usual_places,
)
from smtppseudo.config.settings import SettingsError
from smtppseudo.files import SYSTEM_STATE, StateDir
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.pins import PINS_FILE

SERVICE_STATE = "/var/lib/smtppseudo"


@pytest.mark.parametrize(
    ("state_dir", "by_systemd", "may"),
    [
        (SERVICE_STATE, SERVICE_STATE, True),
        (SERVICE_STATE, f"{SERVICE_STATE}:/var/lib/other", True),
        ("/var/lib/private/smtppseudo", "/var/lib/private/smtppseudo", True),
        (SERVICE_STATE, None, False),
        (SERVICE_STATE, "", False),
        ("/srv/state", SERVICE_STATE, False),
        ("/home/a/.local/state/smtppseudo", "/home/a/.local/state/smtppseudo", False),
    ],
)
def test_only_the_cookie_of_a_system_service_is_shared_with_its_group(
    state_dir: str, by_systemd: str | None, may: bool
) -> None:
    environ = {} if by_systemd is None else {"STATE_DIRECTORY": by_systemd}
    assert may_share_cookie(state_dir, environ) is may


def test_commands_search_the_state_directory_of_the_service() -> None:
    assert str(SYSTEM_STATE) == SERVICE_STATE
    assert state_dirs(None)[-1] == SYSTEM_STATE


@pytest.fixture
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this user an ordinary one without a line in /etc/passwd."""
    monkeypatch.setattr(places, "is_root", lambda: False)
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize("home", [None, "", "home/a", "./", "~"])
def test_a_relative_home_is_none(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if home is not None:
        monkeypatch.setenv("HOME", home)
    state = usual_places({} if home is None else {"HOME": home}).state
    with pytest.raises(SettingsError, match="this user has no home directory for state and logs; set HOME"):
        require_home("/var/log", state)
    assert not state.parents[1].exists()
    assert not user_config().parent.exists()
    assert state_dirs(None)[-1] == SYSTEM_STATE


@pytest.mark.usefixtures("ordinary_user")
def test_without_home_a_directory_can_be_named() -> None:
    environ = {"XDG_STATE_HOME": "/s", "CONFIGURATION_DIRECTORY": "/c", "LOGS_DIRECTORY": "/l", "HOME": "x"}
    found = usual_places(environ)
    assert tuple(map(str, found)) == ("/c", "/s/smtppseudo", "/l")
    require_home(*found)
    assert str(usual_places({"HOME": "/home/a"}).state) == "/home/a/.local/state/smtppseudo"


def options(config: Path) -> argparse.Namespace:
    return argparse.Namespace(config=str(config))


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Windows' editors and PowerShell write one."""
    path = tmp_path / "file"
    path.write_bytes(b'\xef\xbb\xbfgreeting = "Salve!"\r\n')
    assert SettingsFile(options(path)).read(pytest.fail) == {"greeting": "Salve!"}
    path.write_bytes(b"\xef\xbb\xbf198.18.0.7\r\n9.9.9.9\r\n")
    assert read_never_listed([str(path)], []).reason("9.9.9.9")
    path.write_bytes(b"\xef\xbb\xbfopen sesame\r\n")
    path.chmod(0o600)
    assert read_word(path) == "open sesame"
    assert word_in(b"\xef\xbb\xbfopen sesame\n") == "open sesame"
    pins = Keyring([], tmp_path)
    pins.accept("a", 26, "SHA256:" + ":".join(["0A"] * 32))
    path = tmp_path / PINS_FILE
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert pins.pin_for("a", 26)
    assert StateDir(tmp_path).read("file") == "open sesame\r\n"


@pytest.mark.parametrize(
    ("text", "handed_over", "ignored"),
    [
        ('monitor_listen = ["127.0.0.1"]', {"monitor_listen": ("127.0.0.1", "::1")}, ["monitor_listen"]),
        ('monitor_listen = ["::1", "127.0.0.1"]', {"monitor_listen": ("127.0.0.1", "::1")}, []),
        ("port = 2525\nlisten = ['::1']", {"port": 25, "listen": ("::",)}, ["port", "listen"]),
        ("port = 0", {"port": 25}, []),
        ("port = 2525", {"monitor_port": 25}, []),
        ("", {"port": 25, "listen": ("::",), "monitor_listen": ("::1",)}, []),
    ],
)
def test_addresses_that_the_service_manager_overrides_are_one_warning(
    tmp_path: Path, text: str, handed_over: dict[str, object], ignored: list[str]
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    warnings: list[str] = []
    settings = read_configuration(options(path), warnings.append, handed_over).settings
    assert {name: getattr(settings, name) for name in handed_over} == handed_over
    assert [warning.partition(" not used")[0] for warning in warnings] == (
        [f"warning: {' and '.join(ignored)}"] if ignored else []
    )


@pytest.mark.parametrize("name", ["", "(none)", "a%s{date}", "x\r\ny", "x" * 300, "\udcff"])
@pytest.mark.parametrize(
    ("options", "literal"),
    [
        ({"listen": ("192.0.2.7", "::1")}, "[192.0.2.7]"),
        ({"listen": ("2001:db8::7",)}, "[IPv6:2001:db8::7]"),
        ({"listen": ("0.0.0.0", "192.0.2.7")}, "[192.0.2.7]"),
        ({"listen": ("127.0.0.1",)}, "[127.0.0.1]"),
        ({"listen": ("fe80::1%eth0",)}, "[IPv6:fe80::1]"),
    ],
)
def test_an_address_replaces_a_machine_name_that_is_no_host_name(
    name: str, options: dict[str, tuple[str, ...]], literal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    (tmp_path / "smtppseudo.toml").touch()
    warnings: list[str] = []
    given = argparse.Namespace(config=str(tmp_path / "smtppseudo.toml"), **options)
    assert read_configuration(given, warnings.append).settings.hostname == literal
    assert warnings == [
        f"warning: the name of this machine is no host name, so replies name {literal}; set hostname",
    ]
    (tmp_path / "smtppseudo.toml").write_text('hostname = "mx.example.org"\n')
    assert read_configuration(given, warnings.append).settings.hostname == "mx.example.org"
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("addresses", "literal"),
    [
        (["127.0.0.1", "192.168.1.7"], "[192.168.1.7]"),
        (["0000:0000:0000:0000:0000:0000:0000:0001", "127.0.0.1", "172.17.0.2"], "[172.17.0.2]"),
        (
            ["127.0.0.1", "2001:0db8:0000:0000:0000:0000:0000:0001", "fe80:0000:0000:0000:0000:0000:0000:0001"],
            "[IPv6:2001:db8::1]",
        ),
        (["0000:0000:0000:0000:0000:0000:0000:0001", "127.0.0.1"], "[127.0.0.1]"),
        ([], "[127.0.0.1]"),
    ],
)
def test_an_address_of_the_machine_replaces_its_name_rather_than_a_loopback_address(
    addresses: list[str], literal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "(none)")
    monkeypatch.setattr(places, "machine_addresses", lambda: addresses)
    assert machine_name(("0.0.0.0", "::")) == literal
