"""Files as a source: detection of formats, readers, mapping, types, and the state between two runs."""
