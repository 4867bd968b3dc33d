"""The command line: a mistake is one clear line and the right exit status; `config` prints all settings."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from smtppseudo.config.file import to_toml
from smtppseudo.config.settings import KEYS, Settings
from smtppseudo.files import is_root
from tests.certificates import Certificate
from tests.running import command, environment, limited_to, run, without_capabilities

PORT_25 = 25


def complaint(status: int, *arguments: str, prefix: list[str] | None = None) -> str:
    """Run a command that must end with this status; return the one line that it must print, on stderr."""
    done = run(*arguments, prefix=prefix or [])
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert done.stderr.startswith("smtppseudo: "), done.stderr
    assert done.stderr.endswith("\n")
    (line,) = done.stderr.splitlines()
    return line


def serve_at(port: int, directory: Path, *addresses: str) -> list[str]:
    listen = [word for address in addresses for word in ("--listen", address)]
    places = ["--config", str(directory / "empty"), "--log-dir", str(directory), "--state-dir", str(directory)]
    (directory / "empty").touch()
    return ["serve", "--port", str(port), "--monitor-port", "0", *listen, *places]


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (["127.0.0.1", "0.0.0.0"], "by this server: 127.0.0.1 and 0.0.0.0 overlap; leave one of them out"),
        (["0.0.0.0", "127.0.0.1"], "by this server: 0.0.0.0 and 127.0.0.1 overlap"),
        (["::", "0:0:0:0:0:0:0:0"], "by this server: :: and 0:0:0:0:0:0:0:0 overlap"),
        (["::ffff:127.0.0.1"], "write IPv4 addresses without ::ffff:"),
        (["fe80::1"], "link-local ones with an interface: fe80::1%eth0"),
        (["fe80::1%lo"], "this machine does not have that address"),
        (["fe80::1%nowhere"], "cannot listen on fe80::1%nowhere"),
    ],
)
def test_an_address_that_cannot_be_listened_on_says_why(tmp_path: Path, addresses: list[str], said: str) -> None:
    assert said in complaint(1, *serve_at(0, tmp_path, *addresses))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_port_in_use_names_the_program_that_holds_it(tmp_path: Path, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as holder:
        holder.bind((address, 0))
        holder.listen()
        port = holder.getsockname()[1]
        line = complaint(1, *serve_at(port, tmp_path, address))
    ours = Path("/proc/self/comm").read_text().strip()
    assert f"cannot listen on {address} port {port}: " in line
    assert f"{ours} (pid {os.getpid()})" in line
    assert "--port" in line


def test_port_without_permission_names_three_solutions(tmp_path: Path) -> None:
    prefix = without_capabilities("net_bind_service")
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= PORT_25:
        if not is_root():
            pytest.skip("anyone may bind port 25 here")
        prefix = ["unshare", "-n", *prefix]
    line = complaint(1, *serve_at(PORT_25, tmp_path, "0.0.0.0"), prefix=prefix)
    assert line.startswith("smtppseudo: cannot listen on 0.0.0.0 port 25: ")
    for way_out in ("`sudo smtppseudo install-service`", "root with --run-as", "--port 2525 --monitor-port 2626"):
        assert way_out in line


def test_foreign_listen_address_is_one_line(tmp_path: Path) -> None:
    line = complaint(1, *serve_at(0, tmp_path, "192.0.2.1"))
    assert "192.0.2.1" in line
    assert "--listen" in line


@pytest.mark.parametrize("name", ["log_dir", "state_dir", "tls_cert", "blocklist_never"])
def test_a_path_that_the_locale_cannot_encode_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'{name} = ["/€"]\n' if name == "blocklist_never" else f'{name} = "/€"\n', encoding="utf-8")
    done = run("serve", "--config", str(path), PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        rf"smtppseudo: {path}: {name}: /\xe2\x82\xac has characters that ascii, the encoding of this process, lacks;"
        " set LANG to a locale with UTF-8, such as C.UTF-8\n"
    )


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("slotz = 3\n", "line 1", "unknown setting 'slotz'; did you mean slots?"),
        ("# a comment\n\nnonsense = 3\n", "line 3", "unknown setting 'nonsense'"),
        ('port = "25"\n', "line 1", "port must be a whole number from 0 to 65535"),
        ("slots = 3\nport = 65536\n", "line 2", "port must be a whole number from 0 to 65535"),
        ("slots = 0\n", "line 1", "slots must be a whole number from 1 to 60000"),
        ("slots = true\n", "line 1", "slots must be a whole number"),
        ("slots = 25.0\n", "line 1", "slots must be a whole number"),
        ("idle_timeout_s = nan\n", "line 1", "idle_timeout_s must be a number of seconds from 1 to 86400"),
        ("idle_timeout_s = inf\n", "line 1", "idle_timeout_s must be a number of seconds from 1 to 86400"),
        ("idle_timeout_s = 0\n", "line 1", "idle_timeout_s must be a number of seconds from 1 to 86400"),
        ("quiet_timeout_s = 0.5\n", "line 1", "or 0 for off"),
        ("accept_mail = 1\n", "line 1", "accept_mail must be true or false"),
        ('greeting = ""\n', "line 1", "greeting must be 1 to 200 printable ASCII characters"),
        ('greeting = "a\\r\\nb"\n', "line 1", "greeting must be 1 to 200 printable ASCII characters"),
        ('greeting = "Grüß"\n', "line 1", "greeting must be 1 to 200 printable ASCII characters"),
        ('reject_at = "never"\n', "line 1", 'reject_at must be one of "connect", "helo", "mail"'),
        ('listen = "127.0.0.1"\n', "line 1", "listen must be a list of IP addresses"),
        ('listen = [\n"127.0.0.1",\n"localhost",\n]\n', "line 1", "listen must be a list of IP addresses"),
        ("listen = []\n", "line 1", "listen must be a list of IP addresses"),
        ('limit_exempt = ["10.0.0.1/8"]\n', "line 1", "limit_exempt must be a list of networks"),
        ("[slots]\nmost = 3\n", "line 1", "slots must be a whole number"),
        ("slots.most = 3\n", "line 1", "slots must be a whole number"),
        ("slots = = 3\n", "line 1", "not valid TOML"),
        ("slots = 3\nslots = 4\n", "line 2", "not valid TOML"),
        ("slots = " + "[" * 5_000 + "\n", "", "not valid TOML"),
        ("slots = " + "9" * 5_000 + "\n", "", "not valid TOML"),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_mistake_in_the_file_names_place_and_allowed_values(tmp_path: Path, text: str, place: str, said: str) -> None:
    config = tmp_path / "smtppseudo.toml"
    config.write_text(text)
    for words in (["config", "--config"], ["config", "--check"], ["serve", "--config"]):
        line = complaint(78, *words, str(config))
        assert line.startswith(f"smtppseudo: {config}")
        assert place in line
        assert said in line


def test_settings_file_must_be_utf_8(tmp_path: Path) -> None:
    config = tmp_path / "smtppseudo.toml"
    config.write_bytes(b'greeting = "Gr\xfc\xdf"\n')
    line = complaint(78, "serve", "--config", str(config))
    assert line == f"smtppseudo: {config}: not UTF-8 text; save it as UTF-8"


def test_missing_settings_file_is_an_error(tmp_path: Path) -> None:
    line = complaint(78, "serve", "--config", str(tmp_path / "none.toml"))
    assert "no such file" in line
    assert "smtppseudo config --default" in line


def test_directory_as_settings_file_is_an_error(tmp_path: Path) -> None:
    assert str(tmp_path) in complaint(78, "serve", "--config", str(tmp_path))


def test_unreadable_settings_file_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "smtppseudo.toml"
    config.touch(0)
    line = complaint(
        78, "serve", "--config", str(config), prefix=without_capabilities("dac_override", "dac_read_search")
    )
    assert line.startswith(f"smtppseudo: {config}: Permission denied")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--port", "65536", "port must be a whole number from 0 to 65535"),
        ("--slots", "0", "slots must be a whole number from 1 to 60000"),
        ("--listen", "localhost", "listen must be a list of IP addresses"),
        ("--greeting", "", "greeting must be 1 to 200 printable ASCII characters"),
    ],
)
def test_invalid_option_value_names_what_is_allowed(option: str, value: str, said: str) -> None:
    assert said in complaint(78, "serve", option, value)


def test_wrong_syntax_is_a_usage_error() -> None:
    for arguments in (
        [],
        ["nonsense"],
        ["serve", "--nonsense"],
        ["serve", "--port", "x"],
        ["serve", "--reject-at", "x"],
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: smtppseudo ")
        assert "Traceback" not in done.stderr


def test_help_contains_an_example() -> None:
    for name in ("serve", "config"):
        done = run(name, "--help")
        assert done.returncode == 0
        assert f"Example:\n  smtppseudo {name}" in done.stdout
    assert run("--version").stdout == "smtppseudo 1.0.0\n"


def shown(*arguments: str, **env: str) -> dict[str, tuple[str, str]]:
    """Return what `config` shows: by key, the value and its origin."""
    done = run("config", *arguments, **env)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.findall(r"^(\w+) = (.*)  # ([a-z ]+)$", done.stdout, re.MULTILINE)
    assert len(found) == len(done.stdout.splitlines())
    return {name: (value, origin) for name, value, origin in found}


def test_config_prints_every_value_and_its_origin(tmp_path: Path) -> None:
    config = tmp_path / "smtppseudo.toml"
    config.write_text('slots = 7\nidle_timeout_s = 1234.5678\nlisten = ["127.0.0.1"]\n')
    table = shown("--config", str(config), "--log-dir", "/var/log/elsewhere")
    assert list(table) == list(Settings._fields)
    assert table["slots"] == ("7", "file")
    assert table["idle_timeout_s"] == ("1234.5678", "file")
    assert table["listen"] == ('["127.0.0.1"]', "file")
    assert table["log_dir"] == ('"/var/log/elsewhere"', "command line")
    assert table["port"] == ("25", "default")
    assert table["hostname"] == (f'"{socket.gethostname()}"', "default")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 26\n", "port and monitor_port must differ; both are 26"),
        ('tls_cert = "/nowhere"\n', "tls_cert and tls_key go together; only one of them is set"),
        ('tls_cert = "/nowhere"\ntls_key = "/nowhere"\n', "tls_cert: /nowhere: No such file or directory; "),
        ('monitor_listen = ["0.0.0.0"]\n', "monitor_listen: 0.0.0.0 is not a loopback address, "),
        ("slots = 60000\n", "slots = 60000 needs "),
        ('blocklist_file = "/l"\nblocklist_never = ["/nowhere"]\n', "/nowhere: No such file or directory; "),
    ],
)
def test_config_check_finds_what_would_keep_the_server_from_starting(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "smtppseudo.toml"
    config.write_text(text)
    few_files = limited_to("RLIMIT_NOFILE", 500)
    for words in (["config", "--check"], ["serve", "--config"]):
        line = complaint(78, *words, str(config), "--state-dir", str(tmp_path), prefix=few_files)
        assert line.startswith(f"smtppseudo: {said}")


def test_config_check_prints_nothing_if_all_is_well(tmp_path: Path, certificate: Certificate) -> None:
    good, bad = tmp_path / "smtppseudo.toml", tmp_path / "bad.toml"
    good.write_text(f'tls_cert = "{certificate.cert}"\ntls_key = "%d/only-the-service-can-read-it"\n')
    bad.write_text("slots = 0\n")
    places = {"HOME": str(tmp_path), "CONFIGURATION_DIRECTORY": str(tmp_path), "STATE_DIRECTORY": str(tmp_path)}
    for words in (["--check"], ["--check", str(good)], ["--check", str(good), "--config", str(bad)]):
        done = run("config", *words, **places)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "slots must be" in complaint(78, "config", "--config", str(bad), "--check")
    assert "no such file" in complaint(78, "config", "--check", str(tmp_path / "none.toml"))


def test_config_uses_the_directories_that_systemd_names(tmp_path: Path) -> None:
    (tmp_path / "smtppseudo.toml").write_text("slots = 9\n")
    table = shown(CONFIGURATION_DIRECTORY=str(tmp_path), STATE_DIRECTORY="/a/state", LOGS_DIRECTORY="/a/log:/b/log")
    assert table["slots"] == ("9", "file")
    assert (table["state_dir"], table["log_dir"]) == (('"/a/state"', "default"), ('"/a/log"', "default"))


def test_default_file_sets_nothing_and_names_every_key(tmp_path: Path) -> None:
    text = run("config", "--default").stdout
    config = tmp_path / "smtppseudo.toml"
    config.write_text(text)
    assert {origin for _, origin in shown("--config", str(config)).values()} == {"default"}
    taken, count = re.subn(rf"^# ((?:{'|'.join(KEYS)}) = )", r"\1", text, flags=re.MULTILINE)
    assert count == len(KEYS) == len(Settings._fields)
    config.write_text(taken)
    table = shown("--config", str(config))
    defaults = {name: to_toml(value) for name, value in Settings()._asdict().items() if value != ""}
    assert {name: table[name] for name in defaults} == {name: (value, "file") for name, value in defaults.items()}
    for key in KEYS.values():
        assert f"# {key.help}\n" in text


def test_closed_pipe_ends_config_quietly(tmp_path: Path) -> None:
    (tmp_path / "smtppseudo.toml").touch()
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        words = command("config", "--config", str(tmp_path / "smtppseudo.toml"))
        done = subprocess.run(words, env=environment(), stdout=theirs, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        words = command("config", "--default")
        done = subprocess.run(words, env=environment(), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"smtppseudo: ")
    assert b"No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_too_low_file_limit_is_one_line() -> None:
    line = complaint(78, "serve", "--port", "0", prefix=limited_to("RLIMIT_NOFILE", 60))
    assert "limit is 60" in line
    assert "at most -" not in line


@pytest.mark.parametrize(
    ("closed", "words", "status"),
    [
        (">&-", ["config"], 0),
        (">&-", ["serve", "--port", "0", "--monitor-port", "0", "--reject-at", "no"], 2),
        ("<&-", ["monitor"], 2),
        ("<&-", ["demo"], 2),
        ("<&- >&- 2>&-", ["demo"], 2),
        ("<&- 2>&-", ["monitor"], 2),
    ],
)
def test_closed_standard_streams_are_no_traceback(closed: str, words: list[str], status: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command(*words)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_deeply_nested_monitor_settings_are_ignored_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("[" * 100_000)
    done = run("config", "--state-dir", str(tmp_path), HOME=str(tmp_path))
    assert done.returncode == 0
    assert done.stderr.endswith("settings.json: not a JSON object; settings changed by monitors are not in force\n")


def test_serve_needs_no_home_directory(tmp_path: Path) -> None:
    user = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]  # not in /etc/passwd
    if sys.platform != "linux" or subprocess.run([*user, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    (tmp_path / "config").touch()
    serve = ["serve", "--port", "0", "--monitor-port", "0", "--listen", "127.0.0.1"]
    for home in (["-u", "HOME"], ["HOME=relative"]):
        prefix = [*user, "env", "-u", "XDG_STATE_HOME", *home]
        assert "this user has no home directory" in complaint(78, *serve, prefix=prefix)
        places = ["--config", str(tmp_path / "config"), "--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
        words = command(*serve, *places, prefix=prefix)
        with subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert "SMTP on 127.0.0.1 port" in process.stdout.readline()
            process.terminate()
            assert process.communicate(timeout=30)[1] == ""
        assert process.returncode == 0
    assert not (tmp_path / "relative").exists()


def test_only_listen_address_must_exist(tmp_path: Path) -> None:
    if not is_root():
        pytest.skip("needs a network of its own")
    line = complaint(1, *serve_at(0, tmp_path, "::1"), prefix=["unshare", "-n"])
    assert "::1" in line


def test_same_port_for_smtp_and_monitors_is_refused(tmp_path: Path) -> None:
    words = [
        "serve",
        "--port",
        "2525",
        "--monitor-port",
        "2525",
        "--log-dir",
        str(tmp_path),
        "--state-dir",
        str(tmp_path),
    ]
    assert "port and monitor_port must differ" in complaint(78, *words)


@pytest.mark.parametrize("words", [["--timeout", "nan"], ["--timeout", "-1"], ["--port", "99999"], ["--port", "x"]])
def test_invalid_numbers_of_probe_are_usage_errors(words: list[str]) -> None:
    done = run("probe", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
