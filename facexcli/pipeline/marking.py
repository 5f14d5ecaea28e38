"""How a run marks its result: by tags, by a signed manifest in the file or beside it, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facexcli.config import data_folder
from facexcli.errors import OutputError, UsageError
from facexcli.media.atomic import AtomicFile
from facexcli.media.container import os_reason
from facexcli.media.picture_files import PicturePattern
from facexcli.media.pipe import STANDARD
from facexcli.provenance.identity import identity_of
from facexcli.provenance.library import sidecar_of, takes_manifest
from facexcli.provenance.manifest import Ingredient, Statement
from facexcli.provenance.run_id import run_id_text
from facexcli.provenance.signing import ManifestMaker, check_identity
from facexcli.provenance.tags import digital_source_type, synthetic_tags, synthetic_xmp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from facexcli.engines.base import EngineSpec
    from facexcli.media.atomic import Finish
    from facexcli.pipeline.inputs import InputFile
    from facexcli.pipeline.plan import Plan
    from facexcli.provenance.identity import Identity

OFF_WARNING = (
    "--provenance off: nothing in the result says that it is synthetic; whoever publishes it has to "
    "(in the EU: AI Act, article 50)"
)
_PIPE_WARNING = "what goes into a pipe cannot be signed: tags in it say that it is synthetic, and no manifest"


def signing_identity(plan: Plan) -> Identity | None:
    """Who signs the result of a plan, tried out; None where nobody does. Raises what `identity_of` does, and its check.

    To be asked before the work is begun. Raises UsageError for a label in metadata that are switched off.
    """
    if plan.settings.provenance.mark == "off" and plan.settings.label.text and plan.settings.label.style == "metadata":
        raise UsageError("--label-as metadata writes into the marks that --provenance off leaves out", "leave out one")
    if plan.settings.provenance.mark == "off" or plan.output == STANDARD:
        return None
    identity = identity_of(plan.settings.provenance, data_folder())
    check_identity(identity)
    return identity


def check_sidecar_free(plan: Plan, overwrite: bool) -> None:
    """Raises OutputError where the manifest would lie beside the result, and something lies there already."""
    sidecar = sidecar_of(plan.output)
    needed = plan.settings.provenance.mark == "on" and plan.output != STANDARD and not takes_manifest(plan.output)
    if needed and sidecar.exists() and not overwrite:
        raise OutputError(f"{sidecar} exists, and is where the manifest of {plan.output.name} goes",
                          "use --overwrite to replace it, or another name with -o")  # fmt: skip


def left_behind(output: Path) -> list[str]:
    """A warning where a manifest of an older file would be taken for that of a new one which has none."""
    sidecar = sidecar_of(output)
    if output == STANDARD or takes_manifest(output) or not sidecar.exists():
        return []
    return [f"{sidecar} is the manifest of another file, and does not fit {output.name}: remove it"]


class Marking:
    """Marks the result of one run; a context manager that leaves no half-written sidecar.

    `finish` is for the writer of the result; `commit` is called when the result is in its place.
    """

    def __init__(
        self,
        plan: Plan,
        spec: EngineSpec,
        perception: tuple[str, ...],
        identity: Identity | None,
        weights: Mapping[str, str] | None = None,
    ) -> None:
        self._plan, self._generated, self._identity = plan, spec.generates, identity
        self._sidecar: AtomicFile | None = None
        self._maker: ManifestMaker | None = None
        if identity is not None:
            thumbnails = plan.settings.provenance.thumbnails == "on"
            self._maker = ManifestMaker(
                _statement(plan, spec, perception, weights or {}), identity, thumbnails=thumbnails
            )

    @property
    def tags(self) -> Mapping[str, str]:
        """Metadata of a video; none where the user wants none."""
        if self._plan.settings.provenance.mark == "off":
            return {}
        return synthetic_tags(self._plan.task, self._plan.engine, self._generated, self._plan.settings.label.text)

    @property
    def xmp(self) -> str:
        """The same for a picture."""
        if self._plan.settings.provenance.mark == "off":
            return ""
        return synthetic_xmp(self._plan.task, self._plan.engine, self._generated, self._plan.settings.label.text)

    @property
    def finish(self) -> Finish | None:
        """Signs a finished file before it gets its name; None where nothing is signed."""
        return None if self._maker is None else self._sign

    @property
    def warnings(self) -> list[str]:
        """What the user has to know, as far as it is known; those of signing come last."""
        if self._plan.settings.provenance.mark == "off":
            return [OFF_WARNING, *left_behind(self._plan.output)]
        if self._maker is None:
            return [_PIPE_WARNING]
        return self._maker.warnings

    def facts(self) -> Mapping[str, str]:
        """What a result says of its marking."""
        if self._plan.settings.provenance.mark == "off":
            return {"marked": "off"}
        facts = {**self.tags, "digital_source_type": digital_source_type(self._generated)}
        if self._identity is None:
            return {"marked": "tags", **facts}
        inside = takes_manifest(self._plan.output)
        return {
            "marked": "manifest",
            "manifest": "embedded" if inside else str(sidecar_of(self._plan.output)),
            "signer": "local authority" if self._identity.is_local else str(self._identity.origin),
            "run_id": run_id_text(self._plan.run_id),
            "plan_sha256": self._plan.fingerprint,
            **facts,
        }

    def commit(self) -> None:
        """Put the sidecar in its place, where there is one. Raises OutputError."""
        if self._sidecar is not None:
            self._sidecar.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sidecar is not None:
            self._sidecar.discard()

    def _sign(self, path: Path) -> None:
        assert self._maker is not None
        output = self._plan.output
        if takes_manifest(path):
            self._maker.embed(path, path if PicturePattern.of(output) else output)
            return
        manifest = self._maker.detached(path, output)
        self._sidecar = AtomicFile(sidecar_of(output))
        try:
            self._sidecar.temporary.write_bytes(manifest)
        except OSError as error:
            raise OutputError(f"{self._sidecar.path} cannot be written: {os_reason(error)}") from error


def _statement(plan: Plan, spec: EngineSpec, perception: tuple[str, ...], weights: Mapping[str, str]) -> Statement:
    return Statement(
        task=plan.task,
        canvas=_ingredient("target" if plan.driving is None else "portrait", plan.canvas),
        others=_others(plan),
        engine=spec.name,
        generated=spec.generates,
        plan_fingerprint=plan.fingerprint,
        run_id=plan.run_id,
        weights=weights,
        perception=perception,
        label=plan.settings.label.text,
    )


def _others(plan: Plan) -> tuple[Ingredient, ...]:
    """What else is seen in the result. Stills that only say who is meant are no part of it."""
    stills = [*plan.sources, *(still for row in plan.maps for still in row.sources)] if plan.driving is None else []
    named = {still.fingerprint: still for still in stills}
    others = [_ingredient(f"source {number}", still) for number, still in enumerate(named.values(), start=1)]
    others += [_ingredient(f"source of {attribute}", still) for attribute, still in plan.queries.items()]
    if plan.driving is not None:
        others.append(_ingredient("driving video", plan.driving))
    return tuple(others)


def _ingredient(role: str, file: InputFile) -> Ingredient:
    return Ingredient(role, file.path, file.fingerprint)
