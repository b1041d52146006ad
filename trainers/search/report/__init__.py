"""What a campaign gives to people: its table, its plots, its page, and its best configuration as a preset."""
