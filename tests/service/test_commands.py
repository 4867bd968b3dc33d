"""`install-service` and `uninstall-service` where nothing is booted: into a tree, printed, refused."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.service import obstacles
from smtppseudo.service.program import Program, this_program
from smtppseudo.service.units import UNITS, Endpoint
from tests.clients import connect
from tests.running import Servers, run


def files(root: Path) -> set[str]:
    """Return all files of a tree."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink()}


def require_systemctl() -> None:
    """Skip where a tree's units cannot be enabled."""
    if shutil.which("systemctl") is None:
        pytest.skip("systemctl is not installed")


def test_a_dry_run_prints_all_files_and_writes_none(tmp_path: Path) -> None:
    done = run("install-service", "--dry-run", "--root", str(tmp_path), "--port", "2525")
    assert done.returncode == 0
    heads = [line for line in done.stdout.splitlines() if line.startswith("# /")]
    assert heads == [
        f"# {tmp_path}/etc/sysusers.d/smtppseudo.conf",
        *(f"# {tmp_path}/etc/systemd/system/{name}" for name in UNITS),
    ]
    assert "ListenStream=[::]:2525\n" in done.stdout
    assert files(tmp_path) == set()


def test_a_dry_run_needs_no_root_and_only_warns() -> None:
    prefix = [] if os.geteuid() != 0 else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip("this Python is for root alone")
    done = run("install-service", "--dry-run", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert "ListenStream=0.0.0.0:25\n" in done.stdout
    assert done.stderr.startswith("smtppseudo: warning: ")  # we run from our source directory


def test_a_tree_gets_the_units_enabled_and_gives_them_up_again(tmp_path: Path) -> None:
    require_systemctl()
    done = run("install-service", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    units = tmp_path / "etc/systemd/system"
    assert (units / "multi-user.target.wants/smtppseudo.service").readlink() == Path("/etc/systemd/system", UNITS[-1])
    wants = {f"etc/systemd/system/sockets.target.wants/{name}" for name in UNITS[:-1]}
    assert files(tmp_path) == wants | {f"etc/systemd/system/{name}" for name in UNITS} | {
        "etc/systemd/system/multi-user.target.wants/smtppseudo.service",
        "etc/sysusers.d/smtppseudo.conf",
    }
    done = run("uninstall-service", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == set()
    assert (tmp_path / "etc/smtppseudo").is_dir()
    assert done.stdout.endswith(f"left as they are: {tmp_path}/etc/smtppseudo (--purge removes them)\n")
    run("uninstall-service", "--root", str(tmp_path), "--purge")
    assert not (tmp_path / "etc/smtppseudo").exists()


def test_a_whole_tree_gets_a_user_and_gives_it_up_again(tmp_path: Path) -> None:
    require_systemctl()
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    done = run("install-service", "--root", str(tmp_path), "--no-enable")
    assert done.returncode == 0, done.stderr
    assert "smtppseudo mail server" in (tmp_path / "etc/passwd").read_text()
    assert not (tmp_path / "etc/systemd/system/multi-user.target.wants").exists()
    done = run("uninstall-service", "--root", str(tmp_path), "--purge")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/passwd").read_text() == "root:x:0:0:root:/root:/bin/sh\n"
    assert (tmp_path / "etc/group").read_text() == "root:x:0:\n"


def test_a_user_of_the_same_name_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    passwd = "smtppseudo:x:1000:1000:Sam T. P. Pseudo:/home/sam:/bin/sh\n"
    (tmp_path / "etc/passwd").write_text(passwd)
    assert run("uninstall-service", "--root", str(tmp_path), "--purge").stdout == "nothing to remove\n"
    assert (tmp_path / "etc/passwd").read_text() == passwd


def test_a_link_in_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/smtppseudo").symlink_to(tmp_path / "elsewhere")
    assert run("uninstall-service", "--root", str(tmp_path), "--purge").returncode == 0
    assert not (tmp_path / "var/log/smtppseudo").is_symlink()
    assert (tmp_path / "elsewhere/kept").exists()


def test_a_second_install_keeps_the_ports_and_changes_nothing(tmp_path: Path) -> None:
    where = ("--root", str(tmp_path), "--no-enable")
    assert run("install-service", *where, "--port", "2525").returncode == 0
    done = run("install-service", *where)
    assert "wrote" not in done.stdout
    done = run("install-service", *where, "--port", "25")
    assert done.stdout == f"wrote {tmp_path}/etc/systemd/system/smtppseudo.socket\n"


def test_units_of_something_else_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/smtppseudo.service"
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    for command in ("install-service", "uninstall-service"):
        done = run(command, "--root", str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"smtppseudo: {path} comes from something else; ")
    assert files(tmp_path) == {"etc/systemd/system/smtppseudo.service"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").touch()
    done = run("install-service", "--root", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"smtppseudo: cannot write {tmp_path}/etc/sysusers.d/smtppseudo.conf: {tmp_path}/etc/sysusers.d:"
        " Not a directory; nothing was changed"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "26"), "--port and --monitor-port must differ; both are 26"),
        (("--port", "0"), "0 is not a port"),
        (("--user", "--root", "/x"), "not allowed with"),
    ],
)
def test_options_that_make_no_sense(words: tuple[str, ...], said: str) -> None:
    done = run("install-service", "--dry-run", *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_has_no_service_of_a_user() -> None:
    assert run("install-service", "--user", "--dry-run").returncode == 2


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_without_systemd_it_says_what_to_do() -> None:
    done = run("uninstall-service")
    assert done.returncode == 1
    assert "does not run systemd" in done.stderr
    assert "smtppseudo serve" in done.stderr


@pytest.mark.parametrize(
    ("platform", "said"), [("win32", "Windows service"), ("darwin", "launchd"), ("freebsd14", "systemd"), ("linux", "")]
)
def test_other_systems(platform: str, said: str) -> None:
    (*found,) = obstacles.of_platform(platform)
    assert len(found) == bool(said)
    assert all(said in each and "smtppseudo serve" in each for each in found)


def program_at(place: str) -> Program:
    """Return a program that is all in one place."""
    return Program(Path(place, "bin/python"), Path("/usr"), Path(place), Path(place, "lib/smtppseudo"))


@pytest.mark.parametrize("place", ["/home/a/venv", "/root/venv", "/tmp/venv", "/var/tmp/venv", "/run/user/0/venv"])
def test_a_program_that_the_sandbox_hides(place: str) -> None:
    (found,) = obstacles.of_sandbox(program_at(place))
    assert f"cannot read {place}/bin/python" in found
    assert "-m venv /opt/smtppseudo" in found
    assert "pipx install --global" in found


def test_a_venv_whose_interpreter_is_a_link_into_a_home() -> None:
    (found,) = obstacles.of_sandbox(program_at("/opt/venv")._replace(base=Path("/root/.pyenv/versions/3.11.7")))
    assert "cannot read /root/.pyenv" in found


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that all may look into, with a program in it that is a link to the system's interpreter."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "bin").mkdir()
        (place / "bin/python").symlink_to("/usr/bin/python3")
        (place / "lib/smtppseudo").mkdir(parents=True)
        (place / "lib/smtppseudo/__init__.py").touch()
        if not all(above.stat().st_mode & 1 for above in place.parents):
            pytest.skip(f"{place.parent} is closed to others")
        yield place


def test_a_program_that_is_closed_to_others(open_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacles, "_HIDDEN", ())
    program = program_at(str(open_place))
    assert list(obstacles.of_sandbox(program)) == []
    (open_place / "lib").chmod(0o700)
    (found,) = obstacles.of_sandbox(program)
    assert f"cannot read {open_place}/lib, as it is closed to other users" in found
    mend = found.split("`")[1].removeprefix("sudo ")
    subprocess.run(["sh", "-c", mend], check=True)
    assert list(obstacles.of_sandbox(program)) == []


def test_a_program_in_an_archive_is_not_looked_into() -> None:
    assert list(obstacles.of_sandbox(program_at("/opt")._replace(package=Path("/usr/a.pyz/smtppseudo")))) == []


def test_a_program_that_is_not_installed() -> None:
    (found,) = obstacles.of_program(this_program()._replace(python=Path("/usr/bin/python3")))
    assert "smtppseudo is not installed for /usr/bin/python3" in found


def test_whoever_has_the_port_is_named(servers: Servers) -> None:
    server = servers.start()
    (found,) = obstacles.of_endpoint(Endpoint(("0.0.0.0", "::"), server.port))
    comm = Path(f"/proc/{server.pid}/comm").read_text().strip()
    assert found.startswith(f"port {server.port} is taken by {comm} (pid {server.pid}); stop that, or ")
    server.stop()
    assert list(obstacles.of_endpoint(Endpoint(("0.0.0.0", "::"), server.port))) == []


def test_a_port_that_was_used_a_moment_ago_is_free(servers: Servers) -> None:
    server = servers.start()
    with connect("127.0.0.1", server.port) as client:
        client.expect("220")
        client.say("QUIT", "221")  # the server closes first, so its end stays in TIME_WAIT
        client.expect_end()
    server.stop()
    assert list(obstacles.of_endpoint(Endpoint(("127.0.0.1",), server.port))) == []


def test_the_mail_server_that_has_the_port_is_ended_by_its_service(
    monkeypatch: pytest.MonkeyPatch, servers: Servers
) -> None:
    server = servers.start()
    monkeypatch.setattr(obstacles, "holder_of", lambda port: "master (pid 7)")
    (found,) = obstacles.of_endpoint(Endpoint(("127.0.0.1",), server.port))
    assert "by master (pid 7); `sudo systemctl disable --now postfix` stops it, or " in found
