"""Request of an exported model: the columns that it takes, and the functions that compute its other inputs."""

from __future__ import annotations

import msgspec

from tidemill.core.errors import ReleaseError
from tidemill.core.kinds import Kind
from tidemill.core.records.release import Release
from tidemill.core.records.signature import InputField, OnDemandFeature
from tidemill.models.tabular.on_demand_function import kinds_of


class ExportColumn(msgspec.Struct, frozen=True):
    """A column of the rows."""

    name: str
    kind: Kind
    #: Whether each row needs it, and whether its value may then still be missing.
    required: bool
    null: bool


class ExportOutput(msgspec.Struct, frozen=True):
    """An input of the model that a function computes."""

    name: str
    kind: Kind


class ExportFunction(msgspec.Struct, frozen=True):
    """An on-demand function, in the source `file` whose hash is pinned; `takes` are its arguments and their kinds."""

    function: str
    file: str
    sha256: str
    takes: tuple[tuple[str, Kind], ...]
    gives: tuple[ExportOutput, ...]
    pretrained: tuple[str, ...]


class ExportRequest(msgspec.Struct, frozen=True):
    """`request.json`: what `reading.py` takes, checks and computes before the model predicts."""

    columns: tuple[ExportColumn, ...]
    #: Fields of the server's request that the export does not use: they only select what the server looks up.
    unused: tuple[str, ...]
    #: The column that is the current time where it is missing, as on the server.
    event_time: str | None
    functions: tuple[ExportFunction, ...]
    #: The classes of the columns of probabilities, in their order: of a binary task the positive one.
    classes: tuple[str, ...]


def request_of(release: Release) -> ExportRequest:
    """What the exported model of a release takes.

    A column is required as on the server, where it is a field of the request; what the server looks up has to be given,
    but may be null. Raises `ReleaseError` where a function takes a person's identifier.
    """
    signature = release.signature
    if signature is None:
        raise ReleaseError(f"{release.name} has no signature")
    kinds = kinds_of(signature)
    used = {field.name for field in signature.inputs} | {name for one in signature.computed for name in one.takes}
    people = [field.name for field in signature.request if field.role == "subject" and field.name in used]
    if people:
        raise ReleaseError(
            f"{release.name} predicts from the surrogate of {people[0]!r}, which only the project's key makes",
            tip="serve it with: tidemill serve",
        )
    looked_up = [name for lookup in signature.lookups for name in lookup.columns]
    taken = [_column(field) for field in signature.request if field.name in used]
    return ExportRequest(
        columns=(*taken, *(ExportColumn(name, kinds[name], required=True, null=True) for name in looked_up)),
        unused=tuple(field.name for field in signature.request if field.name not in used),
        event_time=next((field.name for field in signature.request if field.role == "event_time"), None),
        functions=tuple(_function(release, one, kinds) for one in signature.computed),
        classes=signature.probability_classes,
    )


def _column(field: InputField) -> ExportColumn:
    return ExportColumn(field.name, field.kind, required=not field.optional, null=field.optional)


def _function(release: Release, computed: OnDemandFeature, kinds: dict[str, Kind]) -> ExportFunction:
    return ExportFunction(
        computed.function,
        computed.module,
        release.rule_modules.get(computed.module, ""),
        tuple((name, kinds[name]) for name in computed.takes),
        tuple(ExportOutput(field.name, field.kind) for field in computed.gives),
        computed.pretrained,
    )
