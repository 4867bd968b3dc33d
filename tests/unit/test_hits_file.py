"""Hits files: what is written can be read, what does not suit is said, and no line can spoil another."""

import pytest

from smtppseudo.blocklist.hits import Hit
from smtppseudo.blocklist.hits_file import Coverage, HitsFiles, coverage_of, parse_coverage, parse_hits, render_hits
from smtppseudo.blocklist.policy import DAY_S, Policy, policy_of
from smtppseudo.config.settings import Settings

USUAL = coverage_of(policy_of(Settings()), Settings().blocklist_evidence, ["mx1"])
FIRST = "smtppseudo-hits 1 server=mx1 window_s=3196800 evidence=auth,errors,mail,pregreet times=32\n"
A, C = "192.0.2.7", "2001:db8:1:2::/64"


def read(*files: str, needed: Coverage = USUAL, allows_twice: bool = False) -> list[Hit]:
    hits_files = HitsFiles(needed, {}, allows_twice=allows_twice)
    return [hit for text in files for hit in hits_files.hits_in(text.encode("latin-1"))]


def test_first_line_and_lines_of_hits() -> None:
    hits = [(A, [1_700_000_000, 1_800_000_000]), (C, [1_800_000_001]), ("gone", [])]
    lines = list(render_hits(USUAL, hits))
    assert lines == [FIRST, f"{A} 1700000000 1800000000\n", f"{C} 1800000001\n"]
    assert parse_coverage(lines[0]) == USUAL
    assert [parse_hits(line) for line in lines[1:]] == hits[:2]
    assert read("".join(lines)) == [
        Hit(source, at, ("hits file",), "mx1") for source, times in hits[:2] for at in times
    ]


def test_at_least_32_times_are_kept_and_more_if_the_policy_needs_them() -> None:
    assert USUAL.times == 32
    assert coverage_of(Policy(20, DAY_S, DAY_S), ["mail"]).times == 39


@pytest.mark.parametrize("servers", [[], [""], ["mx1"], ["mx1", "mx2"]])
def test_several_servers_are_a_list(servers: list[str]) -> None:
    (line,) = render_hits(USUAL._replace(servers=tuple(servers)), [])
    assert f" server={','.join(servers)} " in line
    assert list(parse_coverage(line).servers) == [name for name in servers if name]


def test_a_name_from_a_log_cannot_forge_the_first_line() -> None:
    (line,) = render_hits(USUAL._replace(servers=("a times=9 b=\\x0a",)), [])
    assert parse_coverage(line) == USUAL._replace(servers=("a-times-9-b--x0a",))


@pytest.mark.parametrize(
    ("needed", "text"),
    [
        ({}, ""),
        ({"times": 31, "window_s": 60}, ""),
        ({"times": 33}, "this list needs 33 hits of an address, of 37 days, by auth,errors,mail,pregreet"),
        ({"window_s": 44 * DAY_S}, "this list needs 32 hits of an address, of 44 days, "),
        ({"evidence": frozenset({"mail"})}, "this list needs 32 hits of an address, of 37 days, by mail"),
        (
            {"evidence": USUAL.evidence | {"rcpt"}},
            ".*,pregreet,rcpt",
        ),
    ],
)
def test_a_file_that_does_not_suit_says_why(needed: dict[str, object], text: str) -> None:
    assert USUAL.suits(USUAL._replace(**needed)) is not bool(text)  # type: ignore[arg-type]
    if text:
        start = "it has 32 hits of an address, of 37 days, by auth,errors,mail,pregreet; "
        with pytest.raises(ValueError, match=f"{start}{text}"):
            read(FIRST, needed=USUAL._replace(**needed), allows_twice=True)  # type: ignore[arg-type]


def test_two_files_of_one_server_are_refused_unless_allowed() -> None:
    text = f"{FIRST}{A} 5\n"
    both = text.replace("mx1", "mx2,mx1")
    for second in (text, both):
        with pytest.raises(ValueError, match="hits of mx1 were read before"):
            read(text, second)
        assert [hit.at for hit in read(text, second, allows_twice=True)] == [5, 5]
    assert len(read(text, text.replace("mx1", "mx2"))) == 2
    assert len(read(*[text.replace("mx1", "")] * 3)) == 3  # servers without a name may be others


def test_a_joined_file_is_several_files() -> None:
    text = f"{FIRST}{A} 5\n"
    assert [hit.server for hit in read(text + text.replace("mx1", "mx2"))] == ["mx1", "mx2"]
    with pytest.raises(ValueError, match="hits of mx1 were read before"):
        read(text + text)


@pytest.mark.parametrize("names", ["x" * 257, ",".join(map(str, range(100_002)))])
def test_the_names_of_servers_are_limited(names: str) -> None:
    with pytest.raises(ValueError, match="it names more than 100,000 servers, or one with over 256 characters"):
        read(FIRST.replace("mx1", names))


def test_fields_of_later_versions_are_ignored() -> None:
    assert parse_coverage(FIRST.replace("\n", " made=2027-01-01 by=smtppseudo/9\n")) == USUAL


@pytest.mark.parametrize("line", [FIRST.replace("s 1", "s 2"), FIRST.replace("times=32", ""), "smtppseudo-hits \n"])
def test_another_version_is_said(line: str) -> None:
    with pytest.raises(ValueError, match="a hits file of another version; upgrade this program"):
        parse_coverage(line)


@pytest.mark.parametrize(
    "line",
    [
        *("", "\n", A, f"{A} x", f"{A} -1", f"{A} {1 << 70}", f"{A} {1 << 32}", "1 2 \0", "mx.example.org 1"),
        *(
            "2001:db8:1:2::1/64 1",
            "2001:DB8::/64 1",
            "2001:db8::/48 1",
            "2001:0db8::/64 1",
            "2001:db8:0:0:0::/64 1",
            f"{A} 1_x",
            f"{A}/32 1",
        ),
    ],
)
def test_invalid_line_of_hits_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal|not a source|not an address"):
        parse_hits(line)


def test_damaged_lines_are_counted_and_others_read() -> None:
    hits_files = HitsFiles(USUAL, {}, allows_twice=False)
    text = f"{FIRST}\xff\0 nonsense\n{A} 5\r\x0b\n\n{C} 6 7\n"
    assert [(hit.source, hit.at) for hit in hits_files.hits_in(text.encode("latin-1"))] == [(A, 5), (C, 6), (C, 7)]
    assert hits_files.damaged == 2
