"""Rate and memory of the sources of `must convert`."""
