"""Model signature: request fields, feature look-ups, on-demand features and outputs.

It is all that a server needs to serve a request: it reads the request's fields, looks up values in the views, runs the
on-demand functions, and passes the `inputs` to the model in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import msgspec

from tidemill.core.kinds import FORMER_KINDS, Kind
from tidemill.core.record_format import Record, VersionedRecord

if TYPE_CHECKING:
    WrittenKind = Kind
else:  # releases older than `core.kinds` use `text`, `number`, `whole` and `flag`
    WrittenKind = Literal[(*get_args(Kind), *FORMER_KINDS)]
#: `binary` predicts the probability of the positive class, `classes` one per class, `number` and `count` a value.
Task = Literal["binary", "classes", "number", "count"]


class InputField(Record, frozen=True):
    """One field of a request, a feature or a response."""

    name: str = ""
    #: A `Kind`; former names are read and converted.
    kind: WrittenKind = "str"
    #: Whether a request may omit it or send null.
    optional: bool = True
    unit: str | None = None
    #: `subject`: a person's identifier, replaced by its surrogate first; `event_time`: the time of the request.
    role: Literal["subject", "item", "event_time"] | None = None

    def __post_init__(self) -> None:
        if self.kind in FORMER_KINDS:
            msgspec.structs.force_setattr(self, "kind", FORMER_KINDS[self.kind])


class FeatureLookup(Record, frozen=True):
    """Online look-up of features by an entity of the request."""

    view: str = ""
    #: The request field with the entity's id; if that is a person, the name is also the kind of its surrogate.
    entity: str = ""
    #: Model input -> column of the view.
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    #: TTL in microseconds: an older value is missing for the model; `None`: no expiry.
    ttl_us: int | None = None


class OnDemandFeature(Record, frozen=True):
    """Features that a function of the project computes at request time from the request and the look-ups."""

    function: str = ""
    #: Path of its source module in the release.
    module: str = ""
    #: Names of its inputs, in the order of its parameters, and its outputs.
    takes: tuple[str, ...] = ()
    gives: tuple[InputField, ...] = ()
    #: Names of the pre-trained models that its source uses, each in the bundle's folder `pretrained/<name>`.
    pretrained: tuple[str, ...] = ()


class Signature(VersionedRecord, frozen=True):
    """Inputs and outputs of a tabular model."""

    KIND: ClassVar[str] = "signature"
    REQUIRED: ClassVar[tuple[str, ...]] = ("task", "target")

    #: Format 2 uses the kind names of `core.kinds`; readers of format 1 know only the former names.
    format: int = 2
    task: Task = "number"
    target: str = ""
    #: Fields of a request.
    request: tuple[InputField, ...] = ()
    #: Inputs of the model, in its order: from the request, the look-ups and the functions.
    inputs: tuple[InputField, ...] = ()
    outputs: tuple[InputField, ...] = ()
    lookups: tuple[FeatureLookup, ...] = ()
    computed: tuple[OnDemandFeature, ...] = ()
    #: The classes in the order of the probabilities; in a binary task the second one is positive.
    classes: tuple[str, ...] = ()

    @property
    def probability_classes(self) -> tuple[str, ...]:
        """The class of each column of probabilities, in their order: of a binary task only the positive one."""
        return self.classes[1:] if self.task == "binary" else self.classes


def outputs_of(task: Task) -> tuple[InputField, ...]:
    """The fields of a response, named as in the result of `TabularModel.predict`.

    >>> [field.name for field in outputs_of("binary")]
    ['probability', 'label']
    """
    if task == "binary":
        return (InputField(name="probability", kind="float", optional=False), InputField(name="label", kind="str"))
    if task == "classes":
        return (InputField(name="probabilities", kind="float", optional=False), InputField(name="label", kind="str"))
    return (InputField(name="value", kind="float", optional=False),)
