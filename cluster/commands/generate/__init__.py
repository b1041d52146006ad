"""What trained systems are used for; a module for each system's uses."""
