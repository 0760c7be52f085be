"""Owner of a lake on a server: one mill, whose ledger says what is published there."""

from __future__ import annotations

import msgspec

from tidemill.core.errors import NoSuchObject, SettingError
from tidemill.core.record_format import decode_record
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.stores import MillIdentity, Stores

#: The object with the owner's name and id.
OWNER = "_tidemill/mill.json"


def claim_lake(stores: Stores) -> None:
    """Make a lake on a server this mill's. Raises `SettingError` if it is another one's, because each would overwrite
    what the other publishes.
    """
    if PortOpener(stores.settings).place("lake") is not None:
        return
    own = MillIdentity(id=stores.identity.id, name=stores.identity.name)
    try:
        owner = _owner(stores)
    except NoSuchObject:
        stores.objects.put(OWNER, msgspec.json.encode(own))
        owner = _owner(stores)  # another one may have been first
    if owner.id != own.id:
        raise SettingError(
            f"the lake {stores.settings.lake} belongs to another mill, {owner.name!r} with the id {owner.id}",
            tip="a lake has one ledger: give this project a prefix of its own",
        )


def _owner(stores: Stores) -> MillIdentity:
    return decode_record(stores.objects.get(OWNER), MillIdentity, OWNER)
