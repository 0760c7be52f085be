"""The tables of `tabular.py`: inputs, target and split, as training and test examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples

ADULT = [
    *("age", "work_class", "weight", "education", "education_years", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_a_week", "country", "income"),
]
#: Trips of other lengths are dirt.
SHORTEST_MIN, LONGEST_MIN = 1, 120
BUSIEST_ZONES = 60

Split = tuple[Examples, Examples]


def examples(
    columns: dict[str, Any], target: Any, task: Task, classes: tuple[str, ...] = (), time: Any = None
) -> Examples:
    """Examples of Arrow columns: texts stay texts, times times, everything else is a number."""
    fields, arrays = [], []
    for name, values in columns.items():
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
        if pa.types.is_timestamp(array.type):
            fields.append(InputField(name=name, kind="time"))
            arrays.append(array.cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")))
        elif pa.types.is_string(array.type):
            fields.append(InputField(name=name, kind="str"))
            arrays.append(array)
        else:
            fields.append(InputField(name=name, kind="float"))
            arrays.append(array.cast(pa.float64()))
    inputs = pa.table(arrays, names=list(columns))
    return Examples(tuple(fields), inputs, np.asarray(target, np.float64), task, classes, time=time)


def outer(rows: Examples, folds: int = 5) -> Iterator[Split]:
    """Each fold held out once; drawn at random, the same every time."""
    of = np.random.default_rng(0).permutation(len(rows)) % folds
    for fold in range(folds):
        yield rows.take(np.flatnonzero(of != fold)), rows.take(np.flatnonzero(of == fold))


def adult(data: Path) -> Iterator[Split]:
    """Census income: who earns more than 50,000 a year. The split is the publisher's."""

    def part(name: str) -> Examples:
        null = csv.ConvertOptions(null_values=["?", " ?"], strings_can_be_null=True)
        rows = csv.read_csv(data / "adult" / f"adult_{name}.csv.gz", csv.ReadOptions(column_names=ADULT), None, null)
        rich = pc.match_substring(rows["income"], ">50K").to_numpy(zero_copy_only=False)
        return examples({one: rows[one] for one in ADULT[:-1]}, rich, "binary", ("<=50K", ">50K"))

    yield part("train"), part("test")


def churn(data: Path) -> Iterator[Split]:
    """Telco customers: who left. The customer's id is an input too, for models to leave out."""
    null = csv.ConvertOptions(null_values=["", " "], column_types={"TotalCharges": pa.float64()})
    rows = csv.read_csv(data / "telco-churn" / "telco_customer_churn.csv", None, None, null)
    left = pc.equal(rows["Churn"], "Yes").to_numpy(zero_copy_only=False)
    names = [name for name in rows.column_names if name != "Churn"]
    yield from outer(examples({name: rows[name] for name in names}, left, "binary", ("stays", "leaves")))


def _trips(data: Path, month: int) -> pa.Table:
    file = data / "nyc-green-taxi" / f"green_tripdata_2021-{month:02}.parquet"
    trips = pq.ParquetFile(file).read()
    picked = trips["lpep_pickup_datetime"]
    inside = pc.and_(pc.equal(pc.year(picked), 2021), pc.equal(pc.month(picked), month))
    return trips.filter(inside)


def taxi(data: Path) -> Iterator[Split]:
    """Green taxi trips: how many minutes they take, from what is known when they begin. By time: May after March."""

    def months(*numbers: int) -> Examples:
        trips = pa.concat_tables([_trips(data, month) for month in numbers], promote_options="permissive")
        picked = trips["lpep_pickup_datetime"].cast(pa.int64()).to_numpy()
        minutes = (trips["lpep_dropoff_datetime"].cast(pa.int64()).to_numpy() - picked) / 60e6
        ok = np.flatnonzero((minutes >= SHORTEST_MIN) & (minutes <= LONGEST_MIN))
        trips, picked, minutes = trips.take(pa.array(ok)), picked[ok], minutes[ok]
        columns = {
            "from_zone": trips["PULocationID"].cast(pa.string()),
            "to_zone": trips["DOLocationID"].cast(pa.string()),
            "hour": picked // 3_600_000_000 % 24,
            "weekday": (picked // 86_400_000_000 + 3) % 7,
            "passengers": trips["passenger_count"],
        }
        return examples(columns, minutes, "number", time=picked)

    yield months(1, 2, 3), months(5)


def trips(data: Path) -> Iterator[Split]:
    """Trips that begin in a zone within an hour, of the busiest zones: counts, most of them zero. By time, as above."""

    def of_months(*numbers: int) -> tuple[Any, Any]:
        rows = pa.concat_tables([_trips(data, month) for month in numbers], promote_options="permissive")
        hours = rows["lpep_pickup_datetime"].cast(pa.int64()).to_numpy() // 3_600_000_000
        return rows["PULocationID"].to_numpy(), hours

    def grid(zones: Any, hours: Any, busiest: Any) -> Examples:
        first, last = hours.min(), hours.max()
        place = {zone: at for at, zone in enumerate(busiest.tolist())}
        at = np.asarray([place.get(zone, -1) for zone in zones.tolist()])
        counts = np.zeros((len(busiest), last - first + 1))
        np.add.at(counts, (at[at >= 0], hours[at >= 0] - first), 1)
        when = np.tile(np.arange(first, last + 1), len(busiest)) * 3_600_000_000
        names = np.repeat(busiest.astype(str), last - first + 1)
        columns = {"zone": pa.array(names.tolist()), "hour": pa.array(when).cast(pa.timestamp("us"))}
        return examples(columns, counts.ravel(), "count", time=when)

    zones, hours = of_months(1, 2, 3)
    known, times = np.unique(zones, return_counts=True)
    busiest = np.sort(known[np.argsort(-times, kind="stable")[:BUSIEST_ZONES]])
    yield grid(zones, hours, busiest), grid(*of_months(5), busiest)


def movielens(data: Path) -> Iterator[Split]:
    """Stars that a person gives a film; the last fifth of the ratings, and half of its people came after the split."""
    folder = data / "movielens-100k"

    def read(name: str, names: list[str], by: str) -> pa.Table:
        reading = csv.ReadOptions(column_names=names, encoding="latin-1")
        return csv.read_csv(folder / name, reading, csv.ParseOptions(delimiter=by))

    ratings = read("u.data", ["user", "item", "stars", "unix_s"], "\t").sort_by([("unix_s", "ascending")])
    people = read("u.user", ["user", "age", "gender", "occupation", "zip"], "|").drop_columns(["zip"])
    rows = ratings.join(people, "user").sort_by([("unix_s", "ascending"), ("user", "ascending"), ("item", "ascending")])
    columns = {
        "user": rows["user"].cast(pa.string()),
        "item": rows["item"].cast(pa.string()),
        **{name: rows[name] for name in ("age", "gender", "occupation")},
    }
    time = rows["unix_s"].to_numpy() * 1_000_000
    every = examples(columns, rows["stars"].to_numpy(), "number", time=time)
    cut = int(len(every) * 0.8)
    yield every.take(np.arange(cut)), every.take(np.arange(cut, len(every)))


def bundled(name: str) -> Iterator[Split]:
    """A table that comes with scikit-learn, in five outer folds."""
    from sklearn import datasets

    loaded = getattr(datasets, f"load_{name}")()
    columns = {f"x{at}": loaded.data[:, at] for at in range(loaded.data.shape[1])}
    if name == "diabetes":
        yield from outer(examples(columns, loaded.target, "number"))
        return
    classes = tuple(str(one) for one in loaded.target_names)
    yield from outer(examples(columns, loaded.target, "binary" if len(classes) == 2 else "classes", classes))


#: Those that the recipe was made on, and from `trips` on those that it was not.
TABLES = {
    "adult": adult,
    "churn": churn,
    "taxi": taxi,
    "trips": trips,
    "movielens": movielens,
    "breast_cancer": lambda data: bundled("breast_cancer"),
    "diabetes": lambda data: bundled("diabetes"),
    "digits": lambda data: bundled("digits"),
    "wine": lambda data: bundled("wine"),
}
