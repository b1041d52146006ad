"""What a campaign tries next: pure functions of what is known, no files, no Ray."""
