"""Spaces that `--space` can name, a YAML file each; their comments say why each key is there."""
