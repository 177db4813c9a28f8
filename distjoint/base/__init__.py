"""What every room may import: errors, array types, progress, the machine, options of functions, a Ray session."""
