"""The story as it is told: a line for each event, chapters, a table at the end. Readable on a terminal and in a pipe."""

import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Story:
    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.lines = 0
        self._began_s = time.monotonic()

    @property
    def wall_s(self) -> float:
        return time.monotonic() - self._began_s

    def chapter(self, title: str) -> None:
        self.console.print(f"\n[bold cyan]{escape(title)}[/]")

    def line(self, who: str, text: str) -> None:
        """An event: when, counted from the demo's start, who, and what."""
        self.lines += 1
        self.console.print(f"[dim]{self.wall_s:6.1f} s[/]  [bold]{escape(who):<14}[/] {escape(text)}")
        sys.stdout.flush()

    def table(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
        table.add_column(no_wrap=True)
        table.add_column()
        for name, value in rows:
            table.add_row(escape(name), escape(value))
        self.console.print(table)

    def say(self, text: str = "") -> None:
        self.console.print(text)
