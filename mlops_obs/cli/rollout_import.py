"""`obs rollout import`: AnalysisTemplates and Rollouts of Argo, Canaries and MetricTemplates of Flagger, as a rollout document of ours."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.rollout.foreign.drafts import Draft

LEFT_OUT = 3  # exit code: some metric has no counterpart
_LATER = {"canary": "v2", "package": "v2"}  # given when the rollout is started


def register(app: typer.Typer) -> None:
    """Add the command to `obs rollout`."""
    app.command("import")(import_)


def import_(
    tool: Annotated[str, typer.Argument(help="argo or flagger.")],
    files: Annotated[list[Path], typer.Argument(help="Their files, or folders of them; several documents in one are read.")],
    out: Annotated[Path | None, typer.Option(help="File to write; a folder if there are several rollouts. Default: print.")] = None,
    service: Annotated[str, typer.Option(help="Label `service` of the metrics. Default: the name of their resource.")] = "",
    values: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE fills a mark of their queries; {{revision}} in it is the canary.")
    ] = None,
    on_fail: Annotated[str, typer.Option("--on-fail", help="What an imported gate does when it fails: hold or rollback.")] = "hold",
    output: Annotated[str, typer.Option("-o", "--output", help="Format: yaml or json.")] = "yaml",
    losses: Annotated[str, typer.Option("--losses", help="How to list what is not carried over on stderr: text, json or none.")] = "text",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Read analyses of Argo Rollouts or Flagger as gates of ours; list what is not the same. Exit code 3: a metric was left out."""
    from mlops_obs.cli.slo.import_ import check_losses, deliver, read_sources, tell
    from mlops_obs.rollout.foreign.carry import TOOLS, carry
    from mlops_obs.rollout.foreign.drafts import Options

    known = next((one for one in TOOLS if one == tool), None)
    if known is None:
        raise UsageError("OBS-CLI-001", f"unknown tool {tool!r}", todo=f"write {' or '.join(TOOLS)}")
    for given, allowed, option in ((on_fail, ("hold", "rollback"), "--on-fail"), (output, ("yaml", "json"), "--output")):
        if given not in allowed:
            raise UsageError("OBS-CLI-001", f"unknown {option} {given!r}", todo=f"write {' or '.join(allowed)}")
    check_losses(losses)
    fails = cast(Literal["hold", "rollback"], on_fail)
    drafts, lost = carry(known, read_sources(files), Options(service, _values(values or []), fails, _promql_problem))
    if not drafts:
        tell(lost, losses)
        raise UsageError("OBS-IMP-004", "no rollout could be carried over", todo="see the list above", where=str(files[0]))
    texts = [_text(one, known, files, output) for one in drafts]
    for one, text in zip(drafts, texts, strict=True):
        _prove(one, text)
    deliver(_targets(drafts, texts, out, output), _joined(texts, output), force=force)
    tell(lost, losses)
    if any(one.kind == "left out" for one in lost):
        raise typer.Exit(LEFT_OUT)


def _values(given: Sequence[str]) -> dict[str, str]:
    for one in given:
        if "=" not in one or one.startswith("="):
            raise UsageError("OBS-CLI-001", f"--set {one!r} is not NAME=VALUE", todo="write for example --set service-name=my-model")
    return dict(one.split("=", 1) for one in given)


def _promql_problem(query: str) -> str:
    import promql_parser

    try:
        promql_parser.parse(query)
    except ValueError as error:
        return str(error).splitlines()[0]
    return ""


def _text(draft: Draft, tool: str, files: Sequence[Path], output: str) -> str:
    import json

    from mlops_obs.slo.foreign.yaml_writer import document

    if output == "json":
        return json.dumps(draft.body(), indent=2, ensure_ascii=False, default=_number) + "\n"
    head = [
        f"Imported by `obs rollout import {tool}` from {', '.join(path.name for path in files)}; what differs was listed by the command.",
        "Start it with: obs rollout start -f FILE --revision NAME --package PACKAGE",
    ]
    return document(draft.body(), head)


def _number(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)


def _prove(draft: Draft, text: str) -> None:
    """Prove that what will be written is a rollout document, once it has its revision and package."""
    from mlops_obs.adapters.yaml_documents import parse_documents
    from mlops_obs.rollout.spec.document import parse_document

    read = parse_documents(text, draft.name)[0].value
    parse_document({**_LATER, **(read if isinstance(read, dict) else {})}, lambda _keys: draft.where)


def _joined(texts: Sequence[str], output: str) -> str:
    if output == "yaml":
        return "---\n".join(texts)
    return texts[0] if len(texts) == 1 else "[" + ",\n".join(text.rstrip() for text in texts) + "]\n"


def _targets(drafts: Sequence[Draft], texts: Sequence[str], out: Path | None, output: str) -> dict[Path, str]:
    if out is None:
        return {}
    if len(texts) == 1 and not out.is_dir():
        return {out: texts[0]}
    if out.suffix in (".yaml", ".yml", ".json"):
        names = ", ".join(one.name for one in drafts)
        raise UsageError("OBS-IMP-007", f"several rollouts ({names}) do not fit one file", todo="name a folder", where=str(out))
    return {out / f"{one.name}.{output}": text for one, text in zip(drafts, texts, strict=True)}
