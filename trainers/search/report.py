from trainers.search.campaign import Campaign
from trainers.search.journal import Journal


def write_report(journal: Journal, campaign: Campaign) -> None:
    """Later."""
