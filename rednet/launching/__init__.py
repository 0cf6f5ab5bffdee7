"""Launch trainings: one by Slurm, or all of the paper's table, here or by Slurm."""
