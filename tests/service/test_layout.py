"""Where the service's files are, and which files install-service has written."""

import os
import stat
from pathlib import Path

import pytest

from smtppseudo.service.layout import make_directory, system_layout, user_layout, write
from smtppseudo.service.units import MARKER, SERVICE, SMTP_SOCKET, SYSUSERS, UNITS


def test_a_written_file_is_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/a"
    before = os.umask(0o077)
    try:
        write(path, "one")
        write(path, "two")
    finally:
        os.umask(before)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert [each.name for each in path.parent.iterdir()] == ["a"]


def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/full").touch()
    with pytest.raises(OSError, match="not a regular file"):
        write(tmp_path / "a", "text")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_generated_files_are_told_from_foreign_ones(tmp_path: Path) -> None:
    layout = system_layout(tmp_path)
    write(layout.units / SERVICE, "[Unit]\n")
    write(layout.units / SMTP_SOCKET, f"{MARKER}\n[Socket]\nListenStream=0.0.0.0:2525\n")
    write(tmp_path / "usr/lib/systemd/system/smtppseudo-monitor.socket", "[Socket]\n")
    assert layout.installed() == [layout.units / SMTP_SOCKET]
    assert list(layout.foreign()) == [
        layout.units / SERVICE,
        tmp_path / "usr/lib/systemd/system/smtppseudo-monitor.socket",
    ]
    assert layout.ports() == (2525, None)


def test_a_masked_unit_is_foreign(tmp_path: Path) -> None:
    layout = system_layout(tmp_path)
    make_directory(layout.units)
    (layout.units / SERVICE).symlink_to(os.devnull)
    assert list(layout.foreign()) == [layout.units / SERVICE]


def test_a_dangling_link_is_foreign(tmp_path: Path) -> None:
    layout = system_layout(tmp_path)
    make_directory(layout.units)
    (layout.units / SERVICE).symlink_to("/nowhere")
    assert list(layout.foreign()) == [layout.units / SERVICE]


def test_the_paths_of_a_system_service(tmp_path: Path) -> None:
    layout = system_layout(tmp_path)
    assert layout.units == tmp_path / "etc/systemd/system"
    assert layout.sysusers == tmp_path / "etc/sysusers.d" / SYSUSERS
    assert layout.settings == tmp_path / "etc/smtppseudo"
    assert layout.data == (tmp_path / "var/lib/smtppseudo", tmp_path / "var/log/smtppseudo")


def test_the_paths_of_a_users_service(tmp_path: Path) -> None:
    layout = user_layout(tmp_path, tmp_path / "smtppseudo", ())
    assert layout.units == tmp_path / "systemd/user"
    assert layout.sysusers is None


def test_drop_ins_are_found(tmp_path: Path) -> None:
    layout = system_layout(tmp_path)
    made = [layout.units / f"{name}.d" for name in UNITS]
    for path in made:
        make_directory(path)
    make_directory(layout.units / "other.service.d")
    assert layout.drop_ins() == made
