"""What all trainings share: data, schedule, pool, precision, checkpoint, loop. It knows no model."""
