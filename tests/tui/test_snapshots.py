"""Pictures of the screen, compared byte for byte with the committed ones.

SMTPPSEUDO_SNAPSHOTS=write writes them: look at them, then commit them. They contain no address to load fonts from.
They are those of one release of Textual, which the extra `test` installs. For another release change TEXTUAL and that
pin, write the pictures, and look at them.
"""

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import textual
from textual.widgets import Input

from smtppseudo.link.errors import (
    ChangedCertificateError,
    ConnectionLostError,
    NotAuthorizedError,
    UnknownCertificateError,
    UnreachableError,
)
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.feeder import LinkDown, Update
from smtppseudo.tui.themes import DARK, LIGHT
from tests.tui.scene import Scene, busy_morning, fleet_morning, fleet_scene, link_up, play, status

DIRECTORY: Final = Path(__file__).parent / "snapshots"
TEXTUAL: Final = "8.2.8"
IS_WRITING: Final = os.environ.get("SMTPPSEUDO_SNAPSHOTS") == "write"

UNREACHABLE: Final = UnreachableError(
    "cannot reach 127.0.0.1 port 26: Connection refused; is the server running? its service, or `smtppseudo"
    " serve`, runs it"
)
LOST: Final = ConnectionLostError("127.0.0.1 port 26: the server ended the connection (shutdown)")
FINGERPRINTS: Final = [f"SHA256:{byte * 32}".removesuffix(":") for byte in ("0A:", "F5:")]
NEW_CERTIFICATE: Final = UnknownCertificateError(FINGERPRINTS[0], ("192.0.2.25", 26))
OTHER_CERTIFICATE: Final = ChangedCertificateError(FINGERPRINTS[1], ("192.0.2.25", 26), FINGERPRINTS[0])
WRONG: Final = NotAuthorizedError("192.0.2.1 port 26: Not Authorized! That is not its magic word")


class Picture(NamedTuple):
    """A picture: its size and theme, the updates that the screen gets, and the keys pressed then."""

    name: str
    size: tuple[int, int]
    theme: str = DARK
    updates: tuple[Update, ...] | None = None  # None: a busy morning
    keys: tuple[str, ...] = ()
    is_fleet: bool = False


SIZES: Final = ((80, 24), (100, 40), (200, 60))
PICTURES: Final = (
    *[Picture(f"main-{w}x{h}-dark", (w, h)) for w, h in SIZES],
    *[Picture(f"main-{w}x{h}-light", (w, h), LIGHT) for w, h in SIZES],
    *[Picture(f"fleet-{w}x{h}-dark", (w, h), keys=("down",), is_fleet=True) for w, h in SIZES],
    *[Picture(f"fleet-{w}x{h}-light", (w, h), LIGHT, keys=("end", "up"), is_fleet=True) for w, h in SIZES],
    Picture("one-of-fleet-80x24-dark", (80, 24), keys=("down", "down", "enter"), is_fleet=True),
    Picture("quiet-100x40-dark", (100, 40), updates=(link_up(), status())),
    Picture("search-100x40-light", (100, 40), LIGHT, keys=("slash", *"gf.com", "enter")),
    Picture("details-80x24-light", (80, 24), LIGHT, keys=("d",)),
    Picture("details-100x40-dark", (100, 40), keys=("d",)),
    Picture("setup-80x24-dark", (80, 24), keys=("s",)),
    Picture("setup-100x40-light", (100, 40), LIGHT, keys=("s",)),
    Picture("transcript-80x24-dark", (80, 24), keys=("down", "enter")),
    Picture("help-80x24-light", (80, 24), LIGHT, keys=("question_mark",)),
    Picture("help-100x40-dark", (100, 40), keys=("question_mark",)),
    Picture("service-80x24-light", (80, 24), LIGHT, keys=("v",)),
    Picture("stop-80x24-dark", (80, 24), keys=("o",)),
    Picture("accept-100x40-light", (100, 40), LIGHT, keys=("a",)),
    Picture("new-word-80x24-light", (80, 24), LIGHT, keys=("w",)),
    Picture("filter-80x24-dark", (80, 24), keys=("f", "o", "p", "e", "n")),
    Picture("nobody-80x24-dark", (80, 24), updates=(LinkDown(UNREACHABLE, 4.0),)),
    Picture("nobody-100x40-light", (100, 40), LIGHT, updates=(LinkDown(UNREACHABLE, 4.0),)),
    Picture("lost-80x24-dark", (80, 24), updates=(*busy_morning(), LinkDown(LOST, 2.0))),
    Picture("certificate-80x24-dark", (80, 24), updates=(LinkDown(NEW_CERTIFICATE, None),)),
    Picture("changed-80x24-light", (80, 24), LIGHT, updates=(LinkDown(OTHER_CERTIFICATE, None),), keys=("r",)),
    Picture("word-80x24-dark", (80, 24), updates=(LinkDown(WRONG, None),)),
)


def drawn(picture: Picture) -> str:
    """Return a picture as SVG, without the addresses of fonts."""
    found: list[str] = []

    async def act(scene: Scene) -> None:
        scene.app.theme = picture.theme
        scene.app.animation_level = "none"
        if picture.is_fleet:
            await scene.tell_all(fleet_morning())
        else:
            await scene.tell(*(busy_morning() if picture.updates is None else picture.updates))
        await scene.pilot.press(*picture.keys)
        scene.clock += 7
        await scene.tell()
        await scene.pilot.pause(3.0)  # for threads: the name lookup of Setup, the state of the service
        for line in scene.app.screen.query(Input):
            line.cursor_blink = False
        await scene.pilot.pause()
        found.append(re.sub(r"@font-face \{.*?\}\s*", "", scene.app.export_screenshot(), flags=re.DOTALL))

    scene = fleet_scene() if picture.is_fleet else Scene(unit=UnitState("yes", "yes (running)", "yes"))
    play(scene, act, picture.size)
    return found[0]


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_pictures(picture: Picture) -> None:
    assert textual.__version__ == TEXTUAL, f"the pictures need Textual {TEXTUAL}: pip install textual=={TEXTUAL}"
    file = DIRECTORY / f"{picture.name}.svg"
    svg = drawn(picture)
    assert "http" not in svg.replace("http://www.w3.org/", "").replace("https://www.textualize.io", "")
    if IS_WRITING:
        file.write_text(svg)
    assert svg == file.read_text(), f"{file.name} differs; if that is wanted, write it again and look at it"
