"""What a campaign tries next; numbers in, numbers out, no Ray."""
