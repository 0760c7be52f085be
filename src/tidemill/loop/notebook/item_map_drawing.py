"""Item map as self-contained HTML for a notebook: a scatter plot with tooltips, and the same as a table.

Nothing external is loaded, and titles are text, never markup. In a viewer without scripts, the plot and the table
are still visible.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from importlib import resources

import msgspec

from tidemill.loop.notebook.html_table import folded, html_table
from tidemill.loop.notebook.item_names import ItemNames
from tidemill.models.recommender.item_map import ItemMap

WIDTH, HEIGHT, EDGE = 760, 540, 16
#: Colour-blind-safe colours (Okabe and Ito), and the colour of all other groups.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7B5E2A")
OTHER = "#A9AFB8"


@dataclass(frozen=True, eq=False)
class MapDrawing:
    """A map with the names of its items; displayed by a notebook, or returned by `html()`."""

    map: ItemMap
    names: ItemNames = field(default_factory=ItemNames)

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """One element with plot, list and table."""
        style = _asset("map.css")
        script = _asset("map.js")
        data = _in_script(self._data())
        mark = hashlib.sha256(data.encode()).hexdigest()[:12]
        return (
            f'<div class="tidemill-map" data-map="{mark}"><style>{style}</style>'
            f"<p>{escape(self._caption())}</p>"
            f'<div class="stage">{self._svg()}<div class="side"><input type="search" placeholder="find an item" '
            'aria-label="find an item"><div class="told" aria-live="polite">Point at an item to list its neighbours.'
            f"</div></div></div>{self._legend()}{self._table()}"
            f'<script type="application/json">{data}</script><script>{script.replace("MARK", mark)}</script></div>'
        )

    def _caption(self) -> str:
        found, n = self.map, len(self.map.items)
        rest = f"; {found.left_out:,} less popular or unknown ones are not shown" if found.left_out else ""
        return (
            f"{n:,} items by {found.source}, laid out by {found.method}{rest}. "
            "Items that the same users take are close. Size is popularity; directions and large distances mean nothing."
        )

    def _colours(self) -> dict[str, str]:
        """Group -> colour, for the largest groups."""
        counted = Counter(group for item in self.map.items if (group := self.names.group(item)))
        ranked = sorted(counted, key=lambda group: (-counted[group], group))
        return dict(zip(ranked, COLOURS, strict=False))

    def _svg(self) -> str:
        colours, found = self._colours(), self.map
        dots = []
        rows = zip(found.items, found.x.tolist(), found.y.tolist(), found.popularity.tolist(), strict=True)
        for item, x, y, popularity in rows:
            colour = colours.get(self.names.group(item), OTHER if colours else COLOURS[0])
            cx, cy = EDGE + x * (WIDTH - 2 * EDGE), HEIGHT - EDGE - y * (HEIGHT - 2 * EDGE)
            dots.append(
                f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{2.5 + 5 * popularity**0.5:.1f}" fill="{colour}">'
                f"<title>{escape(self.names(item))}</title></circle>"
            )
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Map of {len(found.items)} items">'
            f'<g class="lines"></g>{"".join(dots)}</svg>'
        )

    def _legend(self) -> str:
        colours = self._colours()
        if not colours:
            return ""
        entries = [
            f'<span><i style="background:{colour}"></i>{escape(group)}</span>' for group, colour in colours.items()
        ]
        shown = {self.names.group(item) for item in self.map.items}
        if shown - set(colours):
            entries.append(f'<span><i style="background:{OTHER}"></i>other</span>')
        return f'<p class="legend">{"".join(entries)}</p>'

    def _table(self) -> str:
        found = self.map
        rows = [
            (
                self.names(item),
                item,
                self.names.group(item),
                float(found.popularity[place]),
                float(found.x[place]),
                float(found.y[place]),
                "; ".join(f"{self.names(found.items[other])} {cosine:.2f}" for other, cosine in self._near(place))
                or "none",
            )
            for place, item in enumerate(found.items)
        ]
        heads = ["item", "id", "group", "popularity", "x", "y", "nearest neighbours (cosine)"]
        return folded(f"As a table ({len(rows):,} rows)", html_table(heads, rows))

    def _near(self, place: int) -> list[tuple[int, float]]:
        found = self.map
        pairs = zip(found.near[place].tolist(), found.cosines[place].tolist(), strict=True)
        return [(other, round(cosine, 3)) for other, cosine in pairs if cosine > 0]

    def _data(self) -> dict[str, object]:
        found = self.map
        return {
            "names": [self.names(item) for item in found.items],
            "ids": list(found.items),
            "groups": [self.names.group(item) for item in found.items],
            "near": [self._near(place) for place in range(len(found.items))],
        }


def _asset(name: str) -> str:
    return (resources.files("tidemill.loop") / "assets" / name).read_text(encoding="utf-8")


def _in_script(value: object) -> str:
    """JSON that cannot close the script element around it."""
    text = msgspec.json.encode(value).decode()
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
