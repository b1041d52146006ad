"""A reader of identities: trained on one set of people, real or virtual, and measured by whom it finds in another."""
