"""Tables of other systems, by kind: the back-ends of the port `external`."""
