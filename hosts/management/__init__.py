"""Commands that concern hosts."""
