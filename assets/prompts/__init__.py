"""Prompt lists and grammars."""
