"""The checks before an install: the problems that they find, and their remedies."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.service import checks
from smtppseudo.service.layout import Program, running_program
from smtppseudo.service.units import Endpoint
from tests.clients import connect
from tests.running import Servers


def program_at(place: str) -> Program:
    """Return a program with its whole virtual environment in one directory."""
    return Program(Path(place, "bin/python"), Path("/usr"), Path(place), Path(place, "lib/smtppseudo"))


@pytest.mark.parametrize("place", ["/home/a/venv", "/root/venv", "/tmp/venv", "/var/tmp/venv", "/run/user/0/venv"])
def test_a_program_under_a_hidden_directory_is_a_problem(place: str) -> None:
    (found,) = checks.check_readable(program_at(place))
    assert f"cannot read {place}/bin/python" in found
    assert "-m venv /opt/smtppseudo" in found
    assert "pipx install --global" in found


@pytest.mark.parametrize("is_for_user", [False, True])
@pytest.mark.parametrize(
    ("place", "tag"),
    [
        ("/home/a/.cache/uv/archive-v0/x", None),
        ("/home/a/.local/pipx/.cache/x", None),
        ("/tmp/uv/x", None),
        ("cache/uv/archive-v0/x", "cache/uv"),
        ("opt/x", "opt/x"),  # as `uv venv` makes it
        ("home/a/.local/share/pipx/venvs/x", None),
    ],
)
def test_a_program_in_a_cache_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, tag: str | None, is_for_user: bool
) -> None:
    if not place.startswith("/tmp"):
        monkeypatch.setattr(checks, "_TEMPORARY", ())  # the tests run there
    prefix = tmp_path / place
    if tag is not None:
        prefix.mkdir(parents=True)
        (tmp_path / tag / "CACHEDIR.TAG").touch()
    found = list(checks.check_lasting(program_at(str(prefix)), is_for_user=is_for_user))
    assert len(found) == ("cache" in place or place.startswith("/tmp"))
    for each in found:
        assert each.startswith(f"{prefix} does not last")
        assert ("sudo" in each) != is_for_user


def test_a_program_in_a_given_directory_has_the_given_remedy() -> None:
    (found,) = checks.check_readable(program_at("/profiles/a/venv"), ["/profiles"], "move it")
    assert found == "the service cannot read /profiles/a/venv/bin/python, because /profiles is hidden from it; move it"


def test_a_venv_with_its_base_under_a_hidden_directory_is_a_problem() -> None:
    (found,) = checks.check_readable(program_at("/opt/venv")._replace(base=Path("/root/.pyenv/versions/3.11.7")))
    assert "cannot read /root/.pyenv" in found


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory readable by all, with a program whose interpreter is a link to the system's."""
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


def test_a_directory_closed_to_others_is_a_problem_and_the_remedy_works(open_place: Path) -> None:
    program = program_at(str(open_place))
    assert list(checks.check_readable(program, ())) == []
    (open_place / "lib").chmod(0o700)
    (found,) = checks.check_readable(program, ())
    assert f"cannot read {open_place}/lib, because it is closed to other users" in found
    remedy = found.split("`")[1].removeprefix("sudo ")
    subprocess.run(["sh", "-c", remedy], check=True)
    assert list(checks.check_readable(program, ())) == []


def test_permissions_inside_an_archive_are_not_checked() -> None:
    assert list(checks.check_readable(program_at("/opt")._replace(package=Path("/usr/a.pyz/smtppseudo")))) == []


def test_a_program_that_runs_from_its_source_is_a_problem() -> None:
    (found,) = checks.check_program(running_program()._replace(python=Path("/usr/bin/python3")))
    assert "smtppseudo is not installed for /usr/bin/python3" in found


def test_the_holder_of_a_taken_port_is_named(servers: Servers) -> None:
    server = servers.start()
    (found,) = checks.check_endpoint(Endpoint(("0.0.0.0", "::"), server.port))
    comm = Path(f"/proc/{server.pid}/comm").read_text().strip()
    assert found.startswith(f"port {server.port} is taken by {comm} (pid {server.pid}); stop that, or ")
    server.stop()
    assert list(checks.check_endpoint(Endpoint(("0.0.0.0", "::"), server.port))) == []


def test_a_port_with_a_connection_in_time_wait_is_free(servers: Servers) -> None:
    server = servers.start()
    with connect("127.0.0.1", server.port) as client:
        client.expect("220")
        client.say("QUIT", "221")  # the server closes first, so its end stays in TIME_WAIT
        client.expect_end()
    server.stop()
    assert list(checks.check_endpoint(Endpoint(("127.0.0.1",), server.port))) == []


def test_the_remedy_for_a_mail_server_is_to_stop_its_service(monkeypatch: pytest.MonkeyPatch, servers: Servers) -> None:
    server = servers.start()
    monkeypatch.setattr(checks, "holder_of", lambda port: "master (pid 7)")
    (found,) = checks.check_endpoint(Endpoint(("127.0.0.1",), server.port))
    assert "by master (pid 7); `sudo systemctl disable --now postfix` stops it, or " in found
