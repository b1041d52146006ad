"""The embedded services: an S3 server and a Ray head on loopback."""
