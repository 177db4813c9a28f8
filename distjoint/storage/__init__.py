"""Files wherever they are: URLs to filesystems, retries, timeouts, credentials. No other room knows a store."""

from distjoint.storage.location import Location
from distjoint.storage.options import Options, parse_options, use_options
from distjoint.storage.urls import expand, is_marker, locate

__all__ = ["Location", "Options", "expand", "is_marker", "locate", "parse_options", "use_options"]
