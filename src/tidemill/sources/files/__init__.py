"""Files as a source: format detection, readers, mapping, types, and the state between two runs."""
