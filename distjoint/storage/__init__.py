"""URLs to filesystems, with retries, timeouts and credentials: the only room that knows stores."""

from distjoint.storage.location import Location, Options, locate

__all__ = ["Location", "Options", "locate"]
