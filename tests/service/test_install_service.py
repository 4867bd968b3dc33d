"""`install-service` and `uninstall-service` on a directory tree, as a dry run, and where they must refuse."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smtppseudo.service.units import UNITS
from tests.running import run


def files(root: Path) -> set[str]:
    """Return the paths of all files and links in a tree."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink()}


def require_systemctl() -> None:
    """Skip the test if systemctl is not installed, which enables units in a tree."""
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
        pytest.skip("other users cannot run this Python")
    done = run("install-service", "--dry-run", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert "ListenStream=0.0.0.0:25\n" in done.stdout
    assert done.stderr.startswith("smtppseudo: warning: ")  # the tests run from the source


def test_uninstall_removes_what_install_wrote_into_a_tree(tmp_path: Path) -> None:
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
    assert done.stdout.endswith(f"not removed: {tmp_path}/etc/smtppseudo (--purge removes them)\n")
    run("uninstall-service", "--root", str(tmp_path), "--purge")
    assert not (tmp_path / "etc/smtppseudo").exists()


@pytest.mark.parametrize("form", ["../tree", "./../tree/.", "../link", "tree/../../tree", "../the tree"])
def test_a_relative_root_is_installed_whole(tmp_path: Path, form: str) -> None:
    require_systemctl()
    tree = tmp_path / Path(form).name.replace("link", "tree")
    (tmp_path / "here/tree").mkdir(parents=True)
    tree.mkdir()
    (tmp_path / "link").symlink_to("tree")
    prefix = ["env", "-C", str(tmp_path / "here")]
    assert run("install-service", "--root", form, prefix=prefix).returncode == 0
    assert (tree / "etc/systemd/system/multi-user.target.wants/smtppseudo.service").is_symlink()
    assert run("uninstall-service", "--root", form, prefix=prefix).returncode == 0
    assert files(tmp_path) == {"link"}


@pytest.mark.parametrize("form", ["", "no/such/tree", "/dev/null"])
@pytest.mark.parametrize("command", ["install-service", "uninstall-service"])
def test_a_root_that_is_no_directory_is_refused(tmp_path: Path, command: str, form: str) -> None:
    done = run(command, "--root", form, prefix=["env", "-C", str(tmp_path)])
    assert (done.returncode, done.stderr) == (2, f"smtppseudo: --root: {form!r} is not a directory\n")
    assert files(tmp_path) == set()


def test_install_makes_the_user_in_a_tree_and_purge_removes_it(tmp_path: Path) -> None:
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


def test_purge_spares_another_user_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    passwd = "smtppseudo:x:1000:1000:Sam T. P. Pseudo:/home/sam:/bin/sh\n"
    (tmp_path / "etc/passwd").write_text(passwd)
    assert run("uninstall-service", "--root", str(tmp_path), "--purge").stdout == "nothing to remove\n"
    assert (tmp_path / "etc/passwd").read_text() == passwd


def test_purge_removes_a_link_but_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/smtppseudo").symlink_to(tmp_path / "elsewhere")
    assert run("uninstall-service", "--root", str(tmp_path), "--purge").returncode == 0
    assert not (tmp_path / "var/log/smtppseudo").is_symlink()
    assert (tmp_path / "elsewhere/kept").exists()


@pytest.mark.parametrize("command", [("install-service",), ("uninstall-service", "--purge")], ids=["install", "purge"])
@pytest.mark.parametrize(
    "place",
    [
        "etc",
        "etc/systemd",
        "etc/systemd/system",
        "etc/systemd/system/multi-user.target.wants",
        "etc/systemd/system/sockets.target.wants",
        "etc/sysusers.d",
        "etc/passwd",
        "etc/group-",
        "lib",
        "var",
        "var/lib",
        "var/log",
    ],
)
def test_a_link_that_leads_out_of_the_tree_is_refused(tmp_path: Path, place: str, command: tuple[str, ...]) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for name in ("etc", "lib", "log", "systemd/system/smtppseudo.service.d", "lib/smtppseudo", "log/smtppseudo"):
        (outside / name).mkdir(parents=True, exist_ok=True)
    before = sorted(outside.rglob("*"))
    link = tree / place
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(outside, link.parent) if "/" in place else outside)
    done = run(*command, "--root", str(tree))
    said = f"smtppseudo: {link} is a link that leads out of {tree}, to {outside}; replace it first"
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (1, "", said)
    assert sorted(outside.rglob("*")) == before
    assert files(tree) == {place}


def test_links_that_stay_in_the_tree_are_followed(tmp_path: Path) -> None:
    require_systemctl()
    for path in ("usr/lib", "srv/log/smtppseudo", "config"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "etc").symlink_to(tmp_path / "config")
    (tmp_path / "var").mkdir()
    (tmp_path / "var/log").symlink_to("../srv/log")
    assert run("install-service", "--root", str(tmp_path)).returncode == 0
    assert "config/systemd/system/smtppseudo.service" in files(tmp_path)
    done = run("uninstall-service", "--root", str(tmp_path), "--purge")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == {"lib", "etc", "var/log"}
    assert not (tmp_path / "srv/log/smtppseudo").exists()


def test_an_upgrade_keeps_the_ports_and_writes_only_changed_files(tmp_path: Path) -> None:
    where = ("--root", str(tmp_path), "--no-enable")
    assert run("install-service", *where, "--port", "2525").returncode == 0
    done = run("install-service", *where)
    assert "wrote" not in done.stdout
    done = run("install-service", *where, "--port", "25")
    assert done.stdout == f"wrote {tmp_path}/etc/systemd/system/smtppseudo.socket\n"


def test_a_unit_of_another_origin_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/smtppseudo.service"
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    for command in ("install-service", "uninstall-service"):
        done = run(command, "--root", str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"smtppseudo: {path} was not written by install-service; ")
    assert files(tmp_path) == {"etc/systemd/system/smtppseudo.service"}


def test_the_error_names_a_file_that_cannot_be_written(tmp_path: Path) -> None:
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
def test_contradicting_options_are_refused(words: tuple[str, ...], said: str) -> None:
    done = run("install-service", "--dry-run", *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_user_is_refused_for_root() -> None:
    assert run("install-service", "--user", "--dry-run").returncode == 2


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
@pytest.mark.parametrize("ports", ["", " --port 2525 --monitor-port 2626"])
def test_without_systemd_the_facts_for_any_init_system_are_printed(ports: str) -> None:
    python = shlex.quote(sys.executable)
    facts = {
        "command": f"{python} -I -m smtppseudo serve --run-as smtppseudo{ports}",
        "user": "root at first, then smtppseudo (`useradd --system --user-group smtppseudo`)",
        "stop": "SIGTERM",
        "reload": "SIGHUP",
        "settings": "/etc/smtppseudo/smtppseudo.toml",
        "state": "/var/lib/smtppseudo",
        "logs": "/var/log/smtppseudo",
    }
    done = run("install-service", *ports.split())
    assert (done.returncode, dict(line.split(maxsplit=1) for line in done.stdout.splitlines())) == (1, facts)
    said = (
        "smtppseudo: this machine does not run systemd, so nothing was changed; `smtppseudo guide other-init-systems` "
    )
    assert done.stderr.startswith(said)
    assert run("uninstall-service").stderr == done.stderr
