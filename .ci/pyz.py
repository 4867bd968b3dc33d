"""Write smtppseudo.pyz: the whole program except the screen, in one file that any Python 3.11 or later runs.

    python3 .ci/pyz.py [FILE]      without FILE: smtppseudo.pyz

The script needs Python only. The same sources give the same bytes: the archive has no dates and is not compressed,
because the output of zlib differs between versions.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zipfile import ZIP_STORED, ZipFile, ZipInfo

CHECKOUT: Final = Path(__file__).resolve().parent.parent
EXCLUDED: Final = ("smtppseudo/tui/", "smtppseudo/share/")


def main() -> None:
    """Write the file and make it executable."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "smtppseudo.pyz")
    with target.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with ZipFile(file, "w", ZIP_STORED) as archive:
            for name, data in members():
                member = ZipInfo(name)  # dated 1980-01-01
                member.create_system = 3
                member.external_attr = 0o644 << 16
                archive.writestr(member, data)
    target.chmod(0o755)


def members() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each member."""
    package = CHECKOUT / "smtppseudo"
    yield "__main__.py", (package / "__main__.py").read_bytes()
    yield "LICENSE", (CHECKOUT / "LICENSE").read_bytes()
    for path in sorted([*package.rglob("*.py"), *package.glob("guide/*.md")]):
        name = path.relative_to(CHECKOUT).as_posix()
        if not name.startswith(EXCLUDED):
            yield name, path.read_bytes()


if __name__ == "__main__":
    main()
