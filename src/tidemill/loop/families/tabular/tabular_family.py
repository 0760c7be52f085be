"""Tabular family: models whose bundle is a recipe of encoders, members and weights, which evaluates without pickles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tidemill import training
from tidemill.core.records.release import Release
from tidemill.loop.families.tabular.row_family import RowFamily
from tidemill.models.tabular import TabularModel, open_tabular, write_tabular
from tidemill.release import ExportSummary, export_tabular

if TYPE_CHECKING:
    from tidemill.training.tabular.foreign.foreign_model import ImportDescription, ImportedModel, ImportSource


class TabularFamily(RowFamily):
    """Tabular models: `tm.auto()`, estimators, pre-trained graphs and imported models."""

    name: ClassVar = "tabular"

    def write(self, model: TabularModel, folder: Path) -> None:
        write_tabular(model, folder)

    def open(self, folder: Path) -> TabularModel:
        return open_tabular(folder)

    def imported(
        self, source: ImportSource, described: ImportDescription, rows: Any, bundle: Path, *, trust_pickle: bool
    ) -> ImportedModel:
        found = training.import_tabular(source, described, rows, trust_pickle=trust_pickle)
        write_tabular(found.model, bundle, found.golden)
        return found

    def export(self, release: Release, bundle: Path, modules: Path | None, folder: Path) -> ExportSummary:
        return export_tabular(release, bundle, modules, folder)
