"""A small site whose users chat over loquat."""
