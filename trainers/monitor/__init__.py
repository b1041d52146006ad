"""What is watched while a run trains: its rates, its time, whether its numbers are finite."""
