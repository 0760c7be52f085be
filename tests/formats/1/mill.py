"""A small shop: reviews and items for a recommender, customers for a tabular model."""

from datetime import datetime

import lightgbm
import narwhals as nw

import tidemill as tm

mill = tm.Mill("kept")


class Review(tm.Event):
    user_id: str = tm.subject()
    item_id: str = tm.item()
    rating: float = tm.field(ge=1, le=5, unit="stars")
    reviewed_at: datetime = tm.event_time(zone="UTC")


class Item(tm.Event):
    item_id: str = tm.item()
    updated_at: datetime = tm.event_time(zone="UTC")
    category: str | None = None
    in_stock: bool = True


class Customer(tm.Event):
    customer_id: str = tm.subject()
    plan: str | None = None
    tenure: int = tm.field(ge=0, le=1200, unit="months")
    charge: float = tm.field(ge=0, le=10_000, unit="dollars")
    churned: str | None = None
    seen_at: datetime = tm.event_time(zone="UTC")


reviews = mill.stream("reviews", Review, key=("user_id", "item_id", "reviewed_at"))
items = mill.snapshot("items", Item, key="item_id")
customers = mill.snapshot("customers", Customer, key="customer_id")


@mill.table(by=["user_id", "item_id"])
def ratings(reviews):
    """The latest rating of each user for each item."""
    return reviews.unique(["user_id", "item_id"], keep="last", order_by=["reviewed_at", "_row"])


mill.check(ratings, tm.between("rating", 1, 5, share=0.95), tm.fresh("10 days"), tm.like_history("row_count"))


@mill.features(entity="user_id", window="90 days", every="1 day", ttl="2 days")
def taste(ratings):
    """How much and how kindly each user has rated in the last 90 days."""
    return ratings.group_by("user_id").agg(n_ratings=nw.len(), mean_rating=nw.col("rating").mean())


@mill.features(entity="item_id")
def facts(items):
    """What the slate may ask of an item."""
    return items.select("item_id", "category", "in_stock", "updated_at")


@mill.on_demand(owner="churn team")
def billing(tenure, charge):
    """What a customer has paid so far."""
    return {"paid": tenure * charge}


for_you = mill.recommender(
    "for_you",
    interactions=ratings,
    items=items,
    features=[taste, facts],
    learn=tm.cooccurrence(
        factors=0,
        spectral_share=0.0,
        damping=0.25,
        half_life=tm.grid("365 days", "1500 days"),
        gap="100 days",
        backward=1.0,
        recency="30 days",
        popularity_share=0.2,
        popularity_half_life="30 days",
    ),
    slate=tm.slate(
        retrieve=[tm.nearest(200), tm.trending(days=7)],
        filter=[tm.unseen(), tm.eligible("in_stock", missing=True)],
        order=[tm.diverse(by="category")],
        fallback=tm.popular(days=30),
    ),
    refresh="1 day",
    helps="Customers find things that they would not have looked for.",
    could_harm="Narrow choice; crowding out small makers.",
)

churn = mill.model(
    "churn",
    examples=customers,
    target="churned",
    positive="yes",
    inputs=["plan", "tenure", "charge"],
    features=[billing],
    learn=lightgbm.LGBMClassifier(n_estimators=8, num_leaves=5, verbose=-1, n_jobs=1),
    slices=["plan"],
    helps="Customers who would leave for a reason that can be mended.",
    could_harm="Those who are never called because the model is wrong about people like them.",
)
