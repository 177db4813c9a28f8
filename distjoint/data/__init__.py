"""Everything before training: text, graph, alignment, counting, partitions; the dataset's format and its reader."""
