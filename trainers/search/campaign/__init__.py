"""What a campaign is: its file, its search space, its trials so far, and its storage. No Ray."""
