"""Feeds: what the logs say, for people, name servers, firewalls and other programs. Text in, text out."""
