"""The page of a report in Chromium: no text of a caller becomes markup, it is light, dark and printable."""

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from smtppseudo.events import escape_text
from smtppseudo.report import page
from smtppseudo.report.tables import View
from tests.hostile import HOSTILE, MARKUP
from tests.unit.test_report import report_of, session
from tests.unit.test_report_page import ATTRIBUTES, TAGS, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with hostile texts."""
    lines = [(f"EHLO {text}", f"MAIL FROM:<a@{text}>", text) for text in map(escape_text, HOSTILE)]
    records = [each for line in lines for each in session("192.0.2.1", *line)]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render_html(report_of(records, [*page.KINDS, "helo", "sender"]), View(top=100)))
    return path


def chromium(path: Path, *options: str) -> str:
    """Open a page in Chromium; return what it prints."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    own = [f"--user-data-dir={path.parent}/profile", "--headless", "--no-sandbox", "--disable-gpu"]
    done = subprocess.run(
        [program, *own, *options, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def first_pixel(png: bytes) -> tuple[int, ...]:
    """Return red, green and blue of the upper left corner."""
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return tuple(zlib.decompress(data)[1:4])  # no filter changes the first pixel


def test_the_browser_finds_no_markup_of_callers(path: Path) -> None:
    seen = Page(chromium(path, "--dump-dom"))
    assert seen.tags.keys() <= TAGS | {"head", "body", "tbody"}
    assert seen.attributes <= ATTRIBUTES
    assert "Mails refused" in seen.texts
    assert seen.texts.count("pwned") == 0
    assert any(MARKUP[0] in text for text in seen.texts)
    assert seen.tags["svg"] == Page(path.read_text()).tags["svg"]


@pytest.mark.parametrize(
    ("scheme", "colour"), [(1, (0xFB, 0xFB, 0xF8)), (0, (0x12, 0x16, 0x1C))], ids=["light", "dark"]
)
def test_a_page_is_light_or_dark_as_the_reader_wants(path: Path, scheme: int, colour: tuple[int, int, int]) -> None:
    picture = path.with_name(f"{scheme}.png")
    chromium(path, f"--blink-settings=preferredColorScheme={scheme}", "--hide-scrollbars", f"--screenshot={picture}")
    assert first_pixel(picture.read_bytes()) == colour


def test_a_page_can_be_printed(path: Path) -> None:
    chromium(path, f"--print-to-pdf={path.with_name('page.pdf')}")
    assert path.with_name("page.pdf").read_bytes().startswith(b"%PDF-")
