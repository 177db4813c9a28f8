"""What an environment has and lacks for distjoint: versions, GPUs, memory, disk, storage, a Ray cluster."""
