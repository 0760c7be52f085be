"""The recipe of a tabular model, as data: encoders, members, weights and a link.

Encoders turn inputs into numbers, members turn numbers into margins, and the prediction is the link of their weighted
sum. It contains no code; one short file of Python can evaluate it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tidemill.core.records.signature import InputField, Task

FORMAT = 1
#: Separator between the strings of a crossed key.
CROSS = "\x1f"


class _Encoder(msgspec.Struct, frozen=True, kw_only=True, tag_field="encode"):
    """Makes one float64 column of the design matrix."""


class NumberColumn(_Encoder, frozen=True, tag="number"):
    """A number, integer, flag (0 or 1) or time (seconds since 1970) as it is; missing is NaN.

    The other encoders that read a text read whole numbers and flags too: as `12`, `true` and `false`.
    """

    input: str


class Ordinal(_Encoder, frozen=True, tag="code"):
    """The number of a text; one that is missing or was never seen is NaN."""

    input: str
    codes: dict[str, int]


class OneHot(_Encoder, frozen=True, tag="is"):
    """1 where the input is this text (`None`: is missing or was never seen among `known`), else 0."""

    input: str
    value: str | None
    known: tuple[str, ...] = ()


class TargetMean(_Encoder, frozen=True, tag="mean"):
    """A target mean per string, or per combination of strings; `other` for unseen ones. Missing strings count
    as the empty one.
    """

    inputs: tuple[str, ...]
    values: dict[str, float]
    other: float


class DatePart(_Encoder, frozen=True, tag="part"):
    """A part of a time in UTC: `hour` with its fraction, `weekday` (Monday 0), `month`, `day` of the month, `year`."""

    input: str
    part: Literal["hour", "weekday", "month", "day", "year"]


Encoder = NumberColumn | Ordinal | OneHot | TargetMean | DatePart


class _Member(msgspec.Struct, frozen=True, kw_only=True, tag_field="member"):
    """Makes margins of rows: float64 (n, 1), or (n, n_classes)."""

    name: str
    #: Transform of a margin before it is weighted: `square` (of what is above zero) where the target was trained as
    #: a square root.
    then: Literal["", "square", "exp"] = ""


class TreesMember(_Member, frozen=True, tag="lightgbm"):
    """LightGBM's text in `file`, over these columns of the design matrix."""

    file: str
    columns: tuple[int, ...]


class ObliviousTreesMember(_Member, frozen=True, tag="oblivious"):
    """Symmetric trees of one depth d: at level l of tree t, `columns[splits[t, l]] > borders[t, l]` sets bit l of the
    place in `leaves[t]`. Files `NAME.splits.npy` int32 (t, d), `NAME.borders.npy` float32 (t, d), `NAME.leaves.npy`
    float64 (t, 2^d, k). A missing value counts as -inf where `missing` is `low`. The margin is bias + scale · sum.
    Values are compared as float32, as CatBoost does; a border of +inf is never passed. `NAME.counts.npy` float64
    (t, 2^d), the weight of the rows that came to each leaf, is there where answers can be explained.
    """

    columns: tuple[int, ...]
    bias: tuple[float, ...]
    scale: float = 1.0
    missing: Literal["low", "high"] = "low"


class AdditiveTerm(msgspec.Struct, frozen=True, kw_only=True):
    """What one column adds: linear between `knots` (rising) and constant beyond them; `missing` where it is NaN.

    `values` has one row for each knot, of one number for each margin.
    """

    column: int
    knots: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    missing: tuple[float, ...]
    #: The mean of the term over the training rows; contributions are relative to it. Empty: 0.
    mean: tuple[float, ...] = ()


class AdditiveTerms(_Member, frozen=True, tag="additive"):
    """A sum of one-column curves: a spline regression of degree 1, or with one knot and no curve a constant."""

    terms: tuple[AdditiveTerm, ...]
    bias: tuple[float, ...]


class OnnxGraphMember(_Member, frozen=True, tag="onnx"):
    """An ONNX graph in `file`. It reads model inputs as they are, each as a column (n, 1) named like the input, or with
    `columns` one float32 matrix of the design matrix under the graph's first input name. Times are seconds since
    1970, and microseconds where the graph asks for int64. Of two columns in a binary task the second is taken.
    """

    file: str
    #: The graph's output that is taken; (n, k) or (n,).
    output: str
    columns: tuple[int, ...] | None = None
    #: Strings that stand for missing values; missing numbers are NaN.
    missing_text: str = ""
    #: The integer for a missing value where the graph expects int64; a missing flag is false there.
    missing_whole: int = 0


Member = TreesMember | ObliviousTreesMember | AdditiveTerms | OnnxGraphMember


class TabularRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """`tabular.json`. Margin = bias + Σ weight · member, for each class; the answer is link(margin).

    `link`: `sigmoid` and `softmax` give probabilities, `exp` a count, `identity` the value; `none` of a single member
    that gives probabilities already.
    """

    format: int = FORMAT
    task: Task
    target: str
    inputs: tuple[InputField, ...]
    classes: tuple[str, ...] = ()
    encoders: tuple[Encoder, ...] = ()
    members: tuple[Member, ...]
    weights: tuple[float, ...]
    bias: tuple[float, ...]
    link: Literal["identity", "sigmoid", "softmax", "exp", "none"]
    #: Probability from which on the label is the positive class.
    threshold: float = 0.5
    #: Predictions are clipped to this range, where there is one.
    low: float | None = None
    high: float | None = None
    #: Versions of the libraries that trained the members.
    made_with: dict[str, str] = {}
