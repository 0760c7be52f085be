"""The shop: its streams, tables, features and recommender."""

from datetime import datetime

import narwhals as nw  # one expression language for Polars on the laptop and Spark on a cluster

import tidemill as tm

mill = tm.Mill("{name}")


class Review(tm.Event):  # the contract of the stream
    user_id: str = tm.subject()  # a person: replaced by a surrogate everywhere, never in statistics or logs
    item_id: str = tm.item()
    rating: float = tm.field(ge=1, le=5, unit="stars")
    reviewed_at: datetime = tm.event_time(zone="UTC")


class Item(tm.Event):
    item_id: str = tm.item()
    updated_at: datetime = tm.event_time(zone="UTC")
    category: str | None = None
    in_stock: bool = True


reviews = mill.stream("reviews", Review, key=("user_id", "item_id", "reviewed_at"))
items = mill.snapshot("items", Item, key="item_id")


@mill.table(by=["user_id", "item_id"])  # only the keys that an increment touches are recomputed
def ratings(reviews):
    """The latest rating of each user for each item."""
    return reviews.unique(["user_id", "item_id"], keep="last", order_by=["reviewed_at", "_row"])


mill.check(ratings, tm.between("rating", 1, 5, share=0.95), tm.freshness("10 days"), tm.like_history("row_count"))


@mill.features(entity="user_id", window="90 days", every="1 day", ttl="2 days")
def taste(ratings):  # sees the rows known at each midnight, and nothing later
    """The number and the mean of each user's ratings in the last 90 days."""
    return ratings.group_by("user_id").agg(n_ratings=nw.len(), mean_rating=nw.col("rating").mean())


@mill.features(entity="item_id")
def facts(items):
    """The facts of an item that the slate uses."""
    return items.select("item_id", "category", "in_stock", "updated_at")


for_you = mill.recommender(
    "for_you",
    interactions=ratings,
    items=items,
    features=[taste, facts],  # looked up online by the slate
    learn=tm.cooccurrence(),  # or tm.blend(), tm.auto(), …; open settings are chosen on validation days
    slate=tm.slate(  # the rules: candidates from the index, facts from the feature store
        retrieve=[tm.nearest(200), tm.trending(days=7)],
        filter=[tm.unseen(), tm.eligible("in_stock", missing=True)],
        order=[tm.diverse(by="category")],
        fallback=tm.popular(days=30),
    ),
    helps="Customers find things that they would not have looked for.",  # who is served, who could be harmed:
    could_harm="Narrow choice; crowding out small makers.",  # both are required for a release
)
