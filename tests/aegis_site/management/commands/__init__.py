"""Tests of the commands that concern the whole product."""
