"""Models against each other: tests, rankings and their stability, power. Patients are the unit."""
