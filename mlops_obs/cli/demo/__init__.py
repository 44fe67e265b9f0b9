"""`obs demo`: the whole loop on one machine, judged at its end by what was really observed."""

from __future__ import annotations

import signal
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlops_obs.cli.demo.loop import Loop, Settings

app = typer.Typer(add_completion=False)


class Platform(StrEnum):
    """What serves the model."""

    ray = "ray"
    kserve = "kserve"


@app.command()
def demo(
    on: Annotated[Platform, typer.Option(help="ray: Ray Serve; kserve: custom resources on a real Kubernetes API server.")] = Platform.ray,
    api_server: Annotated[
        Path | None,
        typer.Option(help="For kserve: folder whose `start DIR PORT` runs the API server (default: ../shared/k8s)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated lender, the trainings and the callers.")] = 7,
    out: Annotated[Path, typer.Option(help="Folder for everything the run writes. An earlier run there is replaced.")] = Path("out/demo"),
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Leave everything running at the end, until Ctrl-C.")] = False,
    data: Annotated[Path | None, typer.Option(help="Your own event table instead of the simulated one.")] = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="Use the embedded engine even where Prometheus is installed.")] = False,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the model service; 0 takes a free one.")] = 0,
    inbox_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the on-call inbox; 0 takes a free one.")] = 0,
) -> None:
    """Run the whole loop: features, training, serving, a good model promoted, a broken one paged about and rolled back.

    Ends with exit code 0 only if v2 was promoted, v3 was rolled back, exactly one page arrived, and no request of the
    stable path failed. 1: something else happened. 2: wrong usage. 130: interrupted.
    """
    from mlops_obs.cli.demo import folder
    from mlops_obs.cli.demo.loop import Settings
    from mlops_obs.cli.demo.report import write_report
    from mlops_obs.cli.demo.screen import Screen
    from mlops_obs.cli.demo.story import tell
    from mlops_obs.errors import UsageError

    root = folder.repository()
    if data is not None and not data.is_file():
        raise UsageError("OBS-DEMO-009", "there is no such file", where=str(data), todo="pass a Parquet or CSV file with --data")
    folder.check_port(http_port, "--http-port")
    folder.check_port(inbox_port, "--inbox-port")
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(number, _interrupt)
    out = out.resolve()
    screen = Screen()
    settings = Settings(out, root, seed, data.resolve() if data else None, http_port, inbox_port, embedded=embedded)
    with folder.claim(out), _loop(on, settings, api_server) as loop:
        claims = tell(loop, screen)
        report = write_report(loop, screen)
        links = [("report", str(report)), ("logs", str(out / "logs"))]
        if keep_running:
            links += [("service", loop.url), ("inbox", loop.inbox), ("try", f"OBS_ENV={loop.env_file} .venv/bin/obs rollout history")]
        screen.summary(claims, links)
        if keep_running:
            screen.console.print("\nEverything keeps running. Ctrl-C ends it.")
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    raise typer.Exit(0 if all(claim.held for claim in claims) else 1)


def _loop(on: Platform, settings: Settings, api_server: Path | None) -> Loop:
    """Return the loop on the platform that was chosen. Raises UsageError OBS-DEMO-012 if there is no API server to start."""
    from mlops_obs.cli.demo.kserve_loop import KServeLoop
    from mlops_obs.cli.demo.loop import Loop
    from mlops_obs.errors import UsageError

    if on is Platform.ray:
        return Loop(settings)
    server = (api_server or settings.repository.parent / "shared" / "k8s").resolve()
    if not (server / "start").is_file():
        raise UsageError("OBS-DEMO-012", "there is no API server to start", where=str(server), todo="pass its folder with --api-server")
    loop = KServeLoop(settings)
    loop.api_server = server
    return loop


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
