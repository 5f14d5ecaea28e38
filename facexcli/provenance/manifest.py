"""What a manifest says: what was opened, what was done to it and with what, in C2PA's words (C2PA 2.2, 18)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facexcli import __version__
from facexcli.provenance.run_id import run_id_text
from facexcli.provenance.tags import digital_source_type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN_LABEL = "facexcli.run"
"""The assertion with facex's own facts."""
CANVAS_LABEL = "canvas"
CLAIM_GENERATOR = "facex"


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A file that a result was made from.

    Attributes:
        role: what it was: target, portrait, source 1, driving video ... It stands for the file's name, which says more
            about a person than readers of the result need to know.
        path: the file, or a folder of pictures.
        fingerprint: size and SHA-256 of its content, "<bytes>-<hex>".
    """

    role: str
    path: Path
    fingerprint: str

    @property
    def sha256(self) -> str:
        return self.fingerprint.rpartition("-")[2]


@dataclass(frozen=True, slots=True)
class Statement:
    """All that the manifest of a run says.

    Attributes:
        task: swap or reenact.
        canvas: what was opened and edited.
        others: what else went into the result.
        engine: its name.
        generated: whether a trained model made the pixels of the face.
        weights: SHA-256 by name, of the engine's weights.
        perception: the models that found the faces.
        plan_fingerprint: SHA-256 of the plan.
        run_id: 32 bits, those of the watermark.
        label: the label that the result carries, or "".
    """

    task: str
    canvas: Ingredient
    others: tuple[Ingredient, ...]
    engine: str
    generated: bool
    plan_fingerprint: str
    run_id: int
    weights: Mapping[str, str] = field(default_factory=dict)
    perception: tuple[str, ...] = ()
    label: str = ""


_DONE = {
    "swap": "The face of a person was replaced by that of another.",
    "head-swap": "The head of a person was replaced by that of another.",
    "edit": "Attributes of a person's face were changed.",
    "reenact": "The face of a portrait was made to move like that of another recording.",
}


def definition(statement: Statement) -> dict[str, Any]:
    """The manifest as c2pa's Builder takes it, without its ingredients, which are labelled by `ingredient_label`."""
    agent = {"name": CLAIM_GENERATOR, "version": __version__}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [CANVAS_LABEL]}}
    edited: dict[str, Any] = {
        "action": "c2pa.edited",
        "digitalSourceType": digital_source_type(statement.generated),
        "softwareAgent": agent,
        "description": _DONE.get(statement.task, f"Faces were edited ({statement.task})."),
    }
    if statement.others:
        labels = [ingredient_label(number) for number in range(len(statement.others))]
        edited["parameters"] = {"ingredientIds": labels}
    return {
        "claim_generator_info": [agent],
        "title": f"{statement.task}, facex",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, edited]}},
            {"label": RUN_LABEL, "data": _facts(statement)},
        ],
    }


def ingredient_label(number: int) -> str:
    """What links ingredient `number` of `Statement.others` to the action."""
    return f"other-{number}"


def _facts(statement: Statement) -> dict[str, Any]:
    inputs = [{"role": each.role, "sha256": each.sha256} for each in (statement.canvas, *statement.others)]
    facts: dict[str, Any] = {
        "schema": 1,
        "task": statement.task,
        "engine": statement.engine,
        "made_by_trained_model": statement.generated,
        "weights": [{"name": name, "sha256": digest} for name, digest in statement.weights.items()],
        "perception": list(statement.perception),
        "plan_sha256": statement.plan_fingerprint,
        "run_id": run_id_text(statement.run_id),
        "inputs": inputs,
    }
    return facts | ({"label": statement.label} if statement.label else {})
