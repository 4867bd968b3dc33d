"""Every fenced block of README and the guide: run as printed, on a stage, or listed with the reason why not.

`HOW` is the list. A block is known by its page and the beginning of its first line. A new block must be added there:
test_documentation.py compares the list with the pages. `BOOTED` blocks are run in a booted system, by
tests/service/test_guide_blocks.py. Settings (toml) are not listed: test_documentation.py parses them all.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import pytest

from tests.documents import README, Block, block
from tests.loopback import block_runs as runs
from tests.loopback.block_runs import CALLER, Run
from tests.loopback.stage import Stage, network, open_stage
from tests.running import Servers


class Skip(NamedTuple):
    """Why a block is not run."""

    reason: str


class Booted(NamedTuple):
    """A block that is run in a booted system."""


BOOTED: Final = Booted()
IN_TEST_READERS: Final = Skip("test_blocklist_readers.py runs Postfix with it")
BY_DUCKDB: Final = Skip("an extra has DuckDB; tests/others/test_duckdb.py runs it")
BY_PROMTOOL: Final = Skip("tests/others/test_prometheus_rules.py runs it, with promtool")
BY_CROWDSEC: Final = Skip("CrowdSec takes a second to start; tests/others/test_crowdsec.py runs it")
IN_TEST_LOG_SHIPPING: Final = Skip("test_log_shipping.py runs it, or its programs with what it says")
IN_TEST_BIND: Final = Skip("test_bind.py runs it, with 20,000 entries")


UNDER_WINE: Final = Skip("tests/wine/test_windows_service.py runs the commands under Wine")

HOW: Final[Mapping[str, Mapping[str, Run | Skip | Booted]]] = {
    README: {
        "python3 -m smtppseudo serve": runs.serves(2525),
        "$ telnet 127.0.0.1 2525": runs.telnet,
        "pipx run --spec . smtppseudo demo": Skip("pipx and a package index are needed; test_demo.py runs the demo"),
        "sudo apt install python3-venv": BOOTED,
        "smtppseudo probe": BOOTED,
        "sudo smtppseudo uninstall-service --purge": BOOTED,
        "smtppseudo monitor ": runs.everyday,
        "2026-11-24T13:54:36.350Z connected": runs.records,
        "sudo sh -c": BOOTED,
        "python3 -m venv .venv": Skip("it is the command that runs this test"),
        ".venv/bin/pytest -m slow": Skip("CI runs it; it takes minutes"),
    },
    "install": {
        "sudo apt install python3-venv": BOOTED,
        "smtppseudo install-service --dry-run": BOOTED,
        "sudo pipx install --global .": Skip("pipx and a package index are needed"),
        "sudo ufw allow 25/tcp": Skip("it would change the firewall of this machine"),
        "sudo nft add rule": runs.accept_rule,
        "smtppseudo probe": BOOTED,
        "sudo usermod -aG smtppseudo alice": BOOTED,
        "sudo sh -c": BOOTED,
        "sudo systemctl stop": BOOTED,
        "sudo /opt/smtppseudo/bin/pip install .": BOOTED,
        "sudo smtppseudo uninstall-service --purge": BOOTED,
        "smtppseudo install-service --user": BOOTED,
        "defaults": runs.haproxy,
        "python3 .ci/pyz.py": runs.serves(2525),
    },
    "windows": {
        'py -m venv "%ProgramFiles%\\smtppseudo"': UNDER_WINE,
        '"%ProgramFiles%\\smtppseudo\\Scripts\\smtppseudo" probe': UNDER_WINE,
        "notepad C:": UNDER_WINE,
        "sc qc smtppseudo": Skip("they try what Wine does not have"),
    },
    "other-init-systems": {
        "smtppseudo install-service": Skip(
            "on this machine it could install a service; test_install_service.py runs it"
        ),
        "useradd --system": BOOTED,
        "#!/sbin/openrc-run": Skip("test_other_init_systems.py runs it under OpenRC"),
        "#!/bin/sh": Skip("test_other_init_systems.py runs it under runit"),
        "ln -s /etc/sv/smtppseudo": Skip("test_other_init_systems.py runs it under runit"),
    },
    "containers": {
        start: Skip("test_containers.py runs it under Podman")
        for start in ("FROM docker.io", "sudo podman build", "[Unit]", "[Socket]", "sudo mkdir -p /etc/smtppseudo")
    },
    "saying-no": {
        "smtppseudo probe --port 25 localhost": runs.prints("verdict: refused permanently\n"),
        "   0.005 S: 220": runs.probed,
        "smtppseudo set reject_at=rcpt": runs.run_all,
        "smtppseudo set greeting=": runs.run_all,
        "example.com.  IN  MX  0  .": Skip("a record for a name server, no command"),
    },
    "settings": {
        "smtppseudo config": runs.every_setting,
        "sudo smtppseudo config --check": BOOTED,
        "sudo smtppseudo install-service --port 2525": BOOTED,
        "smtppseudo set greeting=": runs.run_all,
    },
    "monitor": {
        "smtppseudo status": runs.run_all,
        "smtppseudo monitor ": runs.everyday,
        "sudo smtppseudo magic-word": runs.word_set,
        "smtppseudo status --magic-file": runs.word_of_file,
        "ssh -N -L": runs.tunnel,
        "openssl req -x509": runs.certificate,
        "[Socket]": BOOTED,
        "smtppseudo status 192.0.2.25": runs.over_tls,
    },
    "logs": {
        "tail /var/log/smtppseudo/$(date +%F).log": runs.prints(" online by=start"),
        "2026-11-24T13:54:36.350Z connected": runs.records,
        '{"time":': runs.records,
        "smtppseudo find news@example.com": runs.lines_removed,
        "smtppseudo serve --log-dir -": runs.log_on_stdout,
    },
    "reports": {
        "smtppseudo report --since 7d": runs.prints(f"100.0%  {CALLER} "),
        "smtppseudo report --since 2026-11-01": runs.run_all,
        "smtppseudo report --since 7d --html": runs.run_all,
        "0 7 * * 1 root": runs.weekly_mail,
        "journalctl -u smtppseudo": runs.report_of_journal,
        "smtppseudo find --since 7d": runs.prints("\nconnections     15\n"),
        "smtppseudo status --format prometheus": runs.prints("\nsmtppseudo_online 1\n"),
    },
    "years-of-logs": {
        "pipx install duckdb-cli": Skip("pipx and a package index are needed"),
        "CREATE OR REPLACE MACRO": BY_DUCKDB,
        "duckdb -init smtppseudo.sql smtppseudo.duckdb -c": BY_DUCKDB,
        "-- Addresses": BY_DUCKDB,
        "duckdb -init smtppseudo.sql smtppseudo.duckdb <": BY_DUCKDB,
        "day=": BY_DUCKDB,
        "(echo ": BY_DUCKDB,
    },
    "alerts": {
        "smtppseudo status --format prometheus": BY_PROMTOOL,
        "rule_files:": BY_PROMTOOL,
        "promtool check config": BY_PROMTOOL,
        "groups:": BY_PROMTOOL,
    },
    "block-lists": {
        "smtppseudo blocklist": runs.prints(f"{CALLER}\n"),
        "smtppseudo blocklist --format rbldnsd": runs.list_for_rbldnsd,
        "smtppseudo blocklist --explain 192.0.2.7": runs.explained,
        "smtppseudo block 198.51.100.7": runs.run_all,
        "rbldnsd -u": runs.rbldnsd,
        "(umask 027; tsig-keygen": IN_TEST_BIND,
        "# primary": IN_TEST_BIND,
        "# secondary": IN_TEST_BIND,
        "dig @127.0.0.1 -k": IN_TEST_BIND,
        "dig +short @192.0.2.53": IN_TEST_BIND,
        "smtppseudo blocklist --format nft": runs.nftables,
        "smtppseudo blocklist --format plain": runs.postfix_table,
        "smtpd_client_restrictions = ": IN_TEST_READERS,
        "postscreen_access_list = ": IN_TEST_READERS,
    },
    "fail2ban": {
        "fail2ban-client status smtppseudo": Skip("test_booted_journal.py asks a real fail2ban the same"),
        "[Definition]": Skip("test_fail2ban.py runs it, and so does test_booted_journal.py"),
        "[smtppseudo]": Skip("the next block is run with it"),
        "fail2ban-client reload": runs.fail2ban,
    },
    "crowdsec": {
        "sudo apt install crowdsec": Skip("it would change this machine"),
        "filenames:": BY_CROWDSEC,
        "source: journalctl": BY_CROWDSEC,
        "name: smtppseudo/logs": BY_CROWDSEC,
        "type: leaky": BY_CROWDSEC,
        "name: smtppseudo": BY_CROWDSEC,
        "sudo systemctl restart crowdsec": BY_CROWDSEC,
        "sudo crowdsec -c": BY_CROWDSEC,
        "* * * * * root rsync": runs.logs_by_rsync,
        "smtppseudo blocklist /srv/logs/mx1": BY_CROWDSEC,
    },
    "several-servers": {
        "smtppseudo status mx1.example.org": Skip("other machines; test_several_servers.py runs the commands"),
        "smtppseudo blocklist --output": runs.list_of_three,
        "smtppseudo blocklist --format hits": runs.hits_files,
        "smtppseudo-hits 1": runs.hits_file,
        "# server": IN_TEST_LOG_SHIPPING,
        "# central host": IN_TEST_LOG_SHIPPING,
        "[Service]": IN_TEST_LOG_SHIPPING,
        "[Upload]": IN_TEST_LOG_SHIPPING,
        "[Unit]": IN_TEST_LOG_SHIPPING,
        "sudo journalctl --directory": IN_TEST_LOG_SHIPPING,
    },
    "tarpit": {
        "smtppseudo set tarpit=true": runs.run_all,
        "smtppseudo set greet_delay_s=6": runs.run_all,
        "smtppseudo unset tarpit greet_delay_s": runs.run_all,
    },
    "security": {"systemd-analyze security smtppseudo": BOOTED, "sudo sysctl net.ipv4.tcp_fastopen=0": BOOTED},
    "compared-with": {"smtppseudo probe mail.example.org": runs.probe_elsewhere},
    "benchmarks": {
        ".venv/bin/python -m tests.bench.measure --quick": Skip("figures are taken by hand, on a quiet machine"),
    },
    "design": {
        ".venv/bin/lint-imports": Skip("CI runs it"),
        "cli  ": Skip("a drawing; test_documentation.py compares it with the rules in pyproject.toml"),
    },
    "contributing": {
        "python3 -m venv .venv": Skip("it was run before this test"),
        ".venv/bin/pytest -n 0 tests/unit/test_slots.py": runs.one_test_file,
        "bash .ci/run": Skip("it runs this test"),
        ".venv/bin/hatchling build -t sdist": Skip("CI builds it; it takes half a minute"),
        ".venv/bin/pytest -m slow": Skip("CI runs it; it takes minutes"),
        "git tag --sign": Skip("it publishes a version; test_wheel.py builds and checks both archives"),
        ".venv/bin/python .ci/share.py": Skip("it would change the checkout; test_share.py runs it elsewhere"),
        ".venv/bin/pip install -q -e '.[fuzz]'": Skip("CI runs it where atheris can be installed"),
        ".venv/bin/python -m tests.bench.soak": Skip("it takes minutes; test_soak.py runs a short one"),
    },
    "packaging": {
        ".venv/bin/hatchling build": Skip("it would write into the checkout; test_wheel.py builds both elsewhere"),
        "smtppseudo install-service --dry-run": Skip("test_booted_install.py makes a package of what it prints"),
        ".venv/bin/pytest -m": Skip("it may be running this test"),
        "smtppseudo probe": Skip("the page `install` has the same; it is run there"),
    },
}

RUNS: Final = [
    (block(page, start), how) for page, blocks in HOW.items() for start, how in blocks.items() if callable(how)
]


@pytest.fixture(scope="module")
def prefix() -> Iterator[list[str]]:
    """The words that run a program in a network of its own."""
    with network() as words:
        yield words


@pytest.fixture
def stage(prefix: list[str], servers: Servers) -> Iterator[Stage]:
    with open_stage(prefix, servers) as stage:
        yield stage


@pytest.mark.parametrize(("block", "run"), RUNS, ids=[f"{each.page}: {each.first_line[:40]}" for each, _ in RUNS])
def test_a_block_does_what_its_page_says(stage: Stage, block: Block, run: Run) -> None:
    run(stage, block)


def test_skipped_blocks_say_why() -> None:
    reasons = [how.reason for blocks in HOW.values() for how in blocks.values() if isinstance(how, Skip)]
    assert all(re.fullmatch(r"[a-zC][ -~]{8,}[^.]", reason) for reason in reasons)
