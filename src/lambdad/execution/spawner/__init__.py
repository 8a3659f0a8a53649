"""The small separate process that forks, isolates, limits and kills."""
