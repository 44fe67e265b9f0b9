"""What a person sees while the demo works: one line per step, on a terminal and in a log file alike."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status

from mlops_obs.cli.demo.outcome import Claim


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: name, Unix start and end, and a note."""

    name: str
    start: float
    end: float
    note: str


@dataclass
class Progress:
    """A step in flight: `note` is what will be said of it, in a word or two; `detail` is a sentence for the terminal."""

    name: str
    status: Status
    note: str = ""
    detail: str = ""

    def update(self, text: str) -> None:
        """Show what is going on now. Only a terminal sees it."""
        self.status.update(f"[bold]{escape(self.name)}[/]  [dim]{escape(text)}[/]")


@dataclass
class Screen:
    """Prints steps and remembers them for the report."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def status(self, name: str) -> Iterator[Progress]:
        """Spin beside `name` while the block runs."""
        with self.console.status(f"[bold]{escape(name)}[/]", spinner="dots") as status:
            yield Progress(name, status)

    @contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Time a step, spin while it runs, print one line when it ends."""
        started = time.time()
        with self.status(name) as progress:
            try:
                yield progress
            except BaseException:
                self.console.print(f"[red]✖[/] {escape(name)}")
                raise
        self.add(name, started, time.time(), progress.note, progress.detail)

    def add(self, name: str, start: float, end: float, note: str, detail: str = "") -> None:
        """Record and print a finished step."""
        self.steps.append(Step(name, start, end, note))
        self.console.print(f"[green]✔[/] {escape(name):<16} [dim]{end - start:6.1f} s[/]  {escape(note)}")
        if detail:
            self.console.print(Padding(f"[dim]{escape(detail)}[/]", (0, 0, 0, 29)))

    def summary(self, claims: Sequence[Claim], links: Sequence[tuple[str, str]]) -> None:
        """Print what came true and where to look next: one screen."""
        held = all(claim.held for claim in claims)
        self.console.print()
        for claim in claims:
            mark = "[green]✔[/]" if claim.held else "[red]✖[/]"
            self.console.print(f"{mark} [bold]{escape(claim.text)}[/]")
            self.console.print(Padding(f"[dim]{escape(claim.seen)}[/]", (0, 0, 0, 2)))
        self.console.print()
        for name, where in links:
            self.console.print(f"  {name:<10} {escape(where)}", soft_wrap=True)
        self.console.print(f"\n[bold {'green' if held else 'red'}]{'All of it held.' if held else 'Not all of it held.'}[/]")
