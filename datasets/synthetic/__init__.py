"""Images that are drawn here, every factor known."""
