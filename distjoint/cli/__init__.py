"""The command line: one file a group of commands, each of which parses, calls and prints."""

from distjoint.cli.leave import program as main

__all__ = ["main"]
