"""What all trainings share: data, schedule, pool, precision, checkpoint, loop; no model."""
