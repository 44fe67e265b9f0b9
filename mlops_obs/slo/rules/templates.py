"""The template snippets that Prometheus fills into an alert's text while it fires.

They stand where the Python engine has values, so both say the same words. The trap is Go's `with`: it takes 0 for "nothing
there", which is why a budget of exactly 0 reads "exhausted" and never "0%". A query in a template that finds nothing must say so,
or the page would have a hole.
"""

from __future__ import annotations

from mlops_obs import metric_names as names
from mlops_obs.slo import annotations as words
from mlops_obs.slo.annotations import Facts
from mlops_obs.slo.rules.names import HOUR, number, window_name
from mlops_obs.slo.spec import SLO

_LEFT_OR_EXHAUSTED = (
    "{{{{ with . | first | value }}}}{{{{ if gt . 0.0 }}}}{{{{ {humanize} . }}}}{{{{ else }}}}exhausted{{{{ end }}}}"
    "{{{{ else }}}}exhausted{{{{ end }}}}{{{{ else }}}}unknown{{{{ end }}}}"
)


def burn_facts(slo: SLO) -> Facts:
    """Return the facts of a burn alert, whose value is the burn rate over the long window."""
    # %q: the value of a label may hold a quote, which would end the matcher.
    of = f'service=\\"{slo.service}\\",slo=\\"{slo.name}\\"' + "".join(f",{one}=%q" for one in slo.group_by)
    args = "".join(f" $labels.{one}" for one in slo.group_by)
    remaining = f"{names.SLO_BUDGET_REMAINING}{{{of}}}"
    needed = f'printf "floor({remaining} * {slo.period_seconds} / %f)"{args} $value'
    group = "".join(f"{{{{ with $labels.{one} }}}} {{{{ . }}}}{{{{ end }}}}" for one in slo.group_by or (names.REVISION,))
    return _facts(
        service=slo.service,
        who=slo.service + group,
        burn_rate='{{ $value | printf "%.1f" }}',
        error_ratio='{{ with printf "vector(%f * '
        + number(slo.budget)
        + ')" $value | query }}{{ . | first | value | humanizePercentage }}{{ end }}',
        budget_left=f'{{{{ with printf "{remaining}"{args} | query }}}}' + _LEFT_OR_EXHAUSTED.format(humanize="humanizePercentage"),
        time_to_exhaustion=f"{{{{ with {needed} | query }}}}" + _LEFT_OR_EXHAUSTED.format(humanize="humanizeDuration"),
    )


def budget_facts(slo: SLO) -> Facts:
    """Return the facts of an alert whose value is the share of the budget that is left to the service as a whole."""
    of = f'service=\\"{slo.service}\\",slo=\\"{slo.name}\\"' + "".join(f',{one}=\\"\\"' for one in slo.group_by)
    burn = f"{names.SLO_BURN_RATE}{{{of}}}"
    ratio = f"{names.SLO_ERROR_RATIO.format(window=window_name(slo))}{{{of}}}"
    needed = f'printf "floor(%f * {slo.period_seconds} / ({burn} > 0))" $value'
    return _facts(
        service=slo.service,
        who=slo.service,
        burn_rate=f'{{{{ with "{burn}" | query }}}}{{{{ . | first | value | printf "%.1f" }}}}{{{{ else }}}}0.0{{{{ end }}}}',
        error_ratio=f'{{{{ with "{ratio}" | query }}}}{{{{ . | first | value | humanizePercentage }}}}{{{{ else }}}}0%{{{{ end }}}}',
        budget_left="{{ if gt $value 0.0 }}{{ $value | humanizePercentage }}{{ else }}exhausted{{ end }}",
        time_to_exhaustion=(
            "{{ if gt $value 0.0 }}{{ with "
            + needed
            + " | query }}{{ . | first | value | humanizeDuration }}{{ else }}nothing burns now{{ end }}{{ else }}exhausted{{ end }}"
        ),
    )


def platform_facts(who: str) -> Facts:
    """Return the facts of an alert about the platform itself, which has no budget; `who` is a template."""
    return _facts(service=None, who=f"{who}{{{{ with $labels.canary }}}} {{{{ . }}}}{{{{ end }}}}")


def _facts(
    *, service: str | None, who: str, burn_rate: str = "", error_ratio: str = "", budget_left: str = "", time_to_exhaustion: str = ""
) -> Facts:
    return Facts(
        burn_rate=burn_rate,
        error_ratio=error_ratio,
        budget_left=budget_left,
        time_to_exhaustion=time_to_exhaustion,
        revision='{{ or $labels.revision "all" }}' if service else '{{ or $labels.revision $labels.canary "all" }}',
        who=who,
        action_taken=_action_taken(service),
        dashboard_revision='{{ or $labels.revision "$__all" }}',
        from_ms=_clock(HOUR),
        to_ms=_clock(0),
    )


def _action_taken(service: str | None) -> str:
    matcher = f'service=\\"{service}\\"' if service else "service=%q"
    actions = "|".join(words.REMEDIES)
    query = f'time() - {names.ROLLOUT_ACTION_TIME.name}{{{matcher},{names.ACTION}=~\\"{actions}\\"}}'
    text = f'"bottomk(1, {query} <= {words.REMEDY_MEMORY_SECONDS})"'
    found = text if service else f'printf {text} (or $labels.service "")'
    said = "".join(
        ("{{ if" if index == 0 else "{{ else if") + f' eq .Labels.action "{action}" }}}}{word}'
        for index, (action, word) in enumerate(words.REMEDIES.items())
    )
    return (
        "{{ with "
        + found
        + " | query }}{{ with first . }}"
        + said
        + '{{ end }} {{ .Labels.revision }} {{ .Value | printf "%.0f" }} s ago{{ end }}{{ else }}none yet{{ end }}'
    )


def _clock(ago: int) -> str:
    return f'{{{{ with "vector((time() - {ago}) * 1000)" | query }}}}{{{{ . | first | value | printf "%.0f" }}}}{{{{ end }}}}'
