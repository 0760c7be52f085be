"""Online features: materialisation and the metadata that the server reads."""
