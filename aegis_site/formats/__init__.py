"""How dates and times are shown: Django asks for a package with one module per language."""
