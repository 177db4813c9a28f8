"""The command line: one file a group of commands, each of which parses, calls and prints."""

from distjoint.cli.app import main

__all__ = ["main"]
