"""Model signature: request fields, feature look-ups, on-demand features and the output, in order.

A server needs nothing else to serve a request: it reads the request's fields, looks values up in the views, runs the
on-demand functions, and passes the `inputs` to the model in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import msgspec

from tidemill.core.kinds import FORMER_KINDS, Kind
from tidemill.core.record_format import Record, VersionedRecord

if TYPE_CHECKING:
    WrittenKind = Kind
else:  # releases from before `core.kinds` say `text`, `number`, `whole` and `flag`
    WrittenKind = Literal[(*get_args(Kind), *FORMER_KINDS)]
#: `binary` gives the probability of the positive class, `classes` one for each class, `number` and `count` a value.
Task = Literal["binary", "classes", "number", "count"]


class InputField(Record, frozen=True):
    """One value of a request, of a feature, or of an answer."""

    name: str = ""
    #: One of `Kind`: a former word is read as the kind that it stood for, and written as that.
    kind: WrittenKind = "str"
    #: May be left out of a request, or be null.
    optional: bool = True
    unit: str | None = None
    #: `subject` names a person, whose surrogate is made before anything else; `event_time` is when the request counts.
    role: Literal["subject", "item", "event_time"] | None = None

    def __post_init__(self) -> None:
        if self.kind in FORMER_KINDS:
            msgspec.structs.force_setattr(self, "kind", FORMER_KINDS[self.kind])


class FeatureLookup(Record, frozen=True):
    """Features that are looked up online by an entity of the request."""

    view: str = ""
    #: The request's field that names the entity, and the kind of surrogate that it becomes where it is a person.
    entity: str = ""
    #: Input of the model -> column of the view.
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    #: Microseconds after which a value counts as expired, and is missing to the model; `None`: never.
    ttl_us: int | None = None


class OnDemandFeature(Record, frozen=True):
    """Features that a function of the project makes at answer time, from the request and what was looked up."""

    function: str = ""
    #: Path of its source among the release's modules.
    module: str = ""
    #: Names of what it is given, in the order of its parameters, and what it gives.
    takes: tuple[str, ...] = ()
    gives: tuple[InputField, ...] = ()
    #: Names in its source of pre-trained models, each in the bundle's folder `pretrained/<name>`.
    pretrained: tuple[str, ...] = ()


class Signature(VersionedRecord, frozen=True):
    """How a tabular model is asked and what it answers."""

    KIND: ClassVar[str] = "signature"
    REQUIRED: ClassVar[tuple[str, ...]] = ("task", "target")

    #: Format 2 has the words of `core.kinds`; a reader of format 1 knows only the former ones.
    format: int = 2
    task: Task = "number"
    target: str = ""
    #: What a request brings.
    request: tuple[InputField, ...] = ()
    #: What the model reads, in its order: from the request, the lookups and the functions.
    inputs: tuple[InputField, ...] = ()
    outputs: tuple[InputField, ...] = ()
    lookups: tuple[FeatureLookup, ...] = ()
    computed: tuple[OnDemandFeature, ...] = ()
    #: The classes in the order of the probabilities; of a binary task the second one is positive.
    classes: tuple[str, ...] = ()


def outputs_of(task: Task) -> tuple[InputField, ...]:
    """The fields of an answer: what `TabularModel.predict` gives by name.

    >>> [field.name for field in outputs_of("binary")]
    ['probability', 'label']
    """
    if task == "binary":
        return (InputField(name="probability", kind="float", optional=False), InputField(name="label", kind="str"))
    if task == "classes":
        return (InputField(name="probabilities", kind="float", optional=False), InputField(name="label", kind="str"))
    return (InputField(name="value", kind="float", optional=False),)
