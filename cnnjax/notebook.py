"""What notebooks and IPython show of experiments, studies, plans, networks, trained networks, reports and pictures.

Tables are Markdown, which notebooks draw in their own style, and plain text on a terminal. `register` is called when
cnnjax is imported in IPython; elsewhere objects are shown as Python shows them. One that cannot be shown as a table is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnjax.analysis.layers import Analysis
    from cnnjax.config import Config
    from cnnjax.documents.document import Grid, TextBlock
    from cnnjax.experiment import Experiment
    from cnnjax.inspection.inspect import Inspection
    from cnnjax.launch.sweep import Outcome
    from cnnjax.reporting.writing import Summary
    from cnnjax.run.trained import Trained
    from cnnjax.study.plan import Plan
    from cnnjax.study.study import Study

WIDTH = 120
"""Characters of a line of plain text."""


def register(shell: Any) -> None:
    """Let an IPython shell show what `SHOWN` and `PICTURED` name."""
    formatters = shell.display_formatter.formatters
    for (module, name), blocks in SHOWN.items():
        formatters["text/markdown"].for_type_by_name(module, name, _as_markdown(blocks))
        formatters["text/plain"].for_type_by_name(module, name, _as_text(blocks))
    for (module, name), drawn in PICTURED.items():
        formatters["text/html"].for_type_by_name(module, name, drawn)


def _as_markdown(blocks: Callable[[Any], Sequence[TextBlock]]) -> Callable[[Any], str]:
    def shown(of: Any) -> str:
        from cnnjax.documents.markdown import markdown

        return markdown(blocks(of))

    return shown


def _as_text(blocks: Callable[[Any], Sequence[TextBlock]]) -> Callable[[Any, Any, bool], None]:
    def shown(of: Any, printer: Any, cycle: bool) -> None:
        from cnnjax.console import as_text
        from cnnjax.documents.terminal_text import terminal

        printer.text(as_text(terminal(blocks(of), WIDTH), WIDTH))

    return shown


def _experiment(experiment: Experiment) -> list[TextBlock]:
    return [_settings(experiment, "experiment")]


def _settings(config: Config, title: str, *, leave_out: Sequence[str] = ()) -> Grid:
    """The fields of a config that differ from their defaults."""
    from cnnjax.documents.document import Column, Grid
    from cnnjax.study.values import text

    rows = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value != field.get_default(call_default_factory=True) and name not in leave_out:
            rows.append((name, text(value)))
    return Grid(title, (Column("field"), Column("value")), rows)


def _study(study: Study) -> list[TextBlock]:
    from cnnjax.documents.document import Column, Grid, Remarks
    from cnnjax.study.values import text

    axes = [(axis, ", ".join(map(text, values))) for axis, values in study.levels.items()]
    arms, seeds = len(study.arms), len(study.seed_values)
    trials = f"{arms} arms x {seeds} seeds = {arms * seeds} trials; cnnjax.plan(study) checks them"
    blocks: list[TextBlock] = [Grid("axes", (Column("axis"), Column("values")), axes)] if axes else []
    own = _settings(study, "study", leave_out=("experiment", "axes", "seeds"))
    blocks += [own] if own.rows else []
    return [*blocks, _settings(study.experiment, "base experiment"), Remarks((trials,))]


def _plan(plan: Plan) -> list[TextBlock]:
    from cnnjax.study.plan_table import arms_grid, remarks

    return [*([arms_grid(plan)] if plan.trials else []), *remarks(plan)]


def _analysis(analysis: Analysis) -> list[TextBlock]:
    from cnnjax.analysis.layer_table import document

    return list(document(analysis).blocks)


def _outcome(outcome: Outcome) -> list[TextBlock]:
    from cnnjax.documents.document import Remarks

    counts = {"trained": outcome.done, "finished before": outcome.skipped, "failed": outcome.failed}
    said = ", ".join(f"{len(ids)} {what}" for what, ids in counts.items() if ids) or "nothing to train"
    lines = [f"{outcome.out}: {said}; {len(outcome.plan.pruned)} arms pruned"]
    lines += [f"{id}: {error}" for id, error in outcome.errors.items()]
    return [Remarks(tuple(lines))]


def _summary(summary: Summary) -> list[TextBlock]:
    from cnnjax.documents.document import Remarks

    findings = summary.findings
    arms = next((finding for finding in findings.every if finding.name == "arms"), None)
    grids = [] if arms is None else list(arms.grids)
    return [Remarks(tuple(findings.head)), *grids, Remarks((f"the whole report: {summary.page}",))]


def _trained(trained: Trained) -> list[TextBlock]:
    from cnnjax.documents.document import Column, Grid

    resolved = trained.resolved
    rows = [
        ("weights", trained.described()),
        ("images", f"{'x'.join(map(str, resolved.input_shape))} of {resolved.data}"),
        ("classes", ", ".join(trained.classes[:10]) + ", ..." * (len(trained.classes) > 10) or "none"),
    ]
    return [
        Grid("trained network", (Column("what"), Column("value")), rows),
        _settings(trained.experiment, "experiment"),
    ]


def _pictures(inspection: Inspection) -> str:
    from cnnjax.documents.html import escape

    shown = []
    for name in inspection.made:
        entry = inspection.record.pictures[name]
        pixels = base64.b64encode((inspection.folder / entry.file).read_bytes()).decode()
        source = f"data:image/png;base64,{pixels}"
        shown.append(f'<figure><img src="{source}" alt="{escape(entry.title)}" style="max-width: 100%"></figure>')
    return "".join(shown) + f"<p>{escape(str(inspection.folder))}</p>"


SHOWN: MappingProxyType[tuple[str, str], Callable[[Any], Sequence[TextBlock]]] = MappingProxyType(
    {
        ("cnnjax.experiment.experiment", "Experiment"): _experiment,
        ("cnnjax.study.study", "Study"): _study,
        ("cnnjax.study.planned", "Plan"): _plan,
        ("cnnjax.analysis.layers", "Analysis"): _analysis,
        ("cnnjax.launch.sweep", "Outcome"): _outcome,
        ("cnnjax.reporting.writing", "Summary"): _summary,
        ("cnnjax.run.trained", "Trained"): _trained,
    }
)
"""What is shown of a class, as tables and remarks, by its module and name."""
PICTURED: MappingProxyType[tuple[str, str], Callable[[Any], str]] = MappingProxyType(
    {("cnnjax.inspection.inspect", "Inspection"): _pictures}
)
"""What is shown of a class as HTML."""
