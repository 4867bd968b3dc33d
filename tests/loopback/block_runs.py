"""How the blocks of README and the guide are run, each by a function that takes the stage and the block."""

import gzip
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from smtppseudo.config.file import parse_file
from smtppseudo.config.settings import KEYS
from tests.clients import wait_until
from tests.documents import Block, block
from tests.loopback.stage import ADDRESS, PATH, Stage
from tests.records import parse, render_json, render_text
from tests.running import CHECKOUT

WORD: Final = "open sesame, please"
CALLER: Final = "9.9.9.9"
"""An address that may be listed."""

Run: TypeAlias = Callable[[Stage, Block], None]


def each_line(stage: Stage, text: str, special: Mapping[str, Callable[[Stage, str], object]]) -> None:
    """Run a block's commands one by one; those that begin as a key of `special` by its function."""
    for line in text.splitlines():
        (start,) = [start for start in special if line.startswith(start)] or [""]
        special.get(start, Stage.run)(stage, line)


def write_log(path: Path, day: str, ip: str = CALLER, sessions: int = 3) -> None:
    """Write the log of a day on which an address has called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for session in range(1, sessions + 1):
        at, where = f"{day}T10:00:0{session % 10}.000Z", f"slot=1 session={session} ip={ip} port={40_000 + session}"
        lines.append(f"{at} connected {where} local_port=25\n")
        lines.append(f'{at} command {where} data="EHLO ylmf-pc" code=250 reply="Hello ylmf-pc"\n')
        lines.append(f'{at} command {where} data="MAIL FROM:<news@example.com>" code=553 reply="Sender is Invalid!"\n')
        lines.append(f'{at} command {where} data="RCPT TO:<boss@b.example>" code=503 reply="Bad sequence"\n')
        lines.append(
            f"{at} closed {where} reason=quit duration_ms=1 received_bytes=15 sent_bytes=113 commands=1\n",
        )
    text = "".join(lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def write_logs(stage: Stage) -> None:
    """Write logs of yesterday, and of the days that the pages name."""
    yesterday = str((datetime.now(UTC) - timedelta(days=1)).date())
    for directory in (stage.log_dir, stage.root / "srv/logs/mx1", stage.root / "srv/logs/mx2"):
        write_log(directory / f"{yesterday}.log", yesterday)
        write_log(directory / "2026-11-03.log", "2026-11-03")
    write_log(stage.root / "srv/logs/mx2/2026-11-04.log.gz", "2026-11-04", "8.8.4.4")


def run_all(stage: Stage, block: Block) -> None:
    """Run a block with a server and logs; it must end well."""
    write_logs(stage)
    stage.serve()
    stage.call()
    stage.run(block.text)


def lines_removed(stage: Stage, block: Block) -> None:
    """Find a person's lines, and remove them."""
    write_logs(stage)
    log = stage.log_dir / "2026-11-03.log"
    mode, lines = log.stat().st_mode, log.read_text().splitlines()
    find, remove = block.text.splitlines()
    assert "news@example.com" in stage.run(find)
    stage.run(remove)
    assert log.read_text().splitlines() == [line for line in lines if "news@" not in line]
    assert log.stat().st_mode == mode


def on_screen(stage: Stage, line: str) -> None:
    """Run the monitor screen, wait until it shows the server, and leave it."""
    with stage.terminal(f"stty rows 40 columns 100\n{line}") as terminal:
        terminal.wait_for("Online")
        terminal.press("q")
        assert terminal.end()[0] == 0


def calls_and_sees(stage: Stage, output: Path) -> bool:
    stage.call()
    return " connected " in output.read_text()


def watched(stage: Stage, line: str) -> None:
    """Run `watch` until it has printed an event."""
    program = line.partition("#")[0].replace("192.0.2.0/24", "127.0.0.0/8")
    with stage.background(program, ends_with=130) as output:
        wait_until(lambda: calls_and_sees(stage, output), "an event")


def not_listed(stage: Stage, line: str) -> None:
    """Run `blocklist --explain` for an address that is not listed."""
    assert "is never listed" in stage.run(line, 1)


def explained(stage: Stage, block: Block) -> None:
    """Ask why an address is not listed."""
    write_logs(stage)
    not_listed(stage, block.text)


def everyday(stage: Stage, block: Block) -> None:
    """Run the commands that README and the page `monitor` list."""
    write_logs(stage)
    stage.serve()
    stage.call()
    special: dict[str, Callable[[Stage, str], object]] = {
        "smtppseudo monitor ": on_screen,
        "smtppseudo watch": watched,
        "smtppseudo blocklist --explain": not_listed,
    }
    with stage.callers(3):
        each_line(stage, block.text, special)


def serves(port: int) -> Run:
    """Return how to run a server that a block starts, the last of its lines."""

    def run(stage: Stage, block: Block) -> None:
        *before, line = block.text.splitlines()
        if before:
            stage.run("\n".join(before))
        with stage.background(line.replace("smtppseudo serve", "smtppseudo serve --slots 30"), ends_with=0) as output:
            stage.wait_for_text(output, f" port {port}\n")
            wait_until(lambda: "monitors on" in output.read_text(), "the monitor port")
            stage.run(f"smtppseudo probe --port {port}")

    return run


def telnet(stage: Stage, block: Block) -> None:
    """Play a session on a terminal: lines that begin with a reply code are the server's."""
    command, *lines = block.text.splitlines()
    assert command == "$ telnet 127.0.0.1 2525"
    stage.serve()
    talk = "exec 3<>/dev/tcp/127.0.0.1/25\n"
    for line in lines:
        if line[:3].isdecimal():
            talk += 'read -r line <&3; echo "$line"\n'
        else:
            talk += f"printf '%s\\r\\n' {shlex.quote(line)} >&3; echo {shlex.quote(line)}\n"
    date = r"\d\d/\d\d/\d{4} \d{1,2}:\d\d:\d\d [AP]M [+-]\d{4}"
    assert re.sub(date, "DATE", stage.run(talk).replace("\r", "")) == re.sub(date, "DATE", "\n".join([*lines, ""]))


def probed(stage: Stage, block: Block) -> None:
    """Compare the output of `probe` with a block."""
    stage.serve()

    def comparable(text: str) -> str:
        text = re.sub(r"^ +\d+\.\d+ ", "", text, flags=re.MULTILINE)
        return re.sub(r"Welcome!.*", "Welcome!", text)

    assert comparable(stage.run("smtppseudo probe --ehlo me.example.org 127.0.0.1")) == comparable(block.text)


def records(stage: Stage, block: Block) -> None:
    """Parse lines of a log; they must be what a server writes."""
    for line in block.text.splitlines():
        render = render_json if line.startswith("{") else render_text
        assert render([parse(line)]) == [f"{line}\n"]


def word_set(stage: Stage, block: Block) -> None:
    """Set the magic word, typed twice."""
    stage.serve()
    set_word(stage, block.text)


def set_word(stage: Stage, text: str) -> None:
    with stage.terminal(text) as terminal:
        terminal.type_at("New magic word: ", WORD)
        terminal.type_at("The same again: ", WORD)
        status, shown = terminal.end()
    assert (status, "the magic word is set" in shown) == (0, True)


def keep_word(stage: Stage) -> str:
    """Set the magic word, and keep it in a file; return that. From then on nobody on the stage can read the cookie."""
    set_word(stage, "smtppseudo magic-word")
    path = Path(stage.env["HOME"], ".magic")
    path.touch(0o600)
    path.write_text(f"{WORD}\n")
    stage.be_elsewhere()
    return str(path)


def word_of_file(stage: Stage, block: Block) -> None:
    """Log in with a word that is in a file."""
    stage.serve()
    keep_word(stage)
    assert "online, up" in stage.run(block.text)


SSH: Final = """\
import shutil, signal, socket, sys, threading

assert sys.argv[1:3] == ["-N", "-L"] and sys.argv[4:] == ["mailhost"], sys.argv
port, host, remote_port = sys.argv[3].split(":")
with socket.create_server(("127.0.0.1", int(port))) as listener:
    print("listening", flush=True)
    near, _ = listener.accept()
far = socket.create_connection((host, int(remote_port)))
for ends in ((near, far), (far, near)):
    files = (ends[0].makefile("rb", 0), ends[1].makefile("wb", 0))
    threading.Thread(target=shutil.copyfileobj, args=(*files, 1), daemon=True).start()
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pause()
"""


def tunnel(stage: Stage, block: Block) -> None:
    """Log in through a tunnel. In place of ssh, a program forwards the connection."""
    stage.serve()
    *before, ssh, monitor = block.text.splitlines()
    for line in before:
        set_word(stage, line)
    path = keep_word(stage)
    (stage.root / "ssh.py").write_text(SSH)
    stage.add_program("ssh", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {stage.root}/ssh.py "$@"\n')
    with stage.background(ssh.partition(" &")[0], ends_with=-signal.SIGINT) as output:
        stage.wait_for_text(output, "listening")
        on_screen(stage, f"{monitor} --magic-file {path}")


def certificate(stage: Stage, block: Block) -> None:
    """Make a certificate."""
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", make_certificate(stage, block))


def make_certificate(stage: Stage, block: Block) -> str:
    """Make a certificate where the settings name it; return its fingerprint."""
    stage.cwd = stage.config_dir
    return stage.run(block.text.replace("chgrp smtppseudo", f"chgrp {os.getgid()}")).strip().rpartition("=")[2]


def over_tls(stage: Stage, block_: Block) -> None:
    """Accept a server's certificate, and find it accepted the next time."""
    fingerprint = make_certificate(stage, block("monitor", "openssl req"))
    stage.serve(**stage.settings_of("monitor", "monitor_listen"))
    with stage.terminal(block_.text) as terminal:
        terminal.type_at("Trust it from now on? [y/N] ", "y")
        status, shown = terminal.end()
    assert (status, f"SHA256:{fingerprint}" in shown, "online, up" in shown) == (0, True, True)
    pins = Path(stage.env["HOME"], ".config/smtppseudo/monitor_pins").read_text()
    assert pins == f"{ADDRESS}:26 SHA256:{fingerprint}\n"
    assert "online, up" in stage.run(block_.text)


def log_on_stdout(stage: Stage, block: Block) -> None:
    """Serve with the log on standard output."""
    with stage.background(block.text.strip()) as output:
        stage.wait_for_text(output, "online by=start")
        stage.call()
        stage.wait_for_text(output, " command slot=1 ")


def report_of_journal(stage: Stage, block: Block) -> None:
    """Report on what journalctl prints; its part is played by a log."""
    write_logs(stage)
    stage.add_program("journalctl", f"#!/bin/sh\ncat {stage.log_dir}/*.log\n")
    assert re.search(r"^connections +6$", stage.run(block.text), re.MULTILINE)


def weekly_mail(stage: Stage, block: Block) -> None:
    """Run a line of a crontab that mails a page; the mail server is one that accepts all."""
    require("s-nail")
    write_logs(stage)
    server = stage.serve(accept_mail=True)
    command = block.text.removeprefix("0 7 * * 1 root ").replace("mail.example.org", "127.0.0.1")
    assert stage.run(command.replace("/root/", f"{stage.cwd}/")) == ""
    assert "<title>Mails refused</title>" in (stage.cwd / "week.html").read_text()
    assert '"RCPT TO:<boss@example.org>" code=250' in server.log_text


def prints(text: str) -> Run:
    """Return how to run a block that prints something in particular."""

    def run(stage: Stage, block: Block) -> None:
        write_logs(stage)
        stage.serve()
        assert text in stage.run(block.text)

    return run


def every_setting(stage: Stage, block: Block) -> None:
    """Print every setting."""
    assert parse_file(stage.run(block.text), block.page, pytest.fail).keys() == KEYS.keys()


def list_for_rbldnsd(stage: Stage, block: Block) -> None:
    """Write a list for rbldnsd from two directories of logs."""
    write_logs(stage)
    (stage.root / "var/lib/rbldns").mkdir(parents=True)
    stage.run(block.text)
    assert f"\n{CALLER} " in (stage.root / "var/lib/rbldns/bl").read_text()


def hits_of_mx3(stage: Stage) -> None:
    """Write the logs of two servers and the hits of a third."""
    write_logs(stage)
    (stage.root / "srv/hits").mkdir(parents=True)
    stage.run(f"smtppseudo blocklist --format hits {stage.log_dir} --output /srv/hits/mx3")


def list_of_three(stage: Stage, block: Block) -> None:
    """Make a list from logs and a hits file; it has a caller with a hit in each."""
    hits_of_mx3(stage)
    stage.run(block.text)
    assert (stage.cwd / "blocklist").read_text() == f"{CALLER}\n"


def hits_files(stage: Stage, block: Block) -> None:
    """Make a hits file, and a list from two."""
    hits_of_mx3(stage)
    stage.run(block.text)
    assert (stage.cwd / "blocklist").read_text() == f"{CALLER}\n"


def hits_file(stage: Stage, block: Block) -> None:
    """Read the hits file of a page; its addresses are never listed."""
    (stage.cwd / "hits").write_text(block.text)
    assert stage.run("smtppseudo blocklist hits", 1).startswith("smtppseudo: the list would be empty")


def rbldnsd(stage: Stage, block: Block) -> None:
    """Serve a list by DNS."""
    require("rbldnsd", "dig")
    if os.geteuid() != 0:
        pytest.skip("rbldnsd drops root's privileges, so it needs them")
    write_logs(stage)
    stage.run("smtppseudo blocklist --format rbldnsd --output /var/lib/smtppseudo/blocklist")
    pid_file = stage.root / "rbldnsd.pid"
    text = block.text.replace("rbldnsd -u rbldns:smtppseudo", f"rbldnsd -u nobody:nogroup -p {pid_file}")
    try:
        assert stage.run(text).endswith("\n127.0.0.2\n")
        assert stage.run(f"dig +short -p 5353 @127.0.0.1 {CALLER}.bl.example.org") == "127.0.0.2\n"
    finally:
        os.kill(int(pid_file.read_text()), 15)


def nftables(stage: Stage, block: Block) -> None:
    """Drop what listed addresses send."""
    require("nft")
    write_logs(stage)
    stage.run(block.text)
    rules = stage.run("nft list table inet smtppseudo")
    assert f"elements = {{ {CALLER} }}" in rules
    assert "tcp dport 25 ip saddr @blocklist4 drop" in rules
    assert "tcp dport 25 ip6 saddr @blocklist6 drop" in rules
    stage.run(block.text.partition("\n")[0])  # again, as every hour
    assert stage.run("nft list table inet smtppseudo") == rules


def accept_rule(stage: Stage, block: Block) -> None:
    """Add a rule to a table and chain that are there."""
    require("nft")
    stage.run("nft add table inet filter && nft add chain inet filter input '{ type filter hook input priority 0; }'")
    stage.run(block.text)
    assert "tcp dport 25 accept" in stage.run("nft list table inet filter")


def postfix_table(stage: Stage, block: Block) -> None:
    """Write a table for Postfix, and look callers up in it. No Postfix runs here."""
    require("postmap")
    write_logs(stage)
    (stage.root / "etc/postfix").mkdir()
    (stage.root / "etc/postfix/main.cf").touch()
    stage.add_program("postfix", '#!/bin/sh\ntest "$*" = reload\n')
    stage.run(block.text)
    look_up = "postmap -c /etc/postfix -q {} cidr:/etc/postfix/callers.cidr 2> /dev/null"
    assert stage.run(look_up.format(CALLER)) == "reject\n"
    stage.run(look_up.format("9.9.9.8"), 1)


FAIL2BAN: Final = {
    "filter.d": block("fail2ban", "[Definition]").text,
    "jail.d": block("fail2ban", "[smtppseudo]").text,
}


def fail2ban(stage: Stage, block: Block) -> None:
    """Write filter and jail; in place of a reload, fail2ban tests its settings."""
    require("fail2ban-client")
    etc = stage.root / "etc/fail2ban"
    shutil.copytree("/etc/fail2ban", etc, symlinks=True)
    for path in (etc / "jail.d").iterdir():
        path.unlink()  # jails of this machine, whose logs may be missing
    write_logs(stage)
    for directory, rules in FAIL2BAN.items():
        (etc / directory / "smtppseudo.conf").write_text(rules.replace("/var/log/smtppseudo", str(stage.log_dir)))
    assert block.text == "fail2ban-client reload\n"
    stage.run("fail2ban-client -c /etc/fail2ban --test")
    assert f"{stage.log_dir}/2026-11-03.log" in stage.run("fail2ban-client -c /etc/fail2ban --dump")


def logs_by_rsync(stage: Stage, block: Block) -> None:
    """Copy logs, from a directory in place of another machine; what was copied is continued, not replaced."""
    require("rsync")
    write_logs(stage)
    copy = stage.root / "srv/logs/mx2/2026-11-03.log"
    copy.write_text("")
    inode = copy.stat().st_ino
    stage.run(block.text.removeprefix("* * * * * root ").replace("mx2:", ""))
    assert (copy.read_text(), copy.stat().st_ino) == ((stage.log_dir / copy.name).read_text(), inode)


def haproxy(stage: Stage, block: Block) -> None:
    """Serve behind an HAProxy; the log has the caller's address."""
    require("haproxy")
    (stage.root / "haproxy.cfg").write_text(block.text)
    server = stage.serve(2525, **stage.settings_of("install", "proxies = "))
    with stage.background(f"haproxy -db -f {stage.root}/haproxy.cfg", ends_with=-signal.SIGINT):
        wait_until(lambda: stage.run("smtppseudo probe", 0, 69).endswith("refused permanently\n"), "HAProxy")
        stage.run(f"smtppseudo probe {ADDRESS}")
    assert f" ip={ADDRESS} " in server.log_text
    assert "reason=proxy" not in server.log_text


def probe_elsewhere(stage: Stage, block: Block) -> None:
    """Probe this machine in place of one elsewhere."""
    stage.serve()
    stage.run(block.text.replace("mail.example.org", "localhost"))


def one_test_file(stage: Stage, block: Block) -> None:
    """Run one test file with the Python of this test."""
    stage.cwd = CHECKOUT
    text = block.text.replace(".venv/bin/pytest", "python3 -m pytest -p no:cacheprovider")
    assert " passed" in stage.run(text)


def require(*programs: str) -> None:
    """Skip where a program is missing."""
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is not installed")
