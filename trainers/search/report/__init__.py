"""What a campaign shows: tables, plots, a page."""
