"""`--run-as`: root opens the ports, then drops its privileges for good, and the server still works."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Error, SettingsChanged
from smtppseudo.server.privilege import PrivilegeError, find_user, make_directories
from tests.clients import wait_until
from tests.inherited import Held
from tests.monitors import Monitors
from tests.running import NotStartedError, Running, Servers, command, environment, has_mode, run

USER = "nobody"
NOBODY = 65_534

pytestmark = [
    pytest.mark.xdist_group("low port"),  # one at a time: a free port must still be free a moment later
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root, on Linux"),
]


def free_low_port() -> int:
    """Return a free port below 1024; skip the test where every user may bind one, or none is free."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 1_024:
        pytest.skip("every user may bind low ports here")
    for port in range(987, 600, -1):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("no low port is free")


def start(servers: Servers, port: int = 0, *, directory: Path, prefix: Sequence[str] = ()) -> Running:
    """Start a server that becomes nobody: that user can read neither the package nor the path to its directory."""
    places = ["--config", "smtppseudo.toml", "--state-dir", "state", "--log-dir", "log"]
    here = ["setpriv", "--groups=0,4", "env", "-C", str(directory)]
    return servers.start(None, "--run-as", USER, *places, port=port, prefix=[*prefix, *here])


@pytest.fixture
def server(servers: Servers) -> Running:
    return start(servers, free_low_port(), directory=servers.directory / "server0")


def greet(server: Running) -> None:
    with server.connect() as client:
        client.expect("220")
        client.say("QUIT", "221")


def is_refused(server: Running) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED


def test_no_user_group_or_capability_of_root_is_left(server: Running) -> None:
    assert server.port < 1_024
    text = Path(f"/proc/{server.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    assert lines["Uid"].split() == [str(NOBODY)] * 4
    assert lines["Gid"].split() == [str(NOBODY)] * 4
    assert lines["Groups"].split() == []
    for name in ("CapPrm", "CapEff", "CapAmb"):
        assert int(lines[name], 16) == 0, name
    for name in ("log", "state", "state/cookie"):
        assert (server.directory / name).stat().st_uid == NOBODY
    assert has_mode(server.directory / "state" / "cookie", 0o600)
    assert server.stderr == ""


def test_no_system_call_leads_back_to_root() -> None:
    code = f"""
import os
from smtppseudo.server.privilege import become, find_user
become(find_user({USER!r}))
users = [(os.setuid, 0), (os.seteuid, 0), (os.setreuid, 0, 0), (os.setresuid, 0, 0, 0)]
groups = [(os.setgid, 0), (os.setegid, 0), (os.setresgid, 0, 0, 0), (os.setgroups, []), (os.initgroups, "root", 0)]
for call, *arguments in [*users, *groups, (os.chroot, "/")]:
    try:
        call(*arguments)
    except PermissionError:
        print(call.__name__)
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=20, check=True)
    refused = "setuid seteuid setreuid setresuid setgid setegid setresgid setgroups initgroups chroot"
    assert done.stdout.split() == refused.split()


def test_privileges_are_dropped_on_systems_without_saved_ids_to_read() -> None:
    """macOS has neither setresuid nor getresuid."""
    code = f"""
import os
getresuid, getresgid = os.getresuid, os.getresgid
del os.getresuid, os.getresgid, os.setresuid, os.setresgid
from smtppseudo.server.privilege import become, find_user
become(find_user({USER!r}))
print(*getresuid(), *getresgid())
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == [str(NOBODY)] * 6


def test_it_does_not_start_if_it_could_become_root_again(servers: Servers) -> None:
    prefix = ["setpriv", "--securebits=+no_setuid_fixup"]
    with pytest.raises(NotStartedError, match="user nobody could become root again") as caught:
        start(servers, directory=servers.directory / "server0", prefix=prefix)
    assert caught.value.status == 1
    assert not (servers.directory / "server0" / "state" / "cookie").exists()


def test_it_does_not_start_if_it_cannot_change_its_user(servers: Servers) -> None:
    prefix = ["setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid"]
    with pytest.raises(NotStartedError, match="cannot become user nobody: Operation not permitted") as caught:
        start(servers, directory=servers.directory / "server0", prefix=prefix)
    assert caught.value.status == 1


@pytest.mark.parametrize("replaced_by", ["link", "directory of another user", "directory of root"])
def test_a_directory_that_was_replaced_keeps_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced_by: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    owner = 0 if replaced_by == "directory of root" else 1
    os.chown(other, owner, owner)
    state = tmp_path / "state"

    def replace(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if path == state and replaced_by == "link":
            path.symlink_to(other)
        elif path == state:
            other.rename(path)

    monkeypatch.setattr(Path, "mkdir", replace)
    with pytest.raises(PrivilegeError, match=r"state: .*; cannot create it for user nobody"):
        make_directories([state], find_user(USER))
    assert state.stat().st_uid == owner


@pytest.mark.parametrize("name", ["place/state", "link/state", "link/new/state"])
def test_root_makes_no_directory_in_the_place_of_another_user(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o755)
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    os.chown(place, 1, 1)
    (place / "link").symlink_to(outside)
    os.chown(place / "link", 1, 1, follow_symlinks=False)
    state = place / name.removeprefix("place/")
    reason = f"{place} belongs to another user, and root creates nothing there"
    argv = f"`install -d -o {USER} -g {NOBODY} {state}` does that"
    with pytest.raises(PrivilegeError) as caught:
        make_directories([state], find_user(USER))
    assert str(caught.value) == f"{state}: {reason}; cannot create it for user {USER}: {argv}"
    assert list(outside.iterdir()) == []
    assert list(place.iterdir()) == [place / "link"]


def test_the_user_makes_directories_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the user cannot reach it from the root directory
    place = tmp_path / "place"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    before = (os.geteuid(), os.getegid(), os.getgroups())
    make_directories([Path("place/new/state")], find_user(USER))
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    assert [(place / each).stat().st_uid for each in ("new", "new/state")] == [NOBODY, NOBODY]
    assert has_mode(place / "new" / "state", 0o750)


def test_modules_loaded_late_work_after_the_change(server: Running, monitors: Monitors) -> None:
    """The new user needs no access to Python and the package."""
    monitor = monitors.log_in(server)
    monitor.ok("set", changes={"greeting": "Nobody"})
    assert (server.directory / "state" / "settings.json").stat().st_uid == NOBODY
    with server.connect() as client:
        client.expect("220 Nobody")
    server.reload('idle_timeout = 5\nhostname = "x"\n')
    error = server.wait_for_event(Error).event
    assert isinstance(error, Error)
    assert "did you mean idle_timeout_s?" in error.message
    server.reload({"reject_at": "rcpt"})
    server.wait_for_event(SettingsChanged, by="SIGHUP")
    server.wait_for_event(Closed)


def test_stop_and_start_work_on_a_port_below_1024(server: Running, monitors: Monitors) -> None:
    greet(server)
    monitor = monitors.log_in(server)
    for _ in range(5):
        with server.connect() as client:
            client.expect("220")
            assert monitor.ok("stop")["state"] == "offline"
            client.expect("421")
            client.expect_end()
        assert is_refused(server)
        assert monitor.ok("start")["state"] == "online"
        greet(server)
    assert server.stderr == ""


def test_sighup_reads_the_settings_file_of_the_start(servers: Servers, tmp_path: Path) -> None:
    """It is root's file, not the default file of the new user."""
    etc = tmp_path / "etc"
    (etc / "smtppseudo").mkdir(parents=True)
    for name in ("passwd", "group", "nsswitch.conf"):
        shutil.copy(f"/etc/{name}", etc)
    settings = etc / "smtppseudo" / "smtppseudo.toml"
    settings.write_text('hostname = "a"\nlog_min_free_bytes = 0\n')
    own_etc = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', str(etc)]
    here = ["env", "-C", str(tmp_path)]
    places = ["--config", "", "--state-dir", "state", "--log-dir", "log"]
    os.chown(tmp_path, NOBODY, NOBODY)
    server = servers.start(None, "--run-as", USER, *places, prefix=[*own_etc, *here], log_dir=tmp_path / "log")
    settings.write_text('hostname = "a"\nlog_min_free_bytes = 0\ngreeting = "new"\n')
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_event(SettingsChanged, keys="greeting")
    server.stop()
    assert server.stderr == ""


@pytest.mark.parametrize("name", ["state", "log", "state/settings.json", "state/credentials"])
def test_a_path_of_another_owner_is_named_with_the_remedy(servers: Servers, tmp_path: Path, name: str) -> None:
    place = tmp_path / "place"
    for directory in ("state", "log"):
        (place / directory).mkdir(parents=True)
        os.chown(place / directory, NOBODY, NOBODY)
    (place / "smtppseudo.toml").write_text('hostname = "sink.test"\n')
    if "/" in name:
        (place / name).write_text("{}")
        (place / name).chmod(0o600)
    else:
        os.chown(place / name, 0, 0)
    with pytest.raises(NotStartedError) as caught:
        start(servers, directory=place)
    assert caught.value.status == 1
    advice = f"`chown -R nobody: {name}` mends that"
    assert (place / name).stat().st_uid == 0  # an existing file may belong to anybody, so its owner is not changed
    assert caught.value.stderr == f"smtppseudo: {name}: user nobody cannot read and write it; {advice}\n"


@pytest.mark.parametrize(
    ("name", "prefix", "said"),
    [
        ("no-such-user", [], "there is no such user; `useradd --system --user-group no-such-user` makes one"),
        ("a b", [], "`useradd --system --user-group 'a b'`"),
        ("", [], "there is no such user"),
        (USER, ["unshare", "-U"], "only root can become another user; leave it out, or use sudo"),
    ],
)
def test_users_that_are_refused(tmp_path: Path, name: str, prefix: list[str], said: str) -> None:
    places = ["--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
    done = run("serve", "--port", "0", "--monitor-port", "0", *places, "--run-as", name, prefix=prefix)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("smtppseudo: --run-as ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_root_gets_one_warning(tmp_path: Path) -> None:
    places = ["--config", str(tmp_path / "empty"), "--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
    (tmp_path / "empty").touch()
    words = command("serve", "--port", "0", "--listen", "127.0.0.1", "--monitor-port", "0", *places)
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        wait_until(lambda: (tmp_path / "cookie").exists() and list(tmp_path.glob("*.log")), "the log")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    (line,) = (tmp_path / "stderr").read_text().splitlines()
    assert "running as root" in line
    assert "--run-as USER" in line
    (log,) = tmp_path.glob("*.log")
    assert log.read_text().count("running as root") == 1


def test_run_as_root_prints_no_warning(servers: Servers) -> None:
    server = servers.start(None, "--run-as", "root")
    assert Path(f"/proc/{server.pid}").stat().st_uid == 0
    assert server.events(Error) == []
    server.stop()
    assert server.stderr == ""


def test_run_as_works_with_inherited_sockets(servers: Servers, tmp_path: Path) -> None:
    with Held("smtp") as held:
        os.chown(tmp_path, NOBODY, NOBODY)
        prefix = ["env", "-C", str(tmp_path)]
        server = held.start(servers, "--run-as", USER, "--state-dir", "state", "--log-dir", "log", before=prefix)
        greet(server)
        assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
        assert json.loads((tmp_path / "state" / "monitor_port").read_text())
