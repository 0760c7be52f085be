"""The recipe of a tabular model, as data: encoders, members, weights and a link.

Encoders turn inputs into numbers, members turn numbers into margins, and the prediction is the link of their weighted
sum. It contains no code; one short Python file can evaluate it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tidemill.core.records.signature import InputField, Task

FORMAT = 1
#: Separator between the strings of a crossed key.
CROSS = "\x1f"


class _Encoder(msgspec.Struct, frozen=True, kw_only=True, tag_field="encode"):
    """Computes one float64 column of the design matrix."""


class NumberColumn(_Encoder, frozen=True, tag="number"):
    """A number, integer, flag (0 or 1) or time (seconds since 1970) unchanged; missing is NaN.

    The other encoders that read texts also read integers and flags: as `12`, `true` and `false`.
    """

    input: str


class Ordinal(_Encoder, frozen=True, tag="code"):
    """The code of a text; a missing or unseen text is NaN."""

    input: str
    codes: dict[str, int]


class OneHot(_Encoder, frozen=True, tag="is"):
    """1 if the input is this text (`None`: missing, or not among `known`), else 0."""

    input: str
    value: str | None
    known: tuple[str, ...] = ()


class TargetMean(_Encoder, frozen=True, tag="mean"):
    """A target mean per string, or per combination of strings; `other` for unseen ones. A missing string counts
    as the empty string.
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
    """Computes margins of rows: float64 (n, 1), or (n, n_classes)."""

    name: str
    #: Transform of a margin before it is weighted: `square` (of the positive part) if the member was trained on
    #: square roots of the target.
    then: Literal["", "square", "exp"] = ""


class TreesMember(_Member, frozen=True, tag="lightgbm"):
    """LightGBM's text in `file`, over these columns of the design matrix."""

    file: str
    columns: tuple[int, ...]


class ObliviousTreesMember(_Member, frozen=True, tag="oblivious"):
    """Symmetric trees of one depth d: at level l of tree t, `columns[splits[t, l]] > borders[t, l]` sets bit l of the
    index into `leaves[t]`. Files `NAME.splits.npy` int32 (t, d), `NAME.borders.npy` float32 (t, d), `NAME.leaves.npy`
    float64 (t, 2^d, k). A missing value counts as -inf if `missing` is `low`. The margin is bias + scale · sum.
    Values are compared as float32, as in CatBoost; a border of +inf is never exceeded. `NAME.counts.npy` float64
    (t, 2^d), the weight of the training rows in each leaf, is present if predictions can be explained.
    """

    columns: tuple[int, ...]
    bias: tuple[float, ...]
    scale: float = 1.0
    missing: Literal["low", "high"] = "low"


class AdditiveTerm(msgspec.Struct, frozen=True, kw_only=True):
    """The contribution of one column: linear between ascending `knots`, constant beyond them, `missing` for NaN.

    `values` has one row per knot, with one number per margin.
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
    """An ONNX graph in `file`. It reads model inputs unchanged, each as a column (n, 1) named like the input, or with
    `columns` one float32 matrix of the design matrix as the graph's first input. Times are seconds since 1970, or
    microseconds if the graph reads int64. If a binary task has two output columns, the second is used.
    """

    file: str
    #: Name of the graph's output; (n, k) or (n,).
    output: str
    columns: tuple[int, ...] | None = None
    #: Strings that represent missing values; missing numbers are NaN.
    missing_text: str = ""
    #: The integer for a missing value if the graph reads int64; a missing flag is false there.
    missing_whole: int = 0


Member = TreesMember | ObliviousTreesMember | AdditiveTerms | OnnxGraphMember


class TabularRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """`tabular.json`. Margin = bias + Σ weight · member, for each class; the prediction is link(margin).

    `link`: `sigmoid` and `softmax` give probabilities, `exp` a count, `identity` the value; `none` is for a single
    member that already returns probabilities. A `classes` task of two classes may have one margin, that of the second
    class.
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
    #: Minimum probability for the positive class.
    threshold: float = 0.5
    #: Predictions are clipped to this range, if given.
    low: float | None = None
    high: float | None = None
    #: Versions of the libraries that trained the members.
    made_with: dict[str, str] = {}
