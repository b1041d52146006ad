"""What strangers may have written or may hold: documents, text and folders, read within bounds."""
