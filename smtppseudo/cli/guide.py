"""`guide`: print a page of the guide, or the list of pages."""

import argparse
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.messages import print_line, print_text
from smtppseudo.cli.options import describe
from smtppseudo.cli.pager import print_in_pager
from smtppseudo.config.settings import did_you_mean

TOPICS: Final = (
    *("install", "other-init-systems", "containers", "windows"),
    *("saying-no", "settings", "monitor", "logs", "reports", "years-of-logs", "alerts"),
    *("block-lists", "crowdsec", "fail2ban", "several-servers", "tarpit"),
    *("security", "compared-with", "benchmarks", "design", "contributing", "packaging"),
)


def add_guide(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo guide block-lists", "On a terminal, a page is shown by $PAGER, or by less.")
    command.add_argument("topic", nargs="?", metavar="TOPIC", help="the page to print (the list of pages)")


def run(options: argparse.Namespace) -> None:
    """Print the page, through a pager on a terminal. Raises CommandError."""
    topic: str | None = options.topic
    if topic is None:
        print_text("Pages of the guide. `smtppseudo guide TOPIC` prints one of them.\n\n")
        for each in TOPICS:
            heading = _page(each).partition("\n")[0]
            print_line(f"  {each:<19} {heading.removeprefix('# ')}")
    elif topic not in TOPICS:
        advice = did_you_mean(topic.lower(), TOPICS) or f"; its pages are {', '.join(TOPICS)}"
        raise exits.CommandError(f"the guide has no page {topic!a}{advice}", exits.USAGE)
    else:
        print_in_pager(_page(topic))


def _page(topic: str) -> str:
    from importlib import resources  # reads from a zip file, too

    return resources.files("smtppseudo").joinpath("guide", f"{topic}.md").read_text("ascii")
