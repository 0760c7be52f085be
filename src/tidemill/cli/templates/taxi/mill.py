"""Arrival: predicts the minutes of a ride, from what is known at the pick-up time."""

from datetime import datetime

import narwhals as nw  # one expression language for Polars on the laptop and Spark on a cluster
import numpy as np

import tidemill as tm

mill = tm.Mill("{name}")

NEW_YORK = {"zone": "America/New_York", "ambiguous": "earliest", "nonexistent": "forward"}


class Ride(tm.Event):  # the contract of the stream
    picked_up_at: datetime = tm.event_time(**NEW_YORK)
    dropped_off_at: datetime = tm.field(**NEW_YORK)
    pickup_zone: str = tm.item()
    dropoff_zone: str
    passengers: float | None = None


rides = mill.stream("rides", Ride, key="_row", day_zone="America/New_York")


def minute_of_year(time):
    """Minutes since the start of the year, in UTC, computed with functions that both engines support."""
    part = nw.col(time).dt
    day, hour, minute = (whole.cast(nw.Int64) for whole in (part.ordinal_day(), part.hour(), part.minute()))
    return day * 1440 + hour * 60 + minute + part.second() / 60


@mill.table()
def trips(rides):
    """Plausible rides with their duration in minutes."""
    minutes = minute_of_year("dropped_off_at") - minute_of_year("picked_up_at")
    return rides.with_columns(minutes=minutes).filter(nw.col("minutes").is_between(1, 120)).drop("dropped_off_at")


mill.check(trips, tm.between("minutes", 1, 120), tm.like_history("row_count"))


@mill.features(entity="pickup_zone", window="28 days", every="1 day", ttl="3 days", owner="arrivals team")
def zone_pace(trips):
    """The number and mean duration of rides from a zone in the last four weeks, as known at each midnight."""
    return trips.group_by("pickup_zone").agg(zone_rides=nw.len(), zone_minutes=nw.col("minutes").mean())


@mill.on_demand(owner="arrivals team")  # the same code in training and in serving
def calendar(picked_up_at):
    """The hour and the day of the week in New York, approximately: five hours behind UTC."""
    local = picked_up_at - np.timedelta64(5, "h")
    hours = (local - local.astype("datetime64[D]")) / np.timedelta64(1, "h")
    return {"hour": hours, "weekday": (local.astype("datetime64[D]").astype(np.int64) + 3) % 7}


eta = mill.model(
    "eta",
    examples=trips,
    target="minutes",
    inputs=["pickup_zone", "dropoff_zone", "passengers"],
    features=[zone_pace, calendar],
    learn=tm.auto(minutes=2),  # or any estimator with fit and predict
    helps="Riders and drivers who plan by the predicted time.",
    could_harm="Riders in zones with few rides, where predictions are worse; drivers who are judged by them.",
)
