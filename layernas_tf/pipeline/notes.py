"""Warnings that the reader of a search's results must not miss."""

from __future__ import annotations

from collections.abc import Sequence

from layernas_tf.costs.latency import LatencyTable
from layernas_tf.pipeline.finals import Finals
from layernas_tf.report import ExportedFile
from layernas_tf.report.wording import cost_text, share_text
from layernas_tf.space.budget import LATENCY, PEAK_MEMORY
from layernas_tf.space.types import Metric
from layernas_tf.study.study import NOT_BELIEVED, Study


def notes_about(study: Study, finals: Finals) -> list[str]:
    """Warnings that the reader of the results must not miss."""
    notes = []
    if finals.winner.trial is None and finals.winner.quality is not None:
        notes.append(
            "The winner was no trial of the search: it is what the learned reward "
            "expects the most of inside this budget, and was first trained after it."
        )
    elif finals.winner.trial is None:
        notes.append(
            "No candidate of the search was inside the budget when it ended: the "
            "winner is the best prefix found, completed inside the budget, and was "
            "first trained after the search. More trials would search it to the end."
        )
    if not study.exact:
        notes.append(
            "The algorithm did not propose again what this study's first trials say "
            "(another version?): it was told their results and went on from there."
        )
    if finals.baseline is not None and not finals.baseline_trainings:
        notes.append(f"The {finals.baseline.name} could not be trained for comparison.")
    if finals.baseline is not None and finals.baseline.width is not None:
        if LATENCY in study.space.chain.metrics:
            notes.append(
                f"The latency of the {finals.baseline.name} is estimated: the table "
                "has times of blocks of other sizes."
            )
    seeds = len(finals.winner_trainings)
    if seeds > 1:
        notes.append(
            f"Test accuracies are means of {seeds} trainings; the exported weights are "
            f"those of the first (seed {finals.winner_trainings[0].seed})."
        )
    earlier = sum(trial.reason == NOT_BELIEVED for trial in study.trials)
    failed = sum(trial.state == "failed" for trial in study.trials) - earlier
    if earlier:
        notes.append(
            f"{earlier} of {len(study.trials)} trials were evaluated before an "
            "accepted change of the search: they are on record, but not believed."
        )
    if failed:
        notes.append(f"{failed} of {len(study.trials)} trials failed.")
    return notes


def joined_notes(notes: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """The notes about several winners: those about all of them once.

    Args:
      notes: For each winner its budget and its notes.
    """
    every = [set(own) for _, own in notes]
    shared = set.intersection(*every) if every else set()
    joined = [note for note in notes[0][1] if note in shared] if notes else []
    for budget, own in notes:
        joined += [f"{budget}: {note}" for note in own if note not in shared]
    return joined


def latency_notes(
    study: Study,
    finals: Finals,
    files: Sequence[ExportedFile],
    table: LatencyTable | None,
) -> list[str]:
    """Compares the winner's latency on this machine with the latency table's."""
    if table is None:
        return []
    expected = study.space.costs(finals.winner.architecture)[LATENCY]
    text = f"The latency table gives the winner {expected:.3g} ms ({table})"
    for file in files:
        if file.format == f"TFLite {table.format}" and file.latency_ms is not None:
            text += f"; {file.name} took {file.latency_ms:.3g} ms here, {file.note}"
    return [f"{text}."]


def memory_notes(
    study: Study, finals: Finals, files: Sequence[ExportedFile]
) -> list[str]:
    """Compares the memory of the winner's activations with what the search counted.

    Only for a budget on this memory: TFLite's planner may leave gaps, which no sum or
    maximum along the chain can take into account.
    """
    for budget in finals.target.budgets:
        for file in files:
            if budget.metric != PEAK_MEMORY or file.format != "TFLite int8":
                continue
            if file.arena_bytes is None:
                continue
            metric = Metric(PEAK_MEMORY, unit="bytes")
            taken = cost_text(file.arena_bytes, metric)
            counted = study.space.costs(finals.winner.architecture)[PEAK_MEMORY]
            text = (
                f"The activations of {file.name} take {taken} in TFLite's interpreter; "
                f"the search counted {cost_text(counted, metric)}"
            )
            if file.arena_bytes > budget.high:
                text += f". That is outside {budget}: search again with a lower limit"
            return [f"{text}."]
    return []


_AGREEING = 0.97
"""A quantized file that agrees with the Keras model on less of the test images is
named."""


def agreement_notes(files: Sequence[ExportedFile]) -> list[str]:
    """Quantized files that say other classes than the Keras model, and what to try."""
    others = {"int8": "qat_int8", "qat_int8": "float16"}
    notes = []
    for file in files:
        form = file.format.removeprefix("TFLite ")
        if file.agreement is None or file.agreement >= _AGREEING or form == "float32":
            continue
        text = (
            f"{file.name} gives the Keras model's class on only "
            f"{share_text(file.agreement)} of the test images (expected at least "
            f"{_AGREEING:.0%}); its test accuracy is {share_text(file.test_accuracy)}."
        )
        other = others.get(form, "float16")
        if form == "int8":
            text += (
                " Try --formats=float32,int8,qat_int8 (a short training with "
                "rounding), or dynamic or float16 where integers are not needed."
            )
        elif other != form:
            text += f" Try {other}, or longer final trainings (--final_epochs)."
        else:
            text += " Try float32: its numbers are out of float16's range."
        notes.append(text)
    return notes
